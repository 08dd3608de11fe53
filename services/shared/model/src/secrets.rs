//! secrets/sealed-secrets.yaml of a tenant's repository: values that only the host can open, and hands to the tenant as
//! systemd credentials.

use crate::{
    diagnostic::Diagnostic,
    document::{
        Decode, Document, Faults, Node, Value as Said,
        declare::{choice, record},
    },
    manifest::Version,
    names::TenantName,
    path,
    text::{InvalidText, checked_text},
};
use base64::{Engine, prelude::BASE64_STANDARD};
use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};
use sha2::{Digest as _, Sha256};
use std::{collections::BTreeMap, fmt, str::FromStr};
use zeroize::{Zeroize, Zeroizing};

/// Where it stands in a repository.
pub const PATH: &str = "secrets/sealed-secrets.yaml";
/// Where a repository may say whom its values are sealed to, a line each.
pub const RECIPIENTS: &str = "secrets/recipient";
/// More than a tenant needs, and few enough to be opened at each start.
pub const MOST: usize = 64;
/// The largest value, in bytes. All of a tenant's fit into the 1 MiB that systemd gives a unit, because their file does.
pub const LARGEST_VALUE: usize = 256 << 10;
/// The longest armor: of the largest value, with the longest header that is read.
const LONGEST_ARMOR: usize = 360 << 10;
const BEGIN: &str = "-----BEGIN AGE ENCRYPTED FILE-----";
const END: &str = "-----END AGE ENCRYPTED FILE-----";
/// Without a word of what stands there: it may be the value itself.
const NO_ARMOR: &str = "this is no sealed value; one is made by: bitbuilder seal NAME < FILE";

record! {
    /// Values that only the host can open.
    SealedSecrets {
        /// The format's version, "1.0".
        version: Version,
        /// At most 64 values.
        secrets: Vec<SealedSecret>,
    }

    /// A value and its name.
    #[derive(Serialize, Deserialize)]
    #[serde(deny_unknown_fields)]
    SealedSecret {
        /// The name of the credential in the tenant; each once.
        name: SecretName,
        /// The value as `bitbuilder seal` writes it, at most 256 KiB of it.
        sealed: Sealed,
    }
}

checked_text!(
    /// The name of a credential (systemd.exec(5)), which becomes part of an argument and a path.
    SecretName,
    "a secret's name",
    "1 to 64 letters, digits, '.', '_' and '-', beginning with a letter or digit",
    |text| {
        (1..=64).contains(&text.len())
            && text.starts_with(|c: char| c.is_ascii_alphanumeric())
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
    },
    schema { "pattern": "^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$" }
);

checked_text!(
    /// Whom a value is sealed to: an X25519 recipient of age, whose secret half opens it.
    Recipient,
    "a recipient",
    "age1 and 58 small letters and digits, as bitbuilder key show prints it",
    |text| text.strip_prefix("age1").is_some_and(|data| {
        data.len() == 58 && data.bytes().all(|b| b"qpzry9x8gf2tvdw0s3jn54khce6mua7l".contains(&b))
    }),
    schema { "pattern": "^age1[ac-hj-np-z02-9]{58}$" }
);

checked_text!(
    /// A SHA-256: tells that something, as a sealed value, is another one, and nothing else.
    Digest,
    "a digest",
    "64 hexadecimal digits",
    |text| text.len() == 64 && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
);

choice! {
    /// Why a sealed value cannot be opened, as far as anybody may know.
    Reason, "a reason" {
        /// No key of this host fits.
        WrongKey = "wrong_key",
        /// It is cut off or was changed.
        Damaged = "damaged",
        /// It was sealed for another tenant or under another name.
        WrongPlace = "wrong_place",
        /// It is not sealed to X25519 recipients of age alone, or to too many.
        Foreign = "foreign",
    }
}

impl Reason {
    /// For people.
    #[must_use]
    pub fn explained(self) -> &'static str {
        match self {
            Self::WrongKey => {
                "it is not sealed to a key of this host; seal it again to what bitbuilder key show prints"
            }
            Self::Damaged => "it is cut off or was changed; seal it again",
            Self::WrongPlace => "it was sealed for another tenant or under another name",
            Self::Foreign => "it is not sealed to one to eight X25519 recipients of age; seal it with bitbuilder seal",
        }
    }
}

/// A sealed value: ASCII armor of age, without its last line end.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Sealed(String);

impl Sealed {
    /// The armor.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What tells it from another.
    #[must_use]
    pub fn digest(&self) -> Digest {
        Digest::of(Sha256::new_with_prefix(&self.0))
    }
}

impl Digest {
    /// What was hashed.
    pub(crate) fn of(hash: Sha256) -> Self {
        Self(hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
    }

    /// In the place of one that nobody knows: zeros, which no content has.
    #[must_use]
    pub fn unknown() -> Self {
        Self("0".repeat(64))
    }
}

impl fmt::Debug for Sealed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sealed({} bytes)", self.0.len())
    }
}

impl FromStr for Sealed {
    type Err = InvalidText;

