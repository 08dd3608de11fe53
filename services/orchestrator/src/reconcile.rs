//! Makes one tenant what its target says: observe, plan, record, execute, verify, settle; or go back.

use crate::{
    engine::Engine,
    execute,
    fault::Fault,
    observe,
    slots::{self, Claimed},
    store::now_usec,
};
use interfaces::{git_sync, tenant as instance};
use model::{
    DesiredTenant, TenantName, identity::Slot, names::RepositoryName, observed::ObservedTenant, progress::TenantState,
};
use planner::{Plan, TenantLedger, Verdict, plan, plan_absence};
use std::{
    collections::HashMap,
    sync::PoisonError,
    time::{Duration, Instant},
};
use tracing::warn;

/// How often in a row a tenant may end while it is being verified before that is its commit's doing.
const MOST_ENDS: u32 = 3;
/// How old a look at a tenant may be when it is planned from. Nobody else changes a tenant in its turn, but it may end.
const FRESH: Duration = Duration::from_secs(1);

/// A tenant as it was looked at, and its slot.
#[derive(Debug)]
pub(crate) struct Seen {
    at: Instant,
    pub(crate) observed: ObservedTenant,
    slot: Result<Slot, Fault>,
}

impl Seen {
    /// Nothing there, on a host without a free uid range.
    #[cfg(test)]
    pub(crate) fn by_nobody() -> Self {
        let slot = Err(Fault::Host(slots::NONE_FREE.to_owned()));
        Self { at: Instant::now(), observed: ObservedTenant::absent(), slot }
    }

    /// Whether the host has no uid range left for it.
    pub(crate) fn finds_no_range(&self) -> bool {
        self.slot == Err(Fault::Host(slots::NONE_FREE.to_owned()))
    }
}

impl Engine {
    /// Makes a tenant what its target says and returns when that is settled or has to wait for the host.
    pub(crate) async fn reconcile(&self, tenant: &TenantName) {
        let _turn = self.turns.take(tenant).await;
        self.reconcile_in_turn(tenant, None).await;
        self.poll_as_said(tenant).await;
    }

    /// The same for who has the tenant's turn, and may have looked at the tenant a moment ago.
    pub(crate) async fn reconcile_in_turn(&self, tenant: &TenantName, mut seen: Option<Seen>) {
        if self.store.tenant(tenant).is_none_or(|ledger| ledger.rests()) {
            return;
        }
        // Twice at most: towards the target, and back.
        loop {
            let Some(ledger) = self.store.tenant(tenant).filter(|ledger| !ledger.gave_up()) else { return };
            let again = match self.converge(tenant, &ledger, seen.take()).await {
                Ok(()) => {
                    self.recovered(tenant);
                    self.remember(tenant, TenantLedger::settle);
                    self.prune(tenant).await;
                    false
                }
                Err(_) if self.is_stopping() => return,
                Err(Fault::Ended(reason)) if self.failures(tenant) < MOST_ENDS => {
                    warn!(%tenant, "{reason}");
                    self.retry(tenant);
                    false
                }
                Err(Fault::Commit(reason) | Fault::Ended(reason)) => {
                    self.recovered(tenant);
                    warn!(%tenant, revision = ledger.target.as_ref().map(|target| target.revision.as_str()), "did not hold: {reason}");
                    let verdict = self.change(tenant, |ledger, _| ledger.fail(reason, now_usec()));
                    matches!(verdict, Ok(Some(Verdict::GoBack)))
                }
                Err(Fault::Host(reason)) => {
                    warn!(%tenant, "the host cannot converge: {reason}");
                    self.remember(tenant, |ledger, _| ledger.unconverged = Some(reason));
                    self.retry(tenant);
                    false
                }
            };
            if !again {
                return;
            }
        }
    }

    pub(crate) fn remember(&self, tenant: &TenantName, change: impl FnOnce(&mut TenantLedger, u64)) {
        if let Err(error) = self.change(tenant, |ledger, _| change(ledger, now_usec())) {
            warn!(%tenant, "{}", runtime::chain(&error));
        }
    }

