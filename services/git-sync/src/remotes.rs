//! How the servers of one repository are doing, and in which order they are asked: as they are named, but who failed lately
//! rests, for longer after each failure. Pure: nothing here reads a clock or a file.

use model::{Remote, RemoteState, RepositoryUrl};
use serde::{Deserialize, Serialize};

/// For how long a server rests that failed once, and the longest that doubling makes of it.
const PAUSE_USEC: (u64, u64) = (20_000_000, 600_000_000);

/// One server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Standing {
    remote: Remote,
    /// How often in a row it failed.
    failures: u32,
    /// Until when it rests for that. A time further ahead than any pause lasts comes from a clock that was set.
    until_usec: u64,
}

/// All of them, as they are named.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Remotes(Vec<Standing>);

impl Remotes {
    /// Those at `urls`, with what is known of them.
    pub(crate) fn at<'u>(self, urls: impl Iterator<Item = &'u RepositoryUrl>, now_usec: u64) -> Self {
        let known = |url: &RepositoryUrl| self.0.iter().find(|one| one.remote.url == *url).cloned();
        let new = |url: &RepositoryUrl| Standing {
            remote: Remote { url: url.clone(), state: RemoteState::Spare, since_u_sec: now_usec, reason: None },
            failures: 0,
            until_usec: 0,
        };
        Self(urls.map(|url| known(url).unwrap_or_else(|| new(url))).collect())
    }

    /// In which order they are asked, and who of them rests for having failed: nobody but for want of another.
    pub(crate) fn order(&self, now_usec: u64) -> Vec<(RepositoryUrl, bool)> {
        let rests = |one: &Standing| (1..=PAUSE_USEC.1).contains(&one.until_usec.saturating_sub(now_usec));
        let mut order: Vec<_> = self.0.iter().map(|one| (one.remote.url.clone(), rests(one))).collect();
        order.sort_by_key(|(_, rests)| *rests);
        order
    }

    /// What became of asking one.
    pub(crate) fn told(&mut self, url: &RepositoryUrl, state: RemoteState, reason: Option<String>, now_usec: u64) {
        let Some(one) = self.0.iter_mut().find(|one| one.remote.url == *url) else { return };
        one.enter(state, reason, now_usec);
        if state == RemoteState::Away {
            let (shortest, longest) = PAUSE_USEC;
            let pause = shortest.saturating_mul(1 << one.failures.min(16)).min(longest);
            one.failures = one.failures.saturating_add(1);
            one.until_usec = now_usec.saturating_add(pause);
        } else {
            (one.failures, one.until_usec) = (0, 0);
        }
    }

    /// What counts is from one of them, and from no other.
    pub(crate) fn used(&mut self, url: &RepositoryUrl, now_usec: u64) {
        for one in self.0.iter_mut().filter(|one| one.remote.url != *url && one.remote.state == RemoteState::Used) {
            one.enter(RemoteState::Spare, None, now_usec);
        }
        self.told(url, RemoteState::Used, None, now_usec);
    }

    /// Whether none is known.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// As callers see them.
    pub(crate) fn shown(&self) -> Vec<Remote> {
        self.0.iter().map(|one| one.remote.clone()).collect()
    }
}

impl Standing {
    fn enter(&mut self, state: RemoteState, reason: Option<String>, now_usec: u64) {
        if self.remote.state != state {
            self.remote.since_u_sec = now_usec;
        }
        (self.remote.state, self.remote.reason) = (state, reason);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SECOND: u64 = 1_000_000;

    fn urls(count: usize) -> Vec<RepositoryUrl> {
        (0..count).map(url).collect()
    }

    fn url(number: usize) -> RepositoryUrl {
        format!("git://h/{number}").parse().unwrap()
    }

    fn away(remotes: &mut Remotes, number: usize, now_usec: u64) {
        remotes.told(&url(number), RemoteState::Away, Some("refused".to_owned()), now_usec);
    }

    fn order(remotes: &Remotes, now_usec: u64) -> String {
        let word = |(url, rests): &(RepositoryUrl, bool)| {
            format!("{}{}", &url.as_str()["git://h/".len()..], if *rests { "." } else { "" })
        };
        remotes.order(now_usec).iter().map(word).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn who_fails_rests_for_longer_each_time_and_is_asked_first_again() {
        let mut remotes = Remotes::default().at(urls(3).iter(), 0);
        assert_eq!(order(&remotes, 0), "0 1 2");
        away(&mut remotes, 0, 0);
        remotes.used(&url(1), 0);
        assert_eq!(order(&remotes, 19 * SECOND), "1 2 0.");
        assert_eq!(order(&remotes, 20 * SECOND), "0 1 2");
        away(&mut remotes, 0, 20 * SECOND);
        assert_eq!(order(&remotes, 59 * SECOND), "1 2 0.");
        assert_eq!(order(&remotes, 60 * SECOND), "0 1 2");
        assert_eq!(remotes.shown()[0].since_u_sec, 0, "it was away since then");
        remotes.used(&url(0), 60 * SECOND);
        let states: Vec<RemoteState> = remotes.shown().iter().map(|one| one.state).collect();
        assert_eq!(states, [RemoteState::Used, RemoteState::Spare, RemoteState::Spare]);
        away(&mut remotes, 0, 61 * SECOND);
        assert_eq!(order(&remotes, 81 * SECOND), "0 1 2", "what was long ago counts still");
        // Who is named no more is forgotten, who is new has not failed.
        let fewer = remotes.clone().at(urls(4)[2..].iter(), 62 * SECOND);
        assert_eq!(order(&fewer, 62 * SECOND), "2 3");
        // A clock that goes back leaves nobody last for ever.
        away(&mut remotes, 1, 1_000_000 * SECOND);
        assert_eq!(order(&remotes, 62 * SECOND), "1 2 0.");
    }

    proptest! {
        /// Whatever happened, each is in the order once, and the first comes first again within the longest pause.
        #[test]
        fn nobody_is_left_out(events in proptest::collection::vec((0..4_usize, 0..4_u8, 0..900_u64), 0..40)) {
            let mut remotes = Remotes::default().at(urls(4).iter(), 0);
            let mut now = 0;
            for (number, what, seconds) in events {
                now += seconds * SECOND;
                match what {
                    0 => remotes.used(&url(number), now),
                    1 => remotes.told(&url(number), RemoteState::Behind, None, now),
                    2 | 3 => away(&mut remotes, number, now),
                    _ => unreachable!("0..4"),
                }
                let mut all: Vec<_> = remotes.order(now).into_iter().map(|(url, _)| url.to_string()).collect();
                all.sort_unstable();
                prop_assert_eq!(all, urls(4).iter().map(ToString::to_string).collect::<Vec<_>>());
                prop_assert_eq!(order(&remotes, now + PAUSE_USEC.1 + 1), "0 1 2 3");
                prop_assert!(remotes.shown().iter().filter(|one| one.state == RemoteState::Used).count() <= 1);
            }
        }
    }
}