    fn from_str(text: &str) -> Result<Self, InvalidText> {
        let text = text.strip_suffix('\n').unwrap_or(text);
        // The text may be the value itself, which nobody is to read.
        is_armor(text).then(|| Self(text.to_owned())).ok_or(InvalidText {
            text: "...".to_owned(),
            what: "a sealed value",
            allowed: "ASCII armor of age",
        })
    }
}

impl TryFrom<String> for Sealed {
    type Error = InvalidText;

    fn try_from(text: String) -> Result<Self, InvalidText> {
        text.parse()
    }
}

impl From<Sealed> for String {
    fn from(sealed: Sealed) -> Self {
        sealed.0
    }
}

/// Full lines of 64 characters, and a last one that ends a group of four.
fn is_armor(text: &str) -> bool {
    let inner =
        text.strip_prefix(BEGIN).and_then(|rest| rest.strip_prefix('\n')?.strip_suffix(END)?.strip_suffix('\n'));
    let Some(inner) = inner.filter(|_| text.len() <= LONGEST_ARMOR) else { return false };
    let (full, last) = inner.rsplit_once('\n').map_or((None, inner), |(full, last)| (Some(full), last));
    let data = last.strip_suffix("==").or_else(|| last.strip_suffix('=')).unwrap_or(last);
    let is_data = |line: &str| line.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'+' || b == b'/');
    let full = full.into_iter().flat_map(|full| full.split('\n'));
    (1..=64).contains(&last.len())
        && last.len().is_multiple_of(4)
        && is_data(data)
        && full.into_iter().all(|line| line.len() == 64 && is_data(line))
}

impl Decode for Sealed {
    fn decode(node: &Node, faults: &mut Faults) -> Option<Self> {
        let parsed = match &node.value {
            Said::Text(text) => text.parse().ok(),
            Said::Null | Said::Boolean(_) | Said::Number(_) | Said::List(_) | Said::Object(_) => None,
        };
        parsed.or_else(|| faults.refuse(node.caret(), NO_ARMOR))
    }

    fn schema() -> Json {
        let group = "[A-Za-z0-9+/]";
        let last = format!("({group}{{4}}){{0,15}}({group}{{4}}|{group}{{3}}=|{group}{{2}}==)");
        json!({
            "type": "string",
            "description": "a sealed value: ASCII armor of age",
            "maxLength": LONGEST_ARMOR,
            "pattern": format!("^{BEGIN}\\n({group}{{64}}\\n)*{last}\\n{END}\\n?$"),
        })
    }
}

/// Which sealed value a tenant runs with: no more than its commit says to anybody.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SecretSpec {
    /// The name of the credential.
    pub name: SecretName,
    /// Of the sealed value.
    pub digest: Digest,
}

impl From<&SealedSecret> for SecretSpec {
    fn from(secret: &SealedSecret) -> Self {
        Self { name: secret.name.clone(), digest: secret.sealed.digest() }
    }
}

/// An opened value on its way to the tenant. It is never shown, and its memory is overwritten when it is dropped.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SecretValue(String);

impl SecretValue {
    /// Takes a value.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self(BASE64_STANDARD.encode(bytes))
    }

    /// The value; nothing if it is not what [`SecretValue::of`] makes.
    #[must_use]
    pub fn bytes(&self) -> Option<Zeroizing<Vec<u8>>> {
        BASE64_STANDARD.decode(&self.0).ok().map(Zeroizing::new)
    }
}

impl Drop for SecretValue {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl fmt::Debug for SecretValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretValue(not shown)")
    }
}

/// Everything that is wrong with the file by itself.
#[must_use]
pub fn check(document: &Document<SealedSecrets>) -> Vec<Diagnostic> {
    let secrets = &document.content.secrets;
    if secrets.len() > MOST {
        let message = format!("there are {} secrets; a tenant has at most {MOST}", secrets.len());
        return vec![document.fault(path!["secrets"], &message)];
    }
    let mut seen = BTreeMap::new();
    let twice = secrets.iter().enumerate().filter_map(|(index, secret)| {
        let first = seen.insert(&secret.name, index)?;
        let place = document.place(path!["secrets", first, "name"]);
        Some(document.fault(path!["secrets", index, "name"], &format!("{} is there already, at {place}", secret.name)))
    });
    twice.collect()
}

/// What is said of those that cannot be opened, each in its place.
#[must_use]
pub fn refused(
    document: &Document<SealedSecrets>,
    tenant: &TenantName,
    why: &[(SecretName, Reason)],
) -> Vec<Diagnostic> {
    let reason = |name: &SecretName| why.iter().find(|(refused, _)| refused == name).map(|(_, reason)| *reason);
    let secrets = document.content.secrets.iter().enumerate();
    let faults = secrets.filter_map(|(index, secret)| {
        let said = reason(&secret.name)?.explained();
        let message = format!("the secret {} of {tenant} cannot be opened: {said}", secret.name);
        Some(document.fault(path!["secrets", index, "name"], &message))
    });
    faults.collect()
}

#[cfg(test)]
mod tests;
