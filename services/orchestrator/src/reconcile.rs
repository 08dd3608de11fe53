//! Makes one tenant what its target says: observe, plan, record, execute, verify, settle; or go back.

use crate::{
    checkouts::is_gone,
    engine::Engine,
    execute,
    fault::Fault,
    leave::plan_leave,
    observe,
    slots::{self, Claimed},
    store::now_usec,
};
use interfaces::tenant as instance;
use model::{
    DesiredTenant, TenantName, identity::Slot, names::RepositoryName, observed::ObservedTenant, progress::TenantState,
};
use planner::{Action, Aim, Plan, TenantLedger, Verdict, plan};
use std::time::{Duration, Instant};
use tracing::{info, warn};

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
    /// Whether it was one of many that were looked at together, perhaps before its turn came: what seems to be missing of
    /// it may have been made since, so that such a look only says that nothing is to be done.
    together: bool,
}

impl Seen {
    /// Nothing there, on a host without a free uid range.
    #[cfg(test)]
    pub(crate) fn by_nobody() -> Self {
        let slot = Err(Fault::Host(slots::NONE_FREE.to_owned()));
        Self { at: Instant::now(), observed: ObservedTenant::absent(), slot, together: false }
    }

    /// Whether the host has no uid range left for it.
    pub(crate) fn finds_no_range(&self) -> bool {
        self.slot == Err(Fault::Host(slots::NONE_FREE.to_owned()))
    }
}

/// A tenant that is what it should be.
struct Converged {
    /// Whether anything had to be done.
    changed: bool,
    /// Whether it has left and nothing of it is there.
    gone: bool,
}

impl Engine {
    /// Makes a tenant what its target says and returns when that is settled or has to wait for the host.
    pub(crate) async fn reconcile(&self, tenant: &TenantName) {
        {
            let _turn = self.turns.take(tenant).await;
            self.reconcile_in_turn(tenant, None).await;
        }
        self.poll_as_said(tenant).await;
    }

    /// The same for many, which are looked at together.
    pub(crate) async fn reconcile_all(&self, tenants: Vec<TenantName>) {
        let (begun, count) = (Instant::now(), tenants.len());
        self.each(tenants, |engine, tenant| async move {
            let _turn = engine.turns.take(&tenant).await;
            let seen = engine.see_together(&tenant).await;
            engine.reconcile_in_turn(&tenant, seen).await;
        })
        .await;
        self.overview.forget().await;
        let milliseconds = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        info!(tenants = count, milliseconds, "looked after what is remembered");
    }

