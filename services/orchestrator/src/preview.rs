//! What would be done, and nothing of it: the plan of a commit that nobody pushed yet, or of what the tenants should be now.

use crate::{
    engine::Engine,
    judge::{self, Ground},
    leave::plan_leave,
    observe, secrets,
    slots::{self, Claimed},
    store::now_usec,
};
use interfaces::orchestrator::{Error, Plan as Wanted, Request as Sent, Step, TenantPlan};
use model::{
    Diagnostic, RepositoryUrl, Revision, TenantName, config, manifest,
    observed::ObservedTenant,
    registry::Registration,
    secrets::PATH as SECRETS,
    tree::{Request, Tree},
};
use planner::{Aim, Part, Plan, TenantLedger, plan};
use std::collections::{BTreeMap, HashSet};

impl Engine {
    /// The plans that `wanted` asks for.
    pub(crate) async fn preview(&self, wanted: Wanted) -> Result<Vec<TenantPlan>, Error> {
        match wanted.request {
            Some(request) => Ok(vec![self.preview_request(wanted.tenant, request).await]),
            None => self.preview_targets(wanted.tenant).await,
        }
    }

    async fn preview_request(&self, tenant: Option<TenantName>, sent: Sent) -> TenantPlan {
        let read = Request::read_for(tenant.as_ref(), &SentTree::of(&sent));
        let (tenant, request) = match read {
            Ok((tenant, mut request)) => {
                // Who sent the names of files has read the files.
                if let Some(services) = sent.services.clone() {
                    request.services = services.into_iter().map(Into::into).collect();
                }
                (tenant, request)
            }
            Err(faults) => return self.refused(tenant, sent.revision, faults),
        };
        let (registration, ledger) = {
            let memory = self.store.memory();
            let entry = memory.host.registry.iter().find(|entry| entry.name == tenant).cloned();
            (
                entry.unwrap_or_else(|| Registration::unregistered(tenant.clone(), RepositoryUrl::nowhere())),
                memory.tenants.get(&tenant).cloned(),
            )
        };
        let revision = sent.revision.clone().unwrap_or_else(Revision::unborn);
        let held = ledger.as_ref().and_then(|ledger| ledger.verified.as_ref()).map(|desired| desired.image.clone());
        let image = &request.manifest.content.image;
        let (observed, ground, opened) = tokio::join!(
            observe::tenant(&self.services, &tenant),
            Ground::for_image(&self.services, Some(image), held.as_ref(), None),
            secrets::refused(&self.services, &tenant, &request),
        );
        match opened {
            Ok(faults) if faults.is_empty() => {}
            Ok(faults) => return self.refused(Some(tenant), sent.revision, faults),
            Err(_) => return TenantPlan { revision: sent.revision, ..self.shown(tenant, &unanswered(Part::Secrets)) },
        }
        let judged = judge::admit(&self.store.memory(), &registration, &request, &revision, ground.as_ref(), &observed);
        let desired = match judged {
            Ok(desired) => desired,
            Err(faults) => return self.refused(Some(tenant), sent.revision, faults),
        };
        let plan = match ledger.and_then(|ledger| ledger.slot) {
            Some(slot) => plan(&desired, slot, &observed),
            None => match slots::claimed(&self.services).await {
                Err(_) => unanswered(Part::Instance),
                Ok(Claimed { in_use, reserved }) => {
                    let free = planner::allocate::slot(&tenant, &self.store.memory().tenants, &in_use, &reserved);
                    match free {
                        Some(slot) => plan(&desired, slot, &observed),
                        None => return self.refused(Some(tenant), sent.revision, vec![judge::no_range(&request)]),
                    }
                }
            },
        };
        TenantPlan { revision: sent.revision, not_in_effect: desired.not_in_effect, ..self.shown(tenant, &plan) }
    }

    async fn preview_targets(&self, only: Option<TenantName>) -> Result<Vec<TenantPlan>, Error> {
        let mut tenants: BTreeMap<TenantName, TenantLedger> = self.store.memory().tenants.clone();
        match &only {
            Some(tenant) if !tenants.contains_key(tenant) => {
                return Err(Error::NoSuchTenant { tenant: tenant.clone() });
            }
            Some(_) | None => {}
        }
        let concerned = |tenant: &TenantName| only.as_ref().is_none_or(|only| only == tenant);
        let homeless = |ledger: &TenantLedger| ledger.registered && ledger.target.is_some() && ledger.slot.is_none();
        let everything = async {
            match &only {
                Some(tenant) => Looked::At(Box::new(observe::tenant(&self.services, tenant).await)),
                None => Looked::Everywhere(observe::everything(&self.services).await),
            }
        };
        let claimed = async {
            let needed = tenants.iter().any(|(tenant, ledger)| concerned(tenant) && homeless(ledger));
            if needed { slots::claimed(&self.services).await.ok() } else { Some(Claimed::default()) }
        };
        let (looked, claimed) = tokio::join!(everything, claimed);
        let names: Vec<TenantName> = tenants.keys().filter(|tenant| concerned(tenant)).cloned().collect();
        let mut plans = Vec::with_capacity(names.len());
        for tenant in names {
            let observed = looked.at(&tenant);
            if tenants.get(&tenant).is_some_and(homeless) {
                let slot = claimed.as_ref().and_then(|Claimed { in_use, reserved }| {
                    planner::allocate::slot(&tenant, &tenants, in_use, reserved)
                });
                // The next tenant's preview must not be the same slot.
                tenants.entry(tenant.clone()).and_modify(|ledger| ledger.slot = slot);
            }
            let Some(ledger) = tenants.get(&tenant) else { continue };
            let full = homeless(ledger) && claimed.is_some() && !left_alone(ledger);
            let plan = planned(&tenant, ledger, &observed, now_usec());
            let target = match ledger.aim(now_usec()) {
                Aim::Run(target) => Some(target),
                Aim::Nothing | Aim::Stop(_) | Aim::Remove(..) => None,
            };
            let (revision, not_in_effect) =
                target.map(|target| (target.revision.clone(), target.not_in_effect.clone())).unzip();
            let (not_in_effect, mut shown) = (not_in_effect.unwrap_or_default(), self.shown(tenant.clone(), &plan));
            if full {
                shown.diagnostics = vec![Diagnostic::of_file(tenant.as_str(), slots::NONE_FREE)];
                shown.unknown = Vec::new();
            }
            plans.push(TenantPlan { revision, not_in_effect, ..shown });
        }
        Ok(plans)
    }

