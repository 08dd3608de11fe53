//! The plan of one tenant: the steps that turn what was observed into what is desired, in an order in which each finds what
//! it needs, and why each is taken.

use model::{
    DesiredTenant, ExtensionSpec, Hook, InstanceSpec, NetworkSpec, StorageSpec, UnitName,
    archive::Manifest,
    identity::Slot,
    observed::{Held, InstanceState, Known, Listening, ObservedInstance, ObservedTenant},
};

mod change;
mod removal;
mod words;

use change::Change;
pub use removal::plan_removal;

/// How much a step disturbs the tenant.
pub use model::config::Class;

/// What a step does. Each goes to the one service that owns it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Run the script that comes before a new root.
    PreProvision(Box<InstanceSpec>),
    /// Stop the instance.
    Stop,
    /// Make the tree and the root match.
    EnsureStorage(StorageSpec),
    /// Make the bridge, the lease and the forwards match.
    EnsureNetwork(NetworkSpec),
    /// Remove the bridge, the lease and the forwards.
    RemoveNetwork,
    /// Make the layers match.
    EnsureExtensions(ExtensionSpec),
    /// Write down what the next start runs, and show it to what runs: limits, configuration, secrets, services that come or go.
    EnsureInstance(Box<InstanceSpec>),
    /// Listen on the ports that wake it as was written down, or on none.
    Listen,
    /// Start services of the instance anew, with what was written down.
    RestartServices(Vec<UnitName>),
    /// Start the instance.
    Start,
    /// Stop and start the instance.
    Restart,
    /// Pack the data into one file, with this beside it.
    Archive(Manifest),
    /// Remove the links to the layers.
    RemoveExtensions,
    /// Remove the tree with all that is in it.
    RemoveStorage,
    /// Forget what ran, and whose uids they were.
    RemoveInstance,
}

/// One step and its reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// What is done.
    pub action: Action,
    /// How much it disturbs.
    pub class: Class,
    /// Why, for people.
    pub why: String,
}

/// A part of a tenant that one service owns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// io.bitbuilder.Storage.
    Storage,
    /// io.bitbuilder.Network.
    Network,
    /// io.bitbuilder.Extension.
    Extensions,
    /// io.bitbuilder.Tenant.
    Instance,
    /// io.bitbuilder.Secret, which is asked before there is a plan.
    Secrets,
}

/// The steps of one tenant.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    /// In order; empty if nothing differs.
    pub steps: Vec<Step>,
    /// What could not be looked at. Then there are no steps: a plan is made from the whole picture or not at all.
    pub unknown: Vec<Part>,
}

/// What turns `observed` into `desired` for the tenant in `slot`.
#[must_use]
pub fn plan(desired: &DesiredTenant, slot: Slot, observed: &ObservedTenant) -> Plan {
    if !desired.enabled {
        return plan_absence(observed, "its repository says that it should not run");
    }
    let picture = match Picture::of(observed) {
        Ok(picture) => picture,
        Err(unknown) => return Plan { steps: Vec::new(), unknown },
    };
    let mut steps = Vec::new();
    let new_root = storage(&mut steps, desired, slot, &picture);
    network(&mut steps, desired, slot, &picture);
    extensions(&mut steps, desired, &picture);
    instance(&mut steps, &desired.instance(slot), &picture, new_root);
    Plan { steps, unknown: Vec::new() }
}

/// What stops a tenant that should not run. Its data stays.
#[must_use]
pub fn plan_absence(observed: &ObservedTenant, why: &str) -> Plan {
    let picture = match Picture::of(observed) {
        Ok(picture) => picture,
        Err(unknown) => return Plan { steps: Vec::new(), unknown },
    };
    let mut steps = Vec::new();
    if picture.instance.is_some_and(is_there) {
        steps.push(Step { action: Action::Stop, class: Class::Restart, why: why.to_owned() });
    }
    if picture.network.is_some() {
        steps.push(Step { action: Action::RemoveNetwork, class: Class::Hot, why: why.to_owned() });
    }
    Plan { steps, unknown: Vec::new() }
}