    /// The same for who has the tenant's turn, and may have looked at the tenant a moment ago.
    pub(crate) async fn reconcile_in_turn(&self, tenant: &TenantName, mut seen: Option<Seen>) {
        let together = seen.as_ref().is_some_and(|seen| seen.together);
        if self.store.tenant(tenant).is_none_or(|ledger| ledger.rests()) {
            return;
        }
        // Twice at most: towards the target, and back.
        loop {
            self.end_trial(tenant);
            let rests = |ledger: &TenantLedger| ledger.gave_up() && !ledger.stays_down();
            let Some(ledger) = self.store.tenant(tenant).filter(|ledger| !rests(ledger)) else { return };
            let again = match self.converge(tenant, &ledger, seen.take()).await {
                Ok(Converged { changed, gone }) => {
                    self.recovered(tenant);
                    self.remember(tenant, TenantLedger::settle);
                    if !ledger.holds() {
                        self.wake_dependents(tenant);
                    }
                    if gone {
                        self.forget(tenant).await;
                    } else if changed || !together {
                        // Where many are looked at and nothing is done, nothing is to be let go of or pushed either.
                        self.keep_in_step(&RepositoryName::from(tenant));
                        self.prune(tenant).await;
                    }
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
                Err(Fault::Waits(reason)) => {
                    info!(%tenant, "{reason}");
                    self.remember(tenant, |ledger, _| ledger.unconverged = Some(reason));
                    false
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

    async fn converge(
        &self,
        tenant: &TenantName,
        ledger: &TenantLedger,
        seen: Option<Seen>,
    ) -> Result<Converged, Fault> {
        let aim = ledger.aim(now_usec());
        let target = match aim {
            // Of one that the ledger forgot something may run: it goes on until a commit says what it should be.
            Aim::Nothing => return Ok(Converged { changed: false, gone: false }),
            Aim::Run(target) => Some(target),
            Aim::Stop(_) | Aim::Remove(..) => None,
        };
        let retries = ledger.starts_anew() && target.is_some_and(|target| target.enabled);
        let planned = |seen: Seen| -> Result<(ObservedTenant, Option<Slot>, Plan), Fault> {
            let Some(target) = target else {
                let steps = plan_leave(tenant, ledger, aim, &seen.observed);
                return Ok((seen.observed, None, steps));
            };
            let slot = seen.slot?;
            let steps = plan(target, slot, &seen.observed);
            let steps = if retries { steps.anew("somebody asked for another try") } else { steps };
            let asleep = !target.enabled || ledger.may_sleep();
            let steps = if asleep { steps } else { steps.awake(&seen.observed) };
            Ok((seen.observed, Some(slot), steps))
        };
        // Who is not to be anywhere gets no slot for it.
        let look = async || if target.is_some() { self.see(tenant).await } else { self.see_what_is_left(tenant).await };
        let seen = match seen.filter(|seen| seen.at.elapsed() < FRESH) {
            Some(seen) => seen,
            None => look().await,
        };
        let together = seen.together;
        let (mut observed, mut slot, mut steps) = planned(seen)?;
        if together && !(steps.steps.is_empty() && steps.unknown.is_empty()) {
            (observed, slot, steps) = planned(look().await)?;
        }
        let changes = !steps.steps.is_empty();
        let executed = self.execute(tenant, &observed, &steps, aim).await;
        let Some(target) = target else {
            // What fails now says nothing of any commit.
            executed.map_err(|fault| Fault::Host(fault.reason().to_owned()))?;
            return Ok(self.left(tenant, observed, changes).await);
        };
        executed?;
        if retries {
            self.remember(tenant, |ledger, _| ledger.retrying = false);
        }
        let converged = Converged { changed: changes, gone: false };
        let Some(slot) = slot else { return Ok(converged) };
        if changes {
            observed = observe::tenant(&self.services, tenant).await;
            self.nothing_left(&plan(target, slot, &observed))?;
        }
        let proven = !changes && ledger.has_held() || ledger.may_sleep() && observed.sleeps();
        if target.enabled && !proven {
            self.verify(tenant, target).await?;
        }
        Ok(converged)
    }

    /// Notes if nothing is left of a tenant that is not to be anywhere.
    async fn left(&self, tenant: &TenantName, observed: ObservedTenant, changed: bool) -> Converged {
        let left = if changed { observe::tenant(&self.services, tenant).await } else { observed };
        if left == ObservedTenant::absent() {
            self.remember(tenant, |ledger, now| {
                if ledger.is_leaving() || !ledger.registered && ledger.slot.is_some() {
                    info!(%tenant, "nothing is left of it");
                    ledger.removed(now);
                }
            });
        }
        let registered = self.store.tenant(tenant).is_some_and(|ledger| ledger.registered);
        Converged { changed, gone: !registered && is_gone(&left) }
    }

    /// Looks at a tenant, and at which slot is its own.
    pub(crate) async fn see(&self, tenant: &TenantName) -> Seen {
        let at = Instant::now();
        let (observed, slot) = tokio::join!(observe::tenant(&self.services, tenant), self.slot(tenant));
        Seen { at, observed, slot, together: false }
    }

    async fn see_what_is_left(&self, tenant: &TenantName) -> Seen {
        let slot = Err(Fault::Host("it is not registered".to_owned()));
        Seen { at: Instant::now(), observed: observe::tenant(&self.services, tenant).await, slot, together: false }
    }

    /// Looks at a tenant as one of many. Nothing for who has no slot yet: it is new.
    pub(crate) async fn see_together(&self, tenant: &TenantName) -> Option<Seen> {
        let slot = self.store.memory().tenants.get(tenant).and_then(|ledger| ledger.slot)?;
        let (at, observed) = self.overview.look(&self.services).await.of(tenant);
        Some(Seen { at, observed, slot: Ok(slot), together: true })
    }

    fn nothing_left(&self, left: &Plan) -> Result<(), Fault> {
        match left.steps.first() {
            None if left.unknown.is_empty() => Ok(()),
            None => Err(unknown(left)),
            Some(step) => Err(Fault::Host(format!("after the last step it still needs: {step}"))),
        }
    }

    /// Records the plan, then does it.
    async fn execute(
        &self,
        tenant: &TenantName,
        observed: &ObservedTenant,
        plan: &Plan,
        aim: Aim<'_>,
    ) -> Result<(), Fault> {
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
        for [first, second] in plan.stages() {
            if matches!(aim, Aim::Remove(..)) && !self.is_to_go(tenant) {
                return Err(Fault::Host("somebody asked for it to stay in the middle of its removal".to_owned()));
            }
            if let Aim::Run(target) = aim
                && first.iter().any(|step| step.action == Action::Start)
            {
                self.await_dependencies(target).await?;
            }
            // A closed semaphore cannot be: nothing closes it.
            let _place = self.parallel.acquire().await;
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
