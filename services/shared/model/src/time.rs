//! Spans of time and times of day, as configurations write them.

use crate::text::{InvalidText, checked_text, written_as_text};
use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr, time::Duration};

/// A span of time, written as systemd.time(7) has it: `90`, `30s`, `5min`, `1h 30min`. At most 365 days.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TimeSpan(u32);

const UNITS: [(&str, u32); 17] = [
    ("seconds", 1),
    ("second", 1),
    ("sec", 1),
    ("s", 1),
    ("minutes", 60),
    ("minute", 60),
    ("min", 60),
    ("m", 60),
    ("hours", 3600),
    ("hour", 3600),
    ("hr", 3600),
    ("h", 3600),
    ("days", 86400),
    ("day", 86400),
    ("d", 86400),
    ("weeks", 604_800),
    ("w", 604_800),
];
const LONGEST: u32 = 365 * 86400;

impl TimeSpan {
    /// A span of `seconds`; nothing if it is longer than a year.
    #[must_use]
    pub const fn seconds(seconds: u32) -> Option<Self> {
        if seconds <= LONGEST { Some(Self(seconds)) } else { None }
    }

    /// A span of a number of seconds that is written in this crate.
    pub(crate) const fn of(seconds: u32) -> Self {
        assert!(seconds <= LONGEST, "a year is the longest");
        Self(seconds)
    }

    /// Both together, and a year at most.
    pub(crate) fn saturating_add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0).min(LONGEST))
    }

    /// As long as that.
    #[must_use]
    pub fn duration(self) -> Duration {
        Duration::from_secs(self.0.into())
    }
}

impl FromStr for TimeSpan {
    type Err = InvalidText;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let refused = || Self::refused(text);
        let mut seconds = 0u32;
        let mut rest = text.trim_matches(' ');
        if rest.is_empty() {
            return Err(refused());
        }
        while !rest.is_empty() {
            let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
            let number: u32 = rest[..digits].parse().map_err(|_| refused())?;
            rest = rest[digits..].trim_start_matches(' ');
            let letters = rest.bytes().take_while(u8::is_ascii_alphabetic).count();
            let unit = match &rest[..letters] {
                "" if rest.is_empty() => 1,
                name => UNITS.iter().find(|(known, _)| *known == name).map(|(_, unit)| *unit).ok_or_else(refused)?,
            };
            rest = rest[letters..].trim_start_matches(' ');
            seconds = number.checked_mul(unit).and_then(|part| seconds.checked_add(part)).ok_or_else(refused)?;
        }
        Self::seconds(seconds).ok_or_else(refused)
    }
}

written_as_text!(TimeSpan, "a span of time", "numbers with s, min, h, d or w, as 90s or 1h 30min, at most 365d");

/// In the largest unit that divides it: `90s`, `5min`.
impl fmt::Display for TimeSpan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (unit, name) = [(86400, "d"), (3600, "h"), (60, "min")]
            .into_iter()
            .find(|(unit, _)| self.0 > 0 && self.0.is_multiple_of(*unit))
            .unwrap_or((1, "s"));
        write!(f, "{}{name}", self.0 / unit)
    }
}

checked_text!(
    /// A time of day in UTC.
    TimeOfDay,
    "a time of day",
    "HH:MM from 00:00 to 23:59, in UTC",
    |text| match text.split_once(':') {
        Some((hour, minute)) => {
            let number = |part: &str, most: u8| {
                part.len() == 2 && part.bytes().all(|b| b.is_ascii_digit()) && part.parse::<u8>().is_ok_and(|n| n <= most)
            };
            number(hour, 23) && number(minute, 59)
        }
        None => false,
    },
    schema { "pattern": "^([01][0-9]|2[0-3]):[0-5][0-9]$" }
);

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn spans_read_as_systemd_reads_them() {
        for (text, seconds) in [
            ("0", 0),
            ("90", 90),
            ("30s", 30),
            ("5min", 300),
            ("1h 30min", 5400),
            ("1h30m", 5400),
            ("2 days", 172_800),
            ("1w", 604_800),
        ] {
            assert_eq!(text.parse::<TimeSpan>().unwrap().duration().as_secs(), seconds, "{text}");
        }
        for bad in ["", " ", "s", "-1s", "1.5h", "1y", "5 lightyears", "366d", "99999999999", "1h,2m", "infinity", "1M"]
        {
            assert!(bad.parse::<TimeSpan>().is_err(), "{bad:?} was accepted");
        }
    }

    #[test]
    fn times_of_day_are_in_a_day() {
        assert!("00:00".parse::<TimeOfDay>().is_ok() && "23:59".parse::<TimeOfDay>().is_ok());
        for bad in ["", "24:00", "12:60", "1:00", "12:0", "12", "+1:00", "12:00 ", "ab:cd"] {
            assert!(bad.parse::<TimeOfDay>().is_err(), "{bad:?} was accepted");
        }
    }

    proptest! {
        #[test]
        fn a_span_survives_being_written(seconds in 0..=LONGEST) {
            let span = TimeSpan::seconds(seconds).unwrap();
            prop_assert_eq!(span.to_string().parse::<TimeSpan>().unwrap(), span);
        }
    }
}