/// An observation in which everything is known.
struct Picture<'a> {
    storage: Option<&'a Held<StorageSpec>>,
    network: Option<&'a Held<NetworkSpec>>,
    extensions: Option<&'a Held<ExtensionSpec>>,
    instance: Option<&'a ObservedInstance>,
}

impl<'a> Picture<'a> {
    fn is_inactive(&self) -> bool {
        self.instance.is_some_and(|instance| instance.state == InstanceState::Inactive)
    }

    fn of(observed: &'a ObservedTenant) -> Result<Self, Vec<Part>> {
        fn known<'a, T>(unknown: &mut Vec<Part>, part: Part, observed: &'a Known<Option<T>>) -> Option<&'a T> {
            match observed {
                Known::Known(held) => held.as_ref(),
                Known::Unknown => {
                    unknown.push(part);
                    None
                }
            }
        }
        let mut unknown = Vec::new();
        let picture = Self {
            storage: known(&mut unknown, Part::Storage, &observed.storage),
            network: known(&mut unknown, Part::Network, &observed.network),
            extensions: known(&mut unknown, Part::Extensions, &observed.extensions),
            instance: known(&mut unknown, Part::Instance, &observed.instance),
        };
        if unknown.is_empty() { Ok(picture) } else { Err(unknown) }
    }
}

fn is_up(instance: &ObservedInstance) -> bool {
    match instance.state {
        InstanceState::Activating | InstanceState::Active | InstanceState::Deactivating => true,
        InstanceState::Inactive | InstanceState::Failed => false,
    }
}

/// Whether it runs, or would as soon as somebody connects.
fn is_there(instance: &ObservedInstance) -> bool {
    is_up(instance) || instance.listening != Listening::No
}

/// Why somebody has to listen otherwise for the tenant, if so.
fn listens_wrong(instance: Option<&ObservedInstance>, wanted: &InstanceSpec, stopped: bool) -> Option<&'static str> {
    let listening = instance.filter(|_| !stopped).map_or(Listening::No, |instance| instance.listening);
    let as_wanted = instance.is_some_and(|instance| instance.spec.wake == wanted.wake);
    match (&wanted.wake, listening) {
        (None, Listening::No) => None,
        (Some(_), Listening::AsWritten) if as_wanted => None,
        (Some(_), Listening::No) => Some("nobody listens for it"),
        (Some(_), Listening::AsWritten | Listening::Otherwise) => Some("what wakes it changes"),
        (None, Listening::AsWritten | Listening::Otherwise) => Some("it is not woken any more"),
    }
}

/// Why what is held is not what is wanted, if so.
fn differs<T: PartialEq>(held: Option<&Held<T>>, wanted: &T) -> Option<&'static str> {
    match held {
        None => Some("there is none"),
        Some(held) if held.spec != *wanted => Some("another is wanted"),
        Some(held) if !held.intact => Some("it is not as it was left"),
        Some(_) => None,
    }
}

/// Returns whether the root is made anew.
fn storage(steps: &mut Vec<Step>, desired: &DesiredTenant, slot: Slot, picture: &Picture<'_>) -> bool {
    let wanted = desired.storage();
    let Some(why) = differs(picture.storage, &wanted) else { return false };
    let held = picture.storage.map(|held| &held.spec.image);
    let new_root = held.is_some_and(|image| *image != wanted.image);
    let (class, why) = match held {
        Some(image) if new_root => (Class::Reprovision, format!("the image changes from {image} to {}", wanted.image)),
        Some(_) | None => (Class::Hot, why.to_owned()),
    };
    let instance = desired.instance(slot);
    // Nothing is touched before it has run.
    if (held.is_none() || new_root) && instance.hook(Hook::PreProvision).is_some() {
        steps.push(Step { action: Action::PreProvision(Box::new(instance)), class: Class::Hot, why: why.clone() });
    }
    if new_root && picture.instance.is_some_and(is_there) {
        steps.push(Step { action: Action::Stop, class, why: why.clone() });
    }
    steps.push(Step { action: Action::EnsureStorage(wanted), class, why });
    new_root
}