    async fn converge(&self, tenant: &TenantName, ledger: &TenantLedger, seen: Option<Seen>) -> Result<(), Fault> {
        if !ledger.registered {
            let observed = observe::tenant(&self.services, tenant).await;
            return self.execute(tenant, &observed, &plan_absence(&observed, "it is not registered any more")).await;
        }
        // Of one that the ledger forgot something may run: it goes on until a commit says what it should be.
        let Some(target) = &ledger.target else { return Ok(()) };
        let Seen { observed, slot, .. } = match seen.filter(|seen| seen.at.elapsed() < FRESH) {
            Some(seen) => seen,
            None => self.see(tenant).await,
        };
        let slot = slot?;
        let steps = plan(target, slot, &observed);
        let retries = ledger.starts_anew() && target.enabled;
        let steps = if retries { steps.anew("somebody asked for another try") } else { steps };
        let changes = !steps.steps.is_empty();
        self.execute(tenant, &observed, &steps).await?;
        if retries {
            self.remember(tenant, |ledger, _| ledger.retrying = false);
        }
        if changes {
            let left = plan(target, slot, &observe::tenant(&self.services, tenant).await);
            self.nothing_left(&left)?;
        }
        let proven = !changes && ledger.proven && ledger.verified.as_ref() == Some(target);
        if target.enabled && !proven { self.verify(tenant, target).await } else { Ok(()) }
    }

    /// Looks at a tenant, and at which slot is its own.
    pub(crate) async fn see(&self, tenant: &TenantName) -> Seen {
        let at = Instant::now();
        let (observed, slot) = tokio::join!(observe::tenant(&self.services, tenant), self.slot(tenant));
        Seen { at, observed, slot }
    }

    fn nothing_left(&self, left: &Plan) -> Result<(), Fault> {
        match left.steps.first() {
            None if left.unknown.is_empty() => Ok(()),
            None => Err(unknown(left)),
            Some(step) => Err(Fault::Host(format!("after the last step it still needs: {step}"))),
        }
    }

    /// Records the plan, then does it.
    async fn execute(&self, tenant: &TenantName, observed: &ObservedTenant, plan: &Plan) -> Result<(), Fault> {
        if !plan.unknown.is_empty() {
            return Err(unknown(plan));
        }
        if plan.steps.is_empty() {
            return Ok(());
        }
        let recorded = self.change(tenant, |ledger, _| {
            ledger.generation = ledger.generation.max(observed.generation()) + 1;
            ledger.plan = plan.lines();
            ledger.proven = false;
            ledger.enter(TenantState::Applying, now_usec());
            ledger.generation
        });
        let generation = match recorded {
            Ok(Some(generation)) => generation,
            Ok(None) => return Err(Fault::Host("it is not in the ledger".to_owned())),
            Err(error) => return Err(Fault::Host(runtime::chain(&error))),
        };
        // A closed semaphore cannot be: nothing closes it.
        let _place = self.parallel.acquire().await;
        for [first, second] in plan.stages() {
            let lane = |steps| execute::in_order(&self.services, tenant, generation, steps);
            // Both lanes are seen to their end: a step that was begun is finished.
            match tokio::join!(lane(first), lane(second)) {
                (Ok(()), Ok(())) => {}
                (Err(fault @ Fault::Commit(_)), _)
                | (_, Err(fault @ Fault::Commit(_)))
                | (Err(fault), _)
                | (_, Err(fault)) => return Err(fault),
            }
        }
        Ok(())
    }

    /// The tenant's slot, given now if it has none.
    async fn slot(&self, tenant: &TenantName) -> Result<Slot, Fault> {
        if let Some(slot) = self.store.tenant(tenant).and_then(|ledger| ledger.slot) {
            return Ok(slot);
        }
        let Claimed { in_use, reserved } = slots::claimed(&self.services).await?;
        let given = self.change(tenant, |ledger, memory| {
            ledger.slot = planner::allocate::slot(tenant, &memory.tenants, &in_use, &reserved);
            ledger.slot
        });
        match given {
            Ok(slot) => slot.flatten().ok_or_else(|| Fault::Host(slots::NONE_FREE.to_owned())),
            Err(error) => Err(Fault::Host(runtime::chain(&error))),
        }
    }

