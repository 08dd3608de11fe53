//! Twins of io.bitbuilder.Tenant.

use crate::macros::{contract, errors, object};
use model::{
    InstanceSpec, TenantName, UnitName,
    identity::UidRange,
    names::RepositoryName,
    observed::{InstanceState, Listening},
    time::TimeSpan,
};

object! {
    /// What is held for one tenant.
    Instance { tenant: TenantName, generation: u64, spec: InstanceSpec, state: InstanceState, running: Option<InstanceSpec>, listening: Listening }
    /// One of a tenant's services.
    Service {
        unit: UnitName,
        active_state: String,
        sub_state: String,
        result: String,
        #[serde(rename = "activeUSec")] active_u_sec: u64,
    }
    /// A line of a tenant's journal.
    LogLine { #[serde(rename = "realtimeUSec")] realtime_u_sec: u64, identifier: String, message: String }
    /// Writes down what the next start runs.
    Ensure { tenant: TenantName, generation: u64, spec: InstanceSpec }
    /// Runs the script that comes before a new root.
    PreProvision { tenant: TenantName, generation: u64, spec: InstanceSpec }
    /// Starts a tenant.
    Start { tenant: TenantName, generation: u64 }
    /// Listens for a tenant.
    Listen { tenant: TenantName, generation: u64 }
    /// Stops and starts a tenant.
    Restart { tenant: TenantName, generation: u64 }
    /// Starts services anew.
    RestartServices { tenant: TenantName, generation: u64 }
    /// Stops a tenant.
    Stop { tenant: TenantName, generation: u64 }
    /// Forgets a tenant.
    Remove { tenant: TenantName, generation: u64 }
    /// Whether anything was changed.
    Changed { changed: bool }
    /// Shows what is held.
    List { tenant: Option<TenantName> }
    /// What is held.
    Listed { instances: Vec<Instance> }
    /// Asks for a tenant's services.
    CheckHealth { tenant: TenantName }
    /// A tenant's services.
    Health { services: Vec<Service> }
    /// How often a repository is looked at.
    Timer { repository: RepositoryName, interval: TimeSpan, jitter: TimeSpan }
    /// Makes the polling timers match.
    EnsurePolling { timers: Vec<Timer> }
    /// Shows the uids that somebody else claims.
    GetReservedUids {}
    /// Uids that somebody else claims.
    ReservedUids { ranges: Vec<UidRange> }
    /// Shows a tenant's journal.
    ReadLog { tenant: TenantName, lines: u32, follow: bool }
    /// One line of it.
    Logged { line: LogLine }
}

errors! {
    NoSuchTenant { tenant: TenantName } = "nothing is held for the tenant {tenant}"
    StartFailed { tenant: TenantName, reason: String } = "{tenant} did not come up: {reason}"
    HookFailed { tenant: TenantName, reason: String } = "a hook of {tenant} failed: {reason}"
    NotRunning { tenant: TenantName } = "{tenant} does not run"
    NoSuchUnit { unit: UnitName, reason: String } = "units/{unit}: {reason}"
    InUse { tenant: TenantName } = "{tenant} runs, and is forgotten only when it does not"
    StaleGeneration { generation: u64, current: u64 } = "generation {generation} is older than {current}, which this tenant was last changed with"
    Failed { action: String, reason: String } = "cannot {action}: {reason}"
}

contract! { "io.bitbuilder.Tenant", "io.bitbuilder.Tenant.varlink", Error,
    Ensure => Changed, Mutate, Ignored;
    PreProvision => Changed, Mutate, Ignored;
    Start => Changed, Mutate, Ignored;
    Listen => Changed, Mutate, Ignored;
    Restart => Changed, Mutate, Ignored;
    RestartServices => Changed, Mutate, Ignored;
    Stop => Changed, Mutate, Ignored;
    Remove => Changed, Mutate, Ignored;
    List => Listed, Read, Supported;
    CheckHealth => Health, Read, Ignored;
    EnsurePolling => Changed, Mutate, Ignored;
    GetReservedUids => ReservedUids, Read, Ignored;
    ReadLog => Logged, Read, Required;
}