fn network(steps: &mut Vec<Step>, desired: &DesiredTenant, slot: Slot, picture: &Picture<'_>) {
    let wanted = desired.network(slot);
    if let Some(why) = differs(picture.network, &wanted) {
        let why = match picture.network {
            Some(held) if held.spec.forwards != wanted.forwards => "the forwarded ports change",
            Some(_) | None => why,
        };
        steps.push(Step { action: Action::EnsureNetwork(wanted), class: Class::Hot, why: why.to_owned() });
    }
}

fn extensions(steps: &mut Vec<Step>, desired: &DesiredTenant, picture: &Picture<'_>) {
    let wanted = desired.extensions();
    if picture.extensions.is_none() && wanted.sysext.is_empty() {
        return;
    }
    if let Some(why) = differs(picture.extensions, &wanted) {
        // The layers show at the next start, which the instance's own step brings if they changed.
        steps.push(Step { action: Action::EnsureExtensions(wanted), class: Class::Hot, why: why.to_owned() });
    }
}

fn instance(steps: &mut Vec<Step>, wanted: &InstanceSpec, picture: &Picture<'_>, new_root: bool) {
    let up = picture.instance.filter(|instance| is_up(instance) && !new_root);
    let change = up.map(|instance| Change::between(instance.running.as_ref(), wanted, instance.state));
    let Change { restart, hot, services } = change.unwrap_or_default();
    let written = picture.instance.is_some_and(|instance| instance.spec == *wanted);
    if !written || hot.is_some() {
        let class = if restart.is_some() { Class::Restart } else { Class::Hot };
        let why = restart.clone().or(hot).unwrap_or_else(|| "it is not written down yet".to_owned());
        steps.push(Step { action: Action::EnsureInstance(Box::new(wanted.clone())), class, why });
    }
    if let Some(why) = listens_wrong(picture.instance, wanted, new_root) {
        steps.push(Step { action: Action::Listen, class: Class::Hot, why: why.to_owned() });
    }
    if !services.is_empty() {
        let why = words::restarted(services.len()).to_owned();
        steps.push(Step { action: Action::RestartServices(services), class: Class::Restart, why });
    }
    match (up, restart) {
        (Some(_), Some(why)) => steps.push(Step { action: Action::Restart, class: Class::Restart, why }),
        // It goes to sleep.
        (Some(instance), None) if instance.state == InstanceState::Deactivating && wanted.wake.is_some() => {}
        (Some(instance), None) if instance.state == InstanceState::Deactivating => {
            steps.push(Step { action: Action::Start, class: Class::Hot, why: "it is about to end".to_owned() });
        }
        // Starting one that is on its way up waits for it.
        (Some(instance), None) if instance.state == InstanceState::Activating => {
            steps.push(Step { action: Action::Start, class: Class::Hot, why: "it is not ready yet".to_owned() });
        }
        (Some(_), None) => {}
        // It sleeps.
        (None, _) if written && !new_root && wanted.wake.is_some() && picture.is_inactive() => {}
        (None, _) => {
            let class = if new_root { Class::Reprovision } else { Class::Hot };
            let why = match picture.instance.map(|instance| instance.state) {
                Some(InstanceState::Failed) => "it ended in failure",
                Some(_) if new_root => "its root is new",
                Some(_) | None => "it does not run",
            };
            steps.push(Step { action: Action::Start, class, why: why.to_owned() });
        }
    }
}

