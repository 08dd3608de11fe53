//! Amounts of memory and storage.

use crate::text::{InvalidText, written_as_text};
use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};

/// A number of bytes, written with base-1024 suffixes as systemd does: `512M`, `4G` (systemd.syntax(7)). At most
/// 2^63-1, because Varlink integers are signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Size(u64);

written_as_text!(Size, "a size", "a whole number of bytes, or of K, M, G, T, P or E (base 1024), below 8E");

const SUFFIXES: [(char, u32); 6] = [('E', 60), ('P', 50), ('T', 40), ('G', 30), ('M', 20), ('K', 10)];

impl Size {
    /// The size of `bytes`, or nothing if it does not fit.
    #[must_use]
    pub fn from_bytes(bytes: u64) -> Option<Self> {
        i64::try_from(bytes).ok().map(|_| Self(bytes))
    }

    /// How many bytes.
    #[must_use]
    pub fn bytes(self) -> u64 {
        self.0
    }
}

impl FromStr for Size {
    type Err = InvalidText;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let refused = || Self::refused(text);
        let (digits, shift) = SUFFIXES
            .iter()
            .find_map(|(suffix, shift)| text.strip_suffix(*suffix).map(|digits| (digits, *shift)))
            .unwrap_or((text, 0));
        if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
            return Err(refused());
        }
        let number: u64 = digits.parse().map_err(|_| refused())?;
        number.checked_mul(1 << shift).and_then(Self::from_bytes).ok_or_else(refused)
    }
}

/// The shortest exact form: `4G`, not `4294967296`.
impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match SUFFIXES.iter().find(|(_, shift)| self.0 != 0 && self.0.trailing_zeros() >= *shift) {
            Some((suffix, shift)) => write!(f, "{}{suffix}", self.0 >> shift),
            None => write!(f, "{}", self.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn sizes_follow_the_rule() {
        for (text, bytes) in [("0", 0), ("1", 1), ("4K", 4096), ("4G", 4 << 30), ("7E", 7 << 60)] {
            assert_eq!(text.parse::<Size>().unwrap().bytes(), bytes);
        }
        for bad in ["", "-1", "9E", "8E", "4g", "4GB", "1.5G", " 4G", "4G ", "G", "0x10", "+1", "99999999999999999999"]
        {
            assert!(bad.parse::<Size>().is_err(), "{bad:?} was accepted");
        }
    }

    proptest! {
        #[test]
        fn a_size_survives_being_written(bytes in 0..=i64::MAX as u64) {
            let size = Size::from_bytes(bytes).unwrap();
            prop_assert_eq!(size.to_string().parse::<Size>().unwrap(), size);
        }
    }
}
