//! .gitops/config.yaml, which a repository of either kind may have: how it is followed, and what happens around a change.

use crate::{
    diagnostic::Diagnostic,
    document::{
        Document,
        declare::{choice, record},
    },
    hooks::{Hook, HookSpec},
    manifest::Version,
    noticing::USUAL_INTERVAL,
    path,
    text::{bounded, checked_text},
    time::{TimeOfDay, TimeSpan},
};
use std::ops::RangeInclusive;

/// Where it stands in a repository.
pub const PATH: &str = ".gitops/config.yaml";

record! {
    /// How a repository is followed, and what happens around a change.
    Config {
        /// The format's version, "1.0".
        version: Version,
        /// How new commits are noticed.
        sync: Sync = Sync::default(),
        /// How much a commit may disturb the tenant without anybody being asked.
        strategy: Strategy = Strategy::default(),
        /// When a commit holds.
        verify: Verify = Verify::default(),
        /// What is kept for how long.
        retention: Retention = Retention::default(),
        /// Scripts below scripts/ that run around a change.
        hooks: Hooks = Hooks::default(),
        /// When changes that disturb the tenant may be made.
        maintenance: Maintenance = Maintenance::default(),
    }

    /// How new commits are noticed.
    #[derive(Default)]
    Sync {
        /// How long after one look the next one follows, from 10s to 1d; 30s if nothing is said.
        interval: Option<TimeSpan>,
        /// At most this much is added to each interval by chance, so that not all hosts ask at once; not more than the interval; 10s if nothing is said.
        jitter: Option<TimeSpan>,
        /// Whether a webhook may ask for a look; true if nothing is said.
        webhook: Option<bool>,
    }

    /// How much a commit may disturb the tenant without anybody being asked.
    #[derive(Default)]
    Strategy {
        /// The hardest class of change that is applied; re-provision if nothing is said.
        most: Option<Class>,
    }

    /// When a commit holds.
    #[derive(Default)]
    Verify {
        /// How long every service has to be active without a break, from 1s to 10min; 5s if nothing is said.
        healthy: Option<TimeSpan>,
        /// Goes back unless somebody confirms the commit within this time, from 10s to 1d.
        confirm: Option<TimeSpan>,
    }

    /// What is kept for how long.
    #[derive(Default)]
    Retention {
        /// How many snapshots of the data are kept.
        snapshots: Option<Snapshots>,
        /// How long a tenant that left can come back as it was, at most 30d.
        grace: Option<TimeSpan>,
        /// What becomes of its data then.
        data: Option<Data>,
    }

    /// Scripts below scripts/ that run around a change, in the tenant or in a sandbox of its own.
    #[derive(Default)]
    Hooks {
        /// Before the tenant's root is made, in a sandbox without network.
        pre_provision as "pre-provision": Option<Script>,
        /// After the first start with a new root, in the tenant.
        post_provision as "post-provision": Option<Script>,
        /// Before each start, in a sandbox with /srv/data and without network.
        pre_start as "pre-start": Option<Script>,
        /// After each start, in the tenant.
        post_start as "post-start": Option<Script>,
        /// Before each stop that is asked for, in the tenant; it delays the stop at most.
        pre_stop as "pre-stop": Option<Script>,
        /// A hook that takes longer has failed, from 1s to 1h; 30s if nothing is said.
        timeout: Option<TimeSpan>,
    }

    /// When changes that disturb the tenant may be made.
    #[derive(Default)]
    Maintenance {
        /// At any time if there are none.
        windows: Vec<Window> = Vec::new(),
    }

    /// A part of some days.
    Window {
        /// On these days; every day if none is named.
        days: Vec<Day> = Vec::new(),
        /// Its beginning, in UTC.
        from: TimeOfDay,
        /// Its end, in UTC; before its beginning means on the next day.
        to: TimeOfDay,
    }
}

