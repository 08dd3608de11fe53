//! What stands before a sealed value (age-encryption.org/v1): looked at before anything is computed from it, because whoever
//! wrote it decides how much that would be.

use super::MOST_RECIPIENTS;
use model::secrets::Reason;

/// Eight recipients of a hundred bytes, and what implementations add so that nobody relies on there being nothing else.
const LONGEST: usize = 4096;
const VERSION: &[u8] = b"age-encryption.org/v1";
/// Stanzas that mean nothing, which implementations add.
const MOST_GREASE: usize = 2;

/// Whether the header is one that is opened: X25519 recipients alone, so no passphrase whose work factor somebody chose, and
/// no plugin; few of them; and not long, because age reads a long one in quadratic time.
pub(crate) fn check(bytes: &[u8]) -> Result<(), Reason> {
    let mut lines = bytes[..bytes.len().min(LONGEST)].split(|byte| *byte == b'\n');
    if lines.next() != Some(VERSION) {
        return Err(Reason::Damaged);
    }
    let (mut recipients, mut grease) = (0, 0);
    for line in lines {
        if line.starts_with(b"---") {
            let fits = (1..=MOST_RECIPIENTS).contains(&recipients) && grease <= MOST_GREASE;
            return if fits { Ok(()) } else { Err(Reason::Foreign) };
        }
        let Some(stanza) = line.strip_prefix(b"-> ") else { continue };
        match stanza.split(|byte| *byte == b' ').next().unwrap_or_default() {
            b"X25519" => recipients += 1,
            tag if tag.ends_with(b"-grease") => grease += 1,
            _ => return Err(Reason::Foreign),
        }
    }
    Err(if bytes.len() > LONGEST { Reason::Foreign } else { Reason::Damaged })
}