    fn refused(
        &self,
        tenant: Option<TenantName>,
        revision: Option<Revision>,
        diagnostics: Vec<Diagnostic>,
    ) -> TenantPlan {
        let (registered, suspended) = tenant.as_ref().map_or((false, false), |tenant| self.registration(tenant));
        TenantPlan { registered, suspended, ..TenantPlan::without_steps(tenant, revision, diagnostics) }
    }

    fn shown(&self, tenant: TenantName, plan: &Plan) -> TenantPlan {
        let steps = plan.steps.iter().map(|step| Step {
            class: step.class.into(),
            action: step.action.to_string(),
            why: step.why.clone(),
            service: step.action.part().to_string(),
        });
        TenantPlan {
            class: plan.class().map(Into::into),
            steps: steps.collect(),
            unknown: plan.unknown.iter().map(ToString::to_string).collect(),
            text: plan.lines(),
            ..self.refused(Some(tenant), None, Vec::new())
        }
    }

    /// Whether a tenant is registered, and whether it is suspended.
    fn registration(&self, tenant: &TenantName) -> (bool, bool) {
        let memory = self.store.memory();
        let registered = memory.host.registry.iter().any(|entry| entry.name == *tenant);
        (registered, memory.tenants.get(tenant).is_some_and(TenantLedger::is_suspended))
    }
}

/// Where it was looked.
enum Looked {
    At(Box<ObservedTenant>),
    Everywhere(observe::Everything),
}

impl Looked {
    fn at(&self, tenant: &TenantName) -> ObservedTenant {
        match self {
            Self::At(observed) => (**observed).clone(),
            Self::Everywhere(everything) => everything.of(tenant).1,
        }
    }
}

/// What would be done for a tenant as it is remembered: what nobody will do is no step.
fn planned(tenant: &TenantName, ledger: &TenantLedger, observed: &ObservedTenant, now_usec: u64) -> Plan {
    match (ledger.aim(now_usec), ledger.slot) {
        _ if left_alone(ledger) => Plan::default(),
        (Aim::Run(target), Some(slot)) => plan(target, slot, observed),
        (Aim::Run(_), None) => unanswered(Part::Instance),
        (aim @ (Aim::Nothing | Aim::Stop(_) | Aim::Remove(..)), _) => plan_leave(tenant, ledger, aim, observed),
    }
}

/// Whether nothing is done for it before somebody pushes, retries or resumes.
fn left_alone(ledger: &TenantLedger) -> bool {
    ledger.gave_up() && !ledger.stays_down() || ledger.rests()
}

/// There is no plan without what this one knows: the tenant manager, say, which slots are free.
fn unanswered(part: Part) -> Plan {
    Plan { steps: Vec::new(), unknown: vec![part] }
}

/// The files of a request that was sent.
struct SentTree<'a> {
    sent: &'a Sent,
    files: HashSet<&'a str>,
}

impl<'a> SentTree<'a> {
    fn of(sent: &'a Sent) -> Self {
        Self { sent, files: sent.files.iter().map(String::as_str).collect() }
    }
}

impl Tree for SentTree<'_> {
    fn read(&self, path: &str) -> Result<Option<Vec<u8>>, String> {
        let text = match path {
            manifest::PATH => Some(&self.sent.metadata),
            config::PATH => self.sent.config.as_ref(),
            SECRETS => self.sent.secrets.as_ref(),
            _ => None,
        };
        Ok(text.map(|text| text.clone().into_bytes()))
    }

    fn has(&self, path: &str) -> bool {
        self.files.contains(path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{judge::tests::Files, store::Memory};
    use model::identity::Slot;

    #[test]
    fn what_nobody_will_do_is_no_step() {
        let request = Request::read("web", &Files("web", None)).unwrap();
        let (entry, absent) =
            (Registration::unregistered("web".parse().unwrap(), RepositoryUrl::nowhere()), ObservedTenant::absent());
        let desired = judge::admit(&Memory::default(), &entry, &request, &Revision::unborn(), None, &absent).unwrap();
        let mut ledger = TenantLedger::new(1);
        ledger.admit(desired);
        assert_eq!(planned(&entry.name, &ledger, &absent, 9).unknown.len(), 1, "nobody says which slots are free");
        ledger.slot = Slot::new(0);
        assert!(!planned(&entry.name, &ledger, &absent, 9).steps.is_empty());
        let mut suspended = ledger.clone();
        suspended.suspend(2);
        assert!(planned(&entry.name, &suspended, &absent, 9).is_empty());
        ledger.fail("no start".to_owned(), 3);
        assert!(ledger.gave_up() && planned(&entry.name, &ledger, &absent, 9).is_empty());
    }
}
