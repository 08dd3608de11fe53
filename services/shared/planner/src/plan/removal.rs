//! The end of a tenant: nothing of it is left, and its data is packed away before that if it is to be.

use super::{Action, Class, Picture, Plan, Step, is_there};
use model::{archive::Manifest, observed::ObservedTenant};

/// What removes all that was observed of a tenant. With `archive`, its data is packed into one file first; the storage goes
/// before what says whose uids the tenant had, so that nobody gets them while a file of it is there.
#[must_use]
pub fn plan_removal(observed: &ObservedTenant, archive: Option<&Manifest>, why: &str) -> Plan {
    let picture = match Picture::of(observed) {
        Ok(picture) => picture,
        Err(unknown) => return Plan { steps: Vec::new(), unknown },
    };
    let mut steps = Vec::new();
    let mut step = |action| steps.push(Step { action, class: Class::Reprovision, why: why.to_owned() });
    if picture.instance.is_some_and(is_there) {
        step(Action::Stop);
    }
    if picture.network.is_some() {
        step(Action::RemoveNetwork);
    }
    if let (Some(_), Some(manifest)) = (picture.storage, archive) {
        step(Action::Archive(manifest.clone()));
    }
    if picture.extensions.is_some() {
        step(Action::RemoveExtensions);
    }
    if picture.storage.is_some() {
        step(Action::RemoveStorage);
    }
    if picture.instance.is_some() {
        step(Action::RemoveInstance);
    }
    Plan { steps, unknown: Vec::new() }
}
