//! Whose history a tenant's memory is about: what is remembered belongs to one repository and one of its references, and none
//! of it is held against another.

use super::TenantLedger;
use model::{Mirrors, Reference, RepositoryUrl, Revision, progress::TenantState, registry::Registration};
use serde::{Deserialize, Serialize};

/// A repository, wherever it is, and the reference of it that counts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Origin {
    /// Where it is.
    pub repository: RepositoryUrl,
    /// Where else it is.
    #[serde(default)]
    pub mirrors: Mirrors,
    /// Which of its references counts.
    pub reference: Reference,
}

impl Origin {
    /// What the registry says of a tenant.
    #[must_use]
    pub fn of(entry: &Registration) -> Self {
        let Registration { repository, mirrors, reference, .. } = entry;
        Self { repository: repository.clone(), mirrors: mirrors.clone(), reference: reference.clone() }
    }

    /// Whether the repository that was here is the one that is there now: at the same address, or at one that was or is a
    /// mirror of the other.
    #[must_use]
    pub fn moves_within(&self, after: &Self) -> bool {
        self.mirrors.lead(&self.repository, &after.repository)
            || after.mirrors.lead(&after.repository, &self.repository)
    }
}

impl TenantLedger {
    /// The registry says that its repository is this one. What belongs to another is forgotten: the history begins anew, behind
    /// the floor that a copy has of it. What runs goes on, if it stayed registered, until there is something else; of who has
    /// left and comes back as somebody else nothing is started.
    pub fn belongs_to(&mut self, origin: &Origin, floor: impl FnOnce() -> Option<Revision>, now_usec: u64) {
        let before = self.origin.replace(origin.clone());
        let Some(before) = before.filter(|before| before != origin) else { return };
        let is_one = before.moves_within(origin);
        if is_one && before.reference == origin.reference {
            return;
        }
        if !self.registered {
            (self.target, self.verified, self.quarantined) = (None, None, None);
            self.enter(TenantState::Pending, now_usec);
        }
        if !is_one {
            // What the former one asked for is nothing to go back to.
            (self.verified, self.quarantined) = (None, None);
            self.back_off.reached();
        }
        (self.wanted, self.reason, self.unreachable) = (None, None, None);
        (self.floor, self.strayed, self.accepted) = (floor(), None, None);
        (self.retrying, self.booting) = (false, false);
        self.former = self.target.is_some();
    }

    /// Whether what is remembered belongs to this entry's repository, or to none yet.
    #[must_use]
    pub fn is_of(&self, entry: &Registration) -> bool {
        self.origin.as_ref().is_none_or(|origin| *origin == Origin::of(entry))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Verdict, world::desired};

    fn origin(repository: &str, mirrors: &[&str]) -> Origin {
        let mirrors: Vec<RepositoryUrl> = mirrors.iter().map(|url| url.parse().unwrap()).collect();
        let (repository, mirrors) = (repository.parse().unwrap(), mirrors.try_into().unwrap());
        Origin { repository, mirrors, reference: Reference::main() }
    }

    fn verified(revision: char, origin: &Origin) -> TenantLedger {
        let mut ledger = TenantLedger::new(0);
        ledger.belongs_to(origin, || None, 0);
        assert!(ledger.admit(desired("web", revision)));
        ledger.settle(1);
        ledger
    }

    #[test]
    fn a_mirror_that_takes_the_repositorys_place_has_its_history() {
        let before = origin("git://a/web", &["git://b/web"]);
        assert!(before.moves_within(&origin("git://b/web", &[])));
        assert!(before.moves_within(&origin("git://c/web", &["git://a/web"])));
        assert!(before.moves_within(&origin("git://a/web", &["git://c/web"])));
        assert!(!before.moves_within(&origin("git://c/web", &["git://b/web"])));
        assert!(!before.moves_within(&origin("git://c/web", &[])));
        let mut ledger = verified('a', &before);
        let held = ledger.clone();
        ledger.belongs_to(&origin("git://b/web", &[]), || None, 2);
        assert_eq!(ledger, TenantLedger { origin: Some(origin("git://b/web", &[])), ..held });
    }

