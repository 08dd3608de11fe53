//! Killing a service at a certain moment, which its journal tells.

use crate::Scene;
use anyhow::Result;

/// Begins a convergence, waits until the journal says something, and kills a service at that moment. Runs a command right after.
/// The journal is read from a place before the beginning, so that nothing is said too early.
const KILL_WHEN: &str = r#"
unit=$1 pattern=$2 begin=$3 after=$4
cursor=$(journalctl --lines=1 --output=cat --show-cursor | sed -n 's/^-- cursor: //p')
exec 3< <(exec journalctl --follow --output=cat --after-cursor="$cursor")
await() { while read -r -u 3 line; do if [[ $line =~ $1 ]]; then return 0; fi; done; return 1; }
if [ -n "$unit" ]; then systemctl start "$unit"; pid=$(systemctl show -p MainPID --value "$unit"); fi
bash -c "$begin" >/dev/null 2>&1 3<&- &
await "$pattern"
if [ -n "$unit" ]; then
    kill -KILL "$pid"
    await "$unit: Main process exited, code=killed, status=9/KILL"
fi
bash -c "$after" 3<&-
"#;

impl Scene {
    /// Begins something and waits until the journal says `pattern`. Kills `unit` at that moment, if one is named, and returns what
    /// `after` prints then.
    ///
    /// # Errors
    /// The journal says no such thing within 60 s, or a command fails.
    pub fn kill_when(&self, unit: &str, pattern: &str, begin: &str, after: &str) -> Result<String> {
        self.host.write("/run/kill-when", KILL_WHEN)?;
        self.must(&format!("timeout 60 bash -eu /run/kill-when '{unit}' '{pattern}' '{begin}' '{after}'"))
    }

    /// Waits until a unit has said `text` so often since the host was booted.
    ///
    /// # Errors
    /// It has not within 90 s.
    pub fn await_said(&self, unit: &str, text: &str, times: usize) -> Result<()> {
        // A pipeline would wait for the journal, which has no end.
        self.host.write(
            "/run/await-said",
            format!(
                "grep --max-count={times} --fixed-strings '{text}' < <(exec journalctl --boot --lines=all --follow --output=cat --unit={unit}) | wc -l | grep --quiet --line-regexp {times}"
            ),
        )?;
        self.must("timeout 90 bash /run/await-said").map(drop)
    }
}