impl Plan {
    /// The same, with a restart if nothing in it starts the tenant anew: what ended in a tenant that runs does not begin
    /// again by itself.
    #[must_use]
    pub fn anew(mut self, why: &str) -> Self {
        let starts = self.steps.iter().any(|step| matches!(step.action, Action::Start | Action::Restart));
        if !starts && self.unknown.is_empty() {
            self.steps.push(Step { action: Action::Restart, class: Class::Restart, why: why.to_owned() });
        }
        self
    }

    /// The same, with a start if nothing in it starts a tenant that sleeps: it has not been seen to hold yet.
    #[must_use]
    pub fn awake(mut self, observed: &ObservedTenant) -> Self {
        let starts = self.steps.iter().any(|step| matches!(step.action, Action::Start | Action::Restart));
        if !starts && self.unknown.is_empty() && observed.sleeps() {
            let why = "it sleeps, and has not held yet".to_owned();
            self.steps.push(Step { action: Action::Start, class: Class::Hot, why });
        }
        self
    }

    /// Whether everything is known and nothing differs.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty() && self.unknown.is_empty()
    }

    /// Its steps in stages: each begins when the one before has ended, and its two lanes do not need each other.
    #[must_use]
    pub fn stages(&self) -> Vec<[Vec<&Step>; 2]> {
        let mut stages: Vec<(Stage, [Vec<&Step>; 2])> = Vec::new();
        for step in &self.steps {
            let (stage, lane) = step.action.place();
            match stages.last_mut() {
                Some((last, lanes)) if *last == stage => lanes[lane].push(step),
                Some(_) | None => {
                    let mut lanes = [Vec::new(), Vec::new()];
                    lanes[lane].push(step);
                    stages.push((stage, lanes));
                }
            }
        }
        stages.into_iter().map(|(_, lanes)| lanes).collect()
    }

    /// The hardest class of its steps.
    #[must_use]
    pub fn class(&self) -> Option<Class> {
        self.steps.iter().map(|step| step.class).max()
    }

    /// A line per step, for people.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        self.steps.iter().map(ToString::to_string).collect()
    }
}

/// When a step may be taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Somebody is asked who can still say no.
    Ask,
    /// Something has to end.
    End,
    /// The ground is laid.
    Ground,
    /// Something begins.
    Begin,
    /// What is to be kept is put aside.
    Save,
    /// What is left goes.
    Clear,
    /// It is forgotten that there was something.
    Forget,
}

impl Action {
    /// Its stage, and its lane there: the network needs nothing of the tree, and the tree nothing of the network.
    fn place(&self) -> (Stage, usize) {
        match self {
            Self::PreProvision(_) => (Stage::Ask, 0),
            Self::Stop => (Stage::End, 0),
            Self::EnsureStorage(_) | Self::EnsureExtensions(_) | Self::EnsureInstance(_) => (Stage::Ground, 0),
            Self::EnsureNetwork(_) | Self::RemoveNetwork => (Stage::Ground, 1),
            Self::Listen | Self::Start | Self::Restart | Self::RestartServices(_) => (Stage::Begin, 0),
            Self::Archive(_) => (Stage::Save, 0),
            Self::RemoveExtensions | Self::RemoveStorage => (Stage::Clear, 0),
            Self::RemoveInstance => (Stage::Forget, 0),
        }
    }
}

impl Action {
    /// Whose it is to do.
    #[must_use]
    pub fn part(&self) -> Part {
        match self {
            Self::EnsureStorage(_) | Self::Archive(_) | Self::RemoveStorage => Part::Storage,
            Self::EnsureNetwork(_) | Self::RemoveNetwork => Part::Network,
            Self::EnsureExtensions(_) | Self::RemoveExtensions => Part::Extensions,
            Self::EnsureInstance(_)
            | Self::PreProvision(_)
            | Self::Listen
            | Self::RestartServices(_)
            | Self::Start
            | Self::Restart
            | Self::Stop
            | Self::RemoveInstance => Part::Instance,
        }
    }
}