    #[test]
    fn another_repository_has_nothing_to_go_back_to_and_what_runs_goes_on() {
        let mut ledger = verified('a', &origin("git://h/a", &[]));
        ledger.belongs_to(&origin("git://h/b", &[]), || None, 2);
        assert_eq!((ledger.bound(), &ledger.target), (None, &Some(desired("web", 'a'))));
        // Its server is away: a look that finds the former one's commit healthy makes it nobody's floor.
        ledger.settle(3);
        ledger.boot(2);
        assert_eq!((ledger.bound(), &ledger.verified, &ledger.target), (None, &None, &Some(desired("web", 'a'))));
        assert!(ledger.admit(desired("web", 'b')));
        assert_eq!(ledger.fail("no start".to_owned(), 4), Verdict::GiveUp);
        assert!(ledger.gave_up());
        assert!(ledger.admit(desired("web", 'c')));
        ledger.settle(5);
        assert_eq!(ledger.bound(), Some(&desired("web", 'c').revision));
    }

    #[test]
    fn the_same_commit_at_another_address_holds_there_too() {
        let mut ledger = verified('a', &origin("git://h/a", &[]));
        ledger.belongs_to(&origin("git://h/b", &[]), || None, 2);
        assert!(!ledger.admit(desired("web", 'a')));
        ledger.settle(3);
        assert_eq!(
            (ledger.bound(), &ledger.verified),
            (Some(&desired("web", 'a').revision), &Some(desired("web", 'a')))
        );
    }

    #[test]
    fn another_reference_begins_a_history_and_the_last_commit_that_held_is_still_there_to_go_back_to() {
        let mut ledger = verified('a', &origin("git://h/a", &[]));
        let next = Origin { reference: "refs/heads/next".parse().unwrap(), ..origin("git://h/a", &[]) };
        ledger.belongs_to(&next, || None, 2);
        ledger.settle(3);
        assert_eq!(ledger.bound(), None);
        assert!(ledger.admit(desired("web", 'b')));
        assert_eq!(ledger.fail("no start".to_owned(), 4), Verdict::GoBack);
        ledger.settle(5);
        assert_eq!(ledger.bound(), None, "the other branch's commit has to be in this one's history");
        assert!(ledger.admit(desired("web", 'c')));
        ledger.settle(6);
        assert_eq!(ledger.bound(), Some(&desired("web", 'c').revision));
    }

    #[test]
    fn who_left_and_comes_back_with_another_repository_starts_with_nothing_of_the_former() {
        let (first, second) = (origin("git://h/a", &[]), origin("git://h/b", &[]));
        let leaves = |ledger: &mut TenantLedger, now| {
            ledger.register(false, 2);
            ledger.settle(now);
        };
        let mut ledger = verified('a', &first);
        leaves(&mut ledger, 2);
        ledger.belongs_to(&second, || None, 3);
        ledger.register(true, 2);
        assert_eq!((&ledger.target, &ledger.verified, ledger.bound()), (&None, &None, None));
        assert_eq!((ledger.state, ledger.former), (TenantState::Pending, false));
        assert!(ledger.admit(desired("web", 'b')));
        ledger.settle(4);
        // A copy says how far the first one had come: nobody goes back by way of another.
        leaves(&mut ledger, 5);
        ledger.belongs_to(&first, || Some(desired("web", 'a').revision), 6);
        ledger.register(true, 2);
        assert_eq!(ledger.bound(), Some(&desired("web", 'a').revision));
        // As itself it goes on from where it was.
        let mut same = verified('a', &first);
        leaves(&mut same, 2);
        same.belongs_to(&first, || None, 3);
        same.register(true, 2);
        assert_eq!((&same.target, same.bound()), (&Some(desired("web", 'a')), Some(&desired("web", 'a').revision)));
    }
}