choice! {
    /// How much a change disturbs a tenant.
    Class, "a class of change" {
        /// It goes on running.
        Hot = "hot",
        /// Its processes are stopped and started.
        Restart = "restart",
        /// Its root is made anew.
        Reprovision = "re-provision",
    }

    /// What becomes of the data of a tenant that left.
    Data, "a way to end" {
        /// It is packed into one file.
        Archive = "archive",
        /// It is deleted.
        Delete = "delete",
        /// It stays where it is.
        Keep = "keep",
    }

    /// A day of the week.
    Day, "a day" {
        /// Monday.
        Monday = "mon",
        /// Tuesday.
        Tuesday = "tue",
        /// Wednesday.
        Wednesday = "wed",
        /// Thursday.
        Thursday = "thu",
        /// Friday.
        Friday = "fri",
        /// Saturday.
        Saturday = "sat",
        /// Sunday.
        Sunday = "sun",
    }
}

bounded!(
    /// A number of snapshots.
    Snapshots(u32), "a number of snapshots", 0 to 1000
);
checked_text!(
    /// A script's path in the repository.
    Script,
    "a script",
    "scripts/ and a file name of letters, digits, '.', '_' and '-'",
    |text| text.strip_prefix("scripts/").is_some_and(|name| {
        (1..=64).contains(&name.len())
            && name.starts_with(|c: char| c.is_ascii_alphanumeric())
            && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
    }),
    schema { "pattern": "^scripts/[A-Za-z0-9][A-Za-z0-9._-]{0,63}$" }
);

impl Hooks {
    /// Each hook that is set.
    pub fn scripts(&self) -> impl Iterator<Item = (Hook, &Script)> {
        [
            (Hook::PreProvision, &self.pre_provision),
            (Hook::PostProvision, &self.post_provision),
            (Hook::PreStart, &self.pre_start),
            (Hook::PostStart, &self.post_start),
            (Hook::PreStop, &self.pre_stop),
        ]
        .into_iter()
        .filter_map(|(hook, script)| Some((hook, script.as_ref()?)))
    }

    /// What runs when, and for how long at most.
    #[must_use]
    pub fn specs(&self) -> Vec<HookSpec> {
        self.scripts().map(|(hook, script)| HookSpec::new(hook, script.clone(), self.timeout)).collect()
    }
}

/// Which kind of repository a configuration stands in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Owner {
    /// The system repository.
    System,
    /// A tenant's repository.
    Tenant,
}

/// Everything that is wrong with a configuration by itself.
#[must_use]
pub fn check(document: &Document<Config>, owner: Owner) -> Vec<Diagnostic> {
    let mut faults = Vec::new();
    let Config { sync, verify, retention, hooks, maintenance, .. } = &document.content;
    let (second, day) = (1, 86400);
    let bounds: [(&[&str; 2], Option<TimeSpan>, RangeInclusive<u32>); 6] = [
        (&["sync", "interval"], sync.interval, 10 * second..=day),
        (&["sync", "jitter"], sync.jitter, 0..=day),
        (&["verify", "healthy"], verify.healthy, second..=600),
        (&["verify", "confirm"], verify.confirm, 10 * second..=day),
        (&["retention", "grace"], retention.grace, 0..=30 * day),
        (&["hooks", "timeout"], hooks.timeout, second..=3600),
    ];
    for ([group, field], span, range) in bounds {
        let (Some(least), Some(most)) = (TimeSpan::seconds(*range.start()), TimeSpan::seconds(*range.end())) else {
            continue;
        };
        if let Some(span) = span.filter(|span| !(least..=most).contains(span)) {
            let message = format!("{span} is not possible here; allowed: {least} to {most}");
            faults.push(document.fault(path![*group, *field], &message));
        }
    }
    let interval = sync.interval.or(TimeSpan::seconds(USUAL_INTERVAL));
    if let (Some(jitter), Some(interval)) = (sync.jitter, interval)
        && jitter > interval
    {
        let message = format!("a jitter of {jitter} is more than the interval of {interval}");
        faults.push(document.fault(path!["sync", "jitter"], &message));
    }
    for (index, window) in maintenance.windows.iter().enumerate() {
        if window.from == window.to {
            let message = format!("the window begins and ends at {}", window.from);
            faults.push(document.fault(path!["maintenance", "windows", index, "to"], &message));
        }
    }
    if owner == Owner::System {
        for field in ["strategy", "verify", "retention", "hooks"] {
            if document.says(path![field]) {
                let message = format!("{field} has a meaning in a tenant's repository only");
                faults.push(document.fault(path![field], &message));
            }
        }
    }
    faults
}
