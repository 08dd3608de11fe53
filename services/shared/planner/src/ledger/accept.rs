//! Another history than the one that held: refused until somebody accepts the very commit that is refused.

use super::TenantLedger;
use model::Revision;

impl TenantLedger {
    /// What a commit has to have in its history.
    #[must_use]
    pub fn bound(&self) -> Option<&Revision> {
        self.floor.as_ref()
    }

    /// The same of the next fetch: nothing but what was accepted, if something was.
    #[must_use]
    pub fn asked_bound(&self) -> Option<&Revision> {
        self.accepted.as_ref().or(self.floor.as_ref())
    }

    /// Whether somebody accepted another commit than this one, which is therefore judged as ever.
    #[must_use]
    pub fn accepted_other_than(&self, revision: &Revision) -> bool {
        self.accepted.as_ref().is_some_and(|accepted| accepted != revision)
    }

    /// The repository names this commit: one that was accepted before is not what it is about any more.
    pub fn shows(&mut self, revision: &Revision) {
        self.strayed = None;
        self.accepted = self.accepted.take().filter(|accepted| accepted == revision);
    }

    /// Takes over what an older version wrote: whoever was to have another history has none yet.
    #[must_use]
    pub fn upgrade(mut self) -> Self {
        if std::mem::take(&mut self.any_history) {
            (self.floor, self.former) = (None, self.target.is_some());
        }
        self
    }

    /// A commit was refused because the floor is not in its history.
    pub fn strays(&mut self, revision: Revision, reason: String, now_usec: u64) {
        self.refuse(revision.clone(), reason, now_usec);
        self.strayed = Some(revision);
    }

    /// This commit need not have the floor in its history, or if none is named, the one that is refused for that. Returns
    /// which, and whether that changes anything; nothing if none is.
    pub fn accept(&mut self, revision: Option<Revision>) -> Option<(Revision, bool)> {
        let revision = revision.or_else(|| self.strayed.clone())?;
        let before = self.accepted.replace(revision.clone());
        Some((revision.clone(), before != Some(revision)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Verdict, world::desired};

    fn strayed() -> TenantLedger {
        let mut ledger = TenantLedger::new(0);
        assert!(ledger.admit(desired("web", 'a')));
        ledger.settle(1);
        assert_eq!(ledger.accept(None), None, "nothing is refused");
        ledger.strays(desired("web", 'c').revision, "it was rewritten".to_owned(), 2);
        ledger
    }

    #[test]
    fn what_is_accepted_is_one_commit_and_what_follows_goes_on_from_it() {
        let mut ledger = strayed();
        let [a, c] = ['a', 'c'].map(|digit| desired("web", digit).revision);
        assert_eq!(ledger.accept(None), Some((c.clone(), true)));
        assert_eq!(ledger.accept(None), Some((c.clone(), false)));
        assert_eq!((ledger.bound(), ledger.asked_bound()), (Some(&a), Some(&c)));
        // What is under way holds meanwhile, and a schema refuses it before it is mended elsewhere.
        ledger.settle(3);
        ledger.refuse(c.clone(), "a port is another's".to_owned(), 4);
        assert_eq!(ledger.accepted, Some(c.clone()));
        assert!(ledger.admit(desired("web", 'c')));
        assert_eq!((ledger.bound(), ledger.asked_bound(), &ledger.accepted), (Some(&c), Some(&c), &None));
        assert_eq!(ledger.fail("no start".to_owned(), 5), Verdict::GoBack);
        ledger.settle(6);
        assert_eq!(ledger.bound(), Some(&c), "what did not hold is mended in the accepted history and in no third one");
    }

    #[test]
    fn another_commit_takes_the_acceptance_back() {
        for admitted in [false, true] {
            let mut ledger = strayed();
            let c = ledger.accept(None).unwrap().0;
            assert!(ledger.accepted_other_than(&desired("web", 'd').revision) && !ledger.accepted_other_than(&c));
            if admitted {
                assert!(ledger.admit(desired("web", 'd')));
            } else {
                ledger.strays(desired("web", 'd').revision, "it was rewritten".to_owned(), 3);
            }
            assert_eq!((&ledger.accepted, ledger.bound()), (&None, Some(&desired("web", 'a').revision)));
            assert_eq!(ledger.strayed.is_some(), !admitted);
        }
    }

    #[test]
    fn a_commit_can_be_named() {
        let mut ledger = strayed();
        let d = desired("web", 'd').revision;
        assert_eq!(ledger.accept(Some(d.clone())), Some((d.clone(), true)));
        assert!(ledger.admit(desired("web", 'd')));
        assert_eq!((ledger.bound(), ledger.strayed.as_ref()), (Some(&d), None));
    }
}
