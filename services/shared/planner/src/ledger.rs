//! What is remembered of a tenant between one convergence and the next, and how it changes: nothing here reads a clock or
//! writes a file.

use crate::BackOff;
use model::{DesiredTenant, Revision, identity::Slot, progress::TenantState, time::TimeSpan};
use serde::{Deserialize, Serialize};

/// One tenant's memory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TenantLedger {
    /// What it owns by right; given once.
    pub slot: Option<Slot>,
    /// The repository that all of this is about; none if an older version wrote it.
    #[serde(default)]
    pub origin: Option<Origin>,
    /// Whether the target is another repository's or reference's, which runs until there is something else: that it holds says
    /// nothing of this one.
    #[serde(default)]
    pub former: bool,
    /// Whether the registry names it.
    pub registered: bool,
    /// The generation of the last change.
    pub generation: u64,
    /// How far it is.
    pub state: TenantState,
    /// Since when, in microseconds since 1970.
    pub since_usec: u64,
    /// The commit that its repository names.
    pub wanted: Option<Revision>,
    /// What the host is made into.
    pub target: Option<DesiredTenant>,
    /// The commit that every later one has to have in its history: nobody goes back behind it unasked.
    pub floor: Option<Revision>,
    /// What held last.
    pub verified: Option<DesiredTenant>,
    /// What was tried and did not hold: not tried again as long as the request is the same.
    pub quarantined: Option<DesiredTenant>,
    /// Why the wanted commit is not what runs.
    pub reason: Option<String>,
    /// Why its repository could not be fetched.
    pub unreachable: Option<String>,
    /// How long it is left alone for that.
    #[serde(default)]
    pub back_off: BackOff,
    /// Why the host could not make it what it should be, the last time it tried.
    pub unconverged: Option<String>,
    /// The steps of the last plan that changed something.
    pub plan: Vec<String>,
    /// Why going back to the last verified commit did not work either.
    pub rollback_reason: Option<String>,
    /// Whether the target was found healthy since it was last changed.
    pub proven: bool,
    /// Since when it is left alone, in microseconds since 1970, if somebody asked for that.
    pub suspended_since_usec: Option<u64>,
    /// Whether somebody asked for another try: of what is quarantined, which the next look judges as it judges any commit,
    /// and then of the target, which is started anew even if nothing differs.
    #[serde(default)]
    pub retrying: bool,
    /// Whether the host was booted and what was verified is still to be started.
    #[serde(default)]
    pub booting: bool,
    /// The commit that was refused last because the floor is not in its history, as long as the repository names it.
    #[serde(default)]
    pub strayed: Option<Revision>,
    /// The commit that need not have the floor in its history: somebody accepted it, and nothing but it.
    #[serde(default)]
    pub accepted: Option<Revision>,
    /// What an older version wrote where another history begins; see [`TenantLedger::upgrade`].
    #[serde(default, skip_serializing)]
    pub any_history: bool,
    /// Whether it existed when nothing was remembered of it, not even a floor. Said until another commit of it holds.
    #[serde(default)]
    pub floor_lost: bool,
    /// How long the next commit has to be confirmed, if somebody asked for that.
    #[serde(default)]
    pub trial_asked: Option<TimeSpan>,
    /// The target is on trial: nobody has confirmed it yet.
    #[serde(default)]
    pub trial: Option<Trial>,
    /// It has left, or should not run and asked to be removed then.
    #[serde(default)]
    pub leaving: Option<Leaving>,
}

/// What becomes of a tenant whose target did not hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// The last verified request is the target again.
    GoBack,
    /// There is nothing to go back to.
    GiveUp,
}

impl TenantLedger {
    /// A tenant that was registered at `now`.
    #[must_use]
    pub fn new(now_usec: u64) -> Self {
        Self {
            slot: None,
            origin: None,
            former: false,
            registered: true,
            generation: 0,
            state: TenantState::Pending,
            since_usec: now_usec,
            wanted: None,
            target: None,
            floor: None,
            verified: None,
            quarantined: None,
            reason: None,
            unreachable: None,
            back_off: BackOff::default(),
            unconverged: None,
            plan: Vec::new(),
            rollback_reason: None,
            proven: false,
            suspended_since_usec: None,
            retrying: false,
            booting: false,
            strayed: None,
            accepted: None,
            any_history: false,
            floor_lost: false,
            trial_asked: None,
            trial: None,
            leaving: None,
        }
    }

