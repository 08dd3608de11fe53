//! Harm at a step of a plan: each step is one call of the orchestrator to the service that owns it, and a program stands in front
//! of the services and strikes before it passes the call on, or before it passes the answer back.

use crate::Scene;
use anyhow::{Context as _, Result};

const FAILPOINT: &str = include_str!("failpoint.py");

/// What happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Harm {
    /// kill -9 of the service that the step belongs to.
    Owner,
    /// kill -9 of the orchestrator.
    Orchestrator,
    /// kill -9 of all services at once.
    All,
    /// kill -9 of each service but these two, one after the other.
    Others,
    /// The end of every process of the host at once, and a boot.
    PowerLoss,
}

/// Where it happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// The orchestrator has written down what it is about to do, and the service has not heard of it.
    Before,
    /// The service has done its part, and the orchestrator has not heard of it.
    After,
}

impl Scene {
    /// Runs a command to its end and returns the calls that changed something, as `Storage.Ensure`.
    ///
    /// # Errors
    /// It cannot be run.
    pub fn calls_of(&self, command: &str) -> Result<Vec<String>> {
        self.host.write("/run/failpoint.py", FAILPOINT)?;
        let printed = self.must(&format!("python3 /run/failpoint.py watch '{command}'"))?;
        serde_json::from_str(&printed).with_context(|| format!("not JSON: {printed}"))
    }

    /// Begins a command and does harm at the first `call` that it leads to. Returns when that is done, or the host has booted again.
    ///
    /// # Errors
    /// The command leads to no such call.
    pub fn harm(&self, harm: Harm, moment: Moment, call: &str, command: &str) -> Result<()> {
        self.host.write("/run/failpoint.py", FAILPOINT)?;
        let what = match harm {
            Harm::Owner => "owner",
            Harm::Orchestrator => "orchestrator",
            Harm::All => "all",
            Harm::Others => "others",
            Harm::PowerLoss => "power",
        };
        let moment = match moment {
            Moment::Before => "before",
            Moment::After => "after",
        };
        // A unit that has started when it says that the harm is done.
        self.must(&format!(
            "systemd-run --quiet --collect --unit=failpoint --service-type=notify --property=TimeoutStartSec=90 \
             python3 /run/failpoint.py {call} {moment} {what} '{command}' \
             || {{ journalctl --boot --no-pager --output=cat --unit=failpoint | tail -n 20 >&2; exit 1; }}"
        ))?;
        if harm == Harm::PowerLoss { self.host.power_loss() } else { Ok(()) }
    }
}
