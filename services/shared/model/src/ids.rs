//! Sets of processors or memory nodes, by the kernel's numbers.

use crate::text::{InvalidText, written_as_text};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeSet, fmt, str::FromStr};

/// One more than the highest number: no machine that Linux runs on has more.
const COUNT: u16 = 8192;

/// A set of processors or memory nodes, written as the kernel does (cpuset(7)): `0-3,8`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct IdSet(BTreeSet<u16>);

written_as_text!(IdSet, "a set of processors or memory nodes", "numbers from 0 to 8191 and ranges of them, as 0-3,8");

impl IdSet {
    /// Whether every one of these is in `other`.
    #[must_use]
    pub fn is_within(&self, other: &Self) -> bool {
        self.0.is_subset(&other.0)
    }

    /// Whether it is one alone.
    #[must_use]
    pub fn is_one(&self) -> bool {
        self.0.len() == 1
    }

    /// Whether it is every number that there may be, which limits nobody.
    #[must_use]
    pub fn is_all(&self) -> bool {
        self.0.len() == usize::from(COUNT)
    }

    /// As bits, the lowest first, as the service manager is told.
    #[must_use]
    pub fn mask(&self) -> Vec<u8> {
        let mut mask = vec![0; self.0.last().map_or(0, |last| usize::from(*last) / 8 + 1)];
        for id in &self.0 {
            if let Some(byte) = mask.get_mut(usize::from(*id) / 8) {
                *byte |= 1 << (id % 8);
            }
        }
        mask
    }
}

impl FromStr for IdSet {
    type Err = InvalidText;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let number = |digits: &str| -> Option<u16> {
            let plain = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
            plain.then(|| digits.parse().ok())?.filter(|id| *id < COUNT)
        };
        let range = |part: &str| {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let (first, last) = (number(first)?, number(last)?);
            (first <= last).then_some(first..=last)
        };
        // Enough for every other number of a machine.
        let parts = if text.len() > 32 << 10 { None } else { text.split(',').map(range).collect::<Option<Vec<_>>>() };
        parts.map(|parts| Self(parts.into_iter().flatten().collect())).ok_or_else(|| Self::refused(text))
    }
}

/// The shortest form: what follows one another is a range.
impl fmt::Display for IdSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut ranges: Vec<(u16, u16)> = Vec::new();
        for id in &self.0 {
            match ranges.last_mut() {
                Some((_, last)) if last.checked_add(1) == Some(*id) => *last = *id,
                Some(_) | None => ranges.push((*id, *id)),
            }
        }
        let range =
            |(first, last): &(u16, u16)| if first == last { first.to_string() } else { format!("{first}-{last}") };
        f.write_str(&ranges.iter().map(range).collect::<Vec<_>>().join(","))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn sets_follow_the_rule() {
        for (text, shown) in [("0", "0"), ("3,1,2", "1-3"), ("0-3,8", "0-3,8"), ("8191", "8191"), ("1,1", "1")] {
            assert_eq!(text.parse::<IdSet>().unwrap().to_string(), shown);
        }
        for bad in ["", ",", "0,", "8192", "3-1", "-1", "1-", "+1", " 1", "1 2", "a", "0-8192", "1-2-3"] {
            assert!(bad.parse::<IdSet>().is_err(), "{bad:?} was accepted");
        }
        assert_eq!("0-3,8".parse::<IdSet>().unwrap().mask(), [0b1111, 1]);
        assert!("0-8191".parse::<IdSet>().unwrap().is_all());
    }

    proptest! {
        #[test]
        fn a_set_survives_being_written(ids in proptest::collection::btree_set(0..COUNT, 1..64)) {
            let set = IdSet(ids);
            prop_assert_eq!(set.to_string().parse::<IdSet>().unwrap(), set);
        }
    }
}