    /// Watches a tenant that was started until its services have held for long enough, or one has failed.
    async fn verify(&self, tenant: &TenantName, target: &DesiredTenant) -> Result<(), Fault> {
        if target.services.is_empty() {
            return Ok(());
        }
        self.remember(tenant, |ledger, now| ledger.enter(TenantState::Verifying, now));
        // One look finds what failed to start; one when the youngest has had its time finds what did not last. Who begins
        // anew in the middle, after a kill, waits only for what is left.
        let healthy_for = Duration::from_micros(target.healthy_for_usec);
        let youngest = youngest(&self.services_of(tenant).await?);
        if youngest >= healthy_for {
            return Ok(());
        }
        tokio::time::sleep(healthy_for - youngest).await;
        match self.services_of(tenant).await?.iter().find(|service| active_for(service) < healthy_for) {
            None => Ok(()),
            Some(service) => Err(Fault::Commit(format!(
                "{} did not stay active for {} s: it is {} ({}), and has been active for {:.1} s",
                service.unit,
                healthy_for.as_secs(),
                service.active_state,
                service.sub_state,
                active_for(service).as_secs_f64()
            ))),
        }
    }

    /// A tenant's services, none of which has failed.
    async fn services_of(&self, tenant: &TenantName) -> Result<Vec<instance::Service>, Fault> {
        let services = self.services.call(&instance::CheckHealth { tenant: tenant.clone() }).await?.services;
        match services.iter().find(|service| service.active_state == "failed") {
            None => Ok(services),
            Some(service) => {
                let last = self.last_words(tenant, service).await;
                Err(Fault::Commit(format!("{} failed ({}){last}", service.unit, service.result)))
            }
        }
    }

    /// What a failed service said last, if its journal can be read.
    async fn last_words(&self, tenant: &TenantName, service: &instance::Service) -> String {
        use futures_util::StreamExt;
        let request = instance::ReadLog { tenant: tenant.clone(), lines: 200, follow: false };
        let Ok(lines) = self.services.stream(&request).await else { return String::new() };
        let lines: Vec<String> = lines
            .filter_map(|line| std::future::ready(line.ok()))
            .map(|logged| logged.line.message)
            .filter(|message| std::future::ready(message.starts_with(&format!("{}:", service.unit))))
            .collect()
            .await;
        let last = &lines[lines.len().saturating_sub(3)..];
        last.iter().fold(String::new(), |text, line| format!("{text}\n  {line}"))
    }

    /// Lets go of checkouts that nothing refers to any more.
    async fn prune(&self, tenant: &TenantName) {
        let Some(ledger) = self.store.tenant(tenant) else { return };
        let kept = [&ledger.target, &ledger.verified, &ledger.quarantined];
        let mut keep: Vec<_> = kept.into_iter().flatten().map(|desired| desired.revision.clone()).collect();
        keep.extend(ledger.wanted);
        if ledger.target.is_none() {
            // What runs of a tenant that the ledger forgot reads its checkout.
            let Ok(held) = self.services.call(&instance::List { tenant: Some(tenant.clone()) }).await else { return };
            let specs = held.instances.into_iter().flat_map(|held| [Some(held.spec), held.running]);
            keep.extend(specs.flatten().map(|spec| spec.revision));
        }
        // Nothing was checked out since it was done last.
        let done = |pruned: &HashMap<_, Vec<_>>| pruned.get(tenant) == Some(&keep);
        if done(&self.pruned.lock().unwrap_or_else(PoisonError::into_inner)) {
            return;
        }
        let prune = git_sync::Prune { repository: RepositoryName::from(tenant), keep };
        match self.services.call(&prune).await {
            Ok(_) => {
                self.pruned.lock().unwrap_or_else(PoisonError::into_inner).insert(tenant.clone(), prune.keep);
            }
            Err(error) => warn!(%tenant, "old checkouts stay: {}", runtime::chain(&error)),
        }
    }
}

fn active_for(service: &instance::Service) -> Duration {
    Duration::from_micros(service.active_u_sec)
}

fn youngest(services: &[instance::Service]) -> Duration {
    services.iter().map(active_for).min().unwrap_or_default()
}

fn unknown(plan: &Plan) -> Fault {
    let parts: Vec<String> = plan.unknown.iter().map(ToString::to_string).collect();
    Fault::Host(format!("no answer from {}", parts.join(", ")))
}