    /// Changes the state; `since` moves only if it is another one.
    pub fn enter(&mut self, state: TenantState, now_usec: u64) {
        if self.state != state {
            self.state = state;
            self.since_usec = now_usec;
        }
    }

    /// Whether nothing is to be done: the first commit failed, and there is none to go back to. It is left for a person to
    /// look at until another one is pushed.
    #[must_use]
    pub fn gave_up(&self) -> bool {
        self.registered && self.target.is_some() && self.target == self.quarantined
    }

    /// Whether it runs what it should and was found healthy since that changed, so that others may rely on it.
    #[must_use]
    pub fn holds(&self) -> bool {
        self.registered && self.proven && self.target.as_ref().is_some_and(|target| target.enabled)
    }

    /// Whether somebody asked that it be left alone: it is not fetched.
    #[must_use]
    pub fn is_suspended(&self) -> bool {
        self.registered && self.suspended_since_usec.is_some()
    }

    /// Whether nothing is to be done for it because it is suspended. After a boot its verified commit is still started, and
    /// what nobody confirms still goes back.
    #[must_use]
    pub fn rests(&self) -> bool {
        self.is_suspended() && !self.booting && self.trial.is_none() && self.state != TenantState::Confirming
    }

    /// Leaves it alone from `now` on. What was begun is finished. Returns whether that changes anything.
    pub fn suspend(&mut self, now_usec: u64) -> bool {
        let changes = self.suspended_since_usec.is_none();
        self.suspended_since_usec.get_or_insert(now_usec);
        changes
    }

    /// Follows it again. Returns whether that changes anything.
    pub fn resume(&mut self) -> bool {
        self.suspended_since_usec.take().is_some()
    }

    /// Lets what was given up be admitted once more. Until a look has done so it stays given up: what the registry or the
    /// machine would refuse by now is not tried. Returns whether there is anything to be tried.
    pub fn retry(&mut self) -> bool {
        self.retrying |= self.quarantined.is_some();
        self.quarantined.is_some()
    }

    /// Whether the target is to be started anew because somebody asked for another try of it.
    #[must_use]
    pub fn starts_anew(&self) -> bool {
        self.retrying && self.quarantined.is_none()
    }

    /// Nothing is left of who has left, and its commits go too. How far its history had come is still known.
    pub fn forget_commits(&mut self) {
        if !self.registered {
            (self.wanted, self.target, self.verified, self.quarantined) = (None, None, None, None);
            (self.reason, self.former) = (None, false);
        }
    }

    /// The host was booted: what was verified comes first, whatever was under way. What is wanted is looked at afterwards.
    pub fn boot(&mut self, now_usec: u64) {
        self.boot_on_trial(now_usec);
        self.proven = false;
        self.booting = self.verified.is_some();
        if self.booting {
            self.target.clone_from(&self.verified);
            self.retrying &= self.quarantined.is_some();
        }
    }

    /// Its server answered: with a commit, or with why there is none.
    pub fn reached(&mut self, without: Option<String>) {
        self.unreachable = without;
        self.back_off.reached();
    }

    /// It was looked at. Returns whether something of it exists although nothing is remembered of what held: whatever its
    /// repository shows has to be taken for its history.
    pub fn found(&mut self, exists: bool) -> bool {
        let unknown = self.generation == 0 && self.target.is_none() && self.floor.is_none() && self.accepted.is_none();
        let lost = exists && unknown && !self.floor_lost;
        self.floor_lost |= lost;
        lost
    }

    /// A commit was fetched and admitted. Returns whether it becomes the target: not if it is the target already, nor if it
    /// was tried and did not hold, unless somebody asked for another try.
    pub fn admit(&mut self, desired: DesiredTenant) -> bool {
        self.shows(&desired.revision);
        if self.accepted.take().is_some() {
            // What comes next goes on from it, whether it holds or not.
            self.floor = Some(desired.revision.clone());
        }
        self.wanted = Some(desired.revision.clone());
        let given_up = self.quarantined.as_ref() == Some(&desired);
        if given_up && !self.retrying {
            return false;
        }
        self.former = false;
        if !given_up && self.target.as_ref() == Some(&desired) {
            // What was refused in between is gone from the repository.
            if self.state != TenantState::Failed {
                self.reason = None;
            }
            return false;
        }
        self.target = Some(desired);
        self.begin_trial();
        self.quarantined = None;
        self.reason = None;
        self.rollback_reason = None;
        (self.proven, self.retrying) = (false, given_up);
        true
    }

    /// A commit was fetched and refused. What runs goes on.
    pub fn refuse(&mut self, revision: Revision, reason: String, now_usec: u64) {
        self.shows(&revision);
        self.wanted = Some(revision);
        self.reason = Some(reason);
        self.retrying = false;
        self.enter(TenantState::Refused, now_usec);
    }

    /// What the repository's reference names is no commit, and was refused. What runs goes on.
    pub fn refuse_what_is_no_commit(&mut self, reason: String, now_usec: u64) {
        (self.wanted, self.strayed, self.accepted) = (None, None, None);
        self.reason = Some(reason);
        self.retrying = false;
        self.enter(TenantState::Refused, now_usec);
    }

    /// The host is what the target says, and healthy.
    pub fn settle(&mut self, now_usec: u64) {
        if !self.registered {
            return self.settle_absent(now_usec);
        }
        if self.target.is_none() || self.stays_down() {
            // Nothing was admitted yet, or what was is given up: its state says why.
            self.unconverged = None;
            return;
        }
        let tried = self.is_tried(now_usec);
        let Some(target) = &self.target else { return };
        // A commit may be refused that runs already: its policy was narrowed, or a key revoked.
        let refused = self.state == TenantState::Refused && self.reason.is_some();
        let wanted = !refused && self.wanted.as_ref().is_none_or(|wanted| *wanted == target.revision);
        let given_up =
            self.quarantined.as_ref().is_some_and(|given_up| Some(&given_up.revision) == self.wanted.as_ref());
        let state = match (target.enabled, wanted, given_up) {
            (_, false, true) => TenantState::RolledBack,
            (_, false, false) => TenantState::Refused,
            (_, true, _) if tried => TenantState::Confirming,
            (true, true, _) => TenantState::Verified,
            (false, true, _) => TenantState::Stopped,
        };
        if wanted {
            self.reason = None;
            self.quarantined = None;
        }
        if wanted && !self.former && !tried {
            let before = self.floor.replace(target.revision.clone());
            self.floor_lost &= before.is_none() || before == self.floor;
        }
        if !self.former && !tried {
            self.verified = self.target.clone();
        }
        (self.unconverged, self.rollback_reason, self.proven) = (None, None, true);
        self.booting = false;
        // What is still given up waits for the look that was asked for.
        self.retrying &= self.quarantined.is_some();
        if !tried {
            self.settle_disabled(now_usec);
        }
        self.enter(state, now_usec);
    }

    /// The target did not hold.
    pub fn fail(&mut self, reason: String, now_usec: u64) -> Verdict {
        self.unconverged = None;
        (self.proven, self.booting) = (false, false);
        self.retrying &= self.quarantined.is_some();
        match &self.verified {
            Some(verified) if self.target.as_ref() != Some(verified) => {
                self.quarantined = self.target.replace(verified.clone());
                self.trial = None;
                self.reason = Some(reason);
                Verdict::GoBack
            }
            Some(_) => {
                if self.quarantined.is_some() {
                    self.rollback_reason = Some(reason);
                } else {
                    self.reason = Some(reason);
                }
                self.enter(TenantState::Failed, now_usec);
                Verdict::GiveUp
            }
            None => {
                self.quarantined = self.target.clone();
                self.reason = Some(reason);
                self.enter(TenantState::Failed, now_usec);
                Verdict::GiveUp
            }
        }
    }
}

mod accept;
pub mod leaving;
mod origin;
#[cfg(test)]
mod tests;
mod trial;

pub use leaving::{Aim, Leaving};
pub use origin::Origin;
pub use trial::Trial;
