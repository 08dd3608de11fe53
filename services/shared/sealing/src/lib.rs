//! Seals values with age, so that only the host opens them, and only for the tenant and under the name that they were sealed
//! for: a value that is copied into another repository or renamed does not open there.

mod header;

use age::{
    Decryptor, Encryptor,
    armor::{ArmoredReader, ArmoredWriter, Format},
    secrecy::ExposeSecret,
    x25519,
};
use model::{
    TenantName,
    secrets::{LARGEST_VALUE, Reason, Recipient, Sealed, SecretName},
};
use std::{
    fmt,
    io::{Read, Write},
};
use thiserror::Error;
use zeroize::Zeroizing;

/// A value is sealed to at most so many recipients, and a host has at most so many keys: each is tried with each.
pub const MOST_RECIPIENTS: usize = 8;

/// Why a value cannot be sealed.
#[derive(Debug, Error)]
pub enum SealError {
    /// Nobody could open it, or it would not be opened for the sake of time.
    #[error("a value is sealed to 1 to {MOST_RECIPIENTS} recipients, not to {0}")]
    Recipients(usize),
    /// The check sum of the recipient does not fit.
    #[error("{0} is mistyped: its last characters do not fit the others")]
    Mistyped(Recipient),
    /// The value is too large.
    #[error("the value has {0} bytes; at most {LARGEST_VALUE} are sealed")]
    TooLarge(usize),
    /// age failed, which writes to memory.
    #[error("cannot seal the value")]
    Age(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// What a value is sealed with: said inside, where nobody but who opens it can change it.
fn envelope(tenant: &TenantName, name: &SecretName) -> String {
    format!("bitbuilder-secret/1 {tenant} {name}\n")
}

/// Seals a value to recipients, any of whom can open it.
///
/// # Errors
/// The value or a recipient cannot be.
pub fn seal(
    recipients: &[Recipient],
    tenant: &TenantName,
    name: &SecretName,
    value: &[u8],
) -> Result<Sealed, SealError> {
    if !(1..=MOST_RECIPIENTS).contains(&recipients.len()) {
        return Err(SealError::Recipients(recipients.len()));
    }
    if value.len() > LARGEST_VALUE {
        return Err(SealError::TooLarge(value.len()));
    }
    let keys: Result<Vec<x25519::Recipient>, SealError> = recipients
        .iter()
        .map(|recipient| recipient.as_str().parse().map_err(|_| SealError::Mistyped(recipient.clone())))
        .collect();
    let keys = keys?;
    let encryptor = Encryptor::with_recipients(keys.iter().map(|key| key as &dyn age::Recipient));
    let encryptor = encryptor.map_err(|cause| SealError::Age(Box::new(cause)))?;
    let written = || -> std::io::Result<Vec<u8>> {
        let mut stream = encryptor.wrap_output(ArmoredWriter::wrap_output(Vec::new(), Format::AsciiArmor)?)?;
        stream.write_all(envelope(tenant, name).as_bytes())?;
        stream.write_all(value)?;
        stream.finish()?.finish()
    };
    let armor = written().map_err(|cause| SealError::Age(Box::new(cause)))?;
    String::from_utf8_lossy(&armor).parse().map_err(|cause| SealError::Age(Box::new(cause)))
}

/// The secret halves of a host's recipients, newest first. Their memory is overwritten when they are dropped.
#[derive(Clone)]
pub struct Identities(Vec<x25519::Identity>);

impl fmt::Debug for Identities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Identities").field(&self.recipients()).finish()
    }
}

/// A text that is no secret key of age.
#[derive(Debug, Error)]
#[error("this is no X25519 identity of age")]
pub struct NoIdentity;

impl Identities {
    /// Reads secret keys, newest first.
    ///
    /// # Errors
    /// One of them is none.
    pub fn parse<'a>(keys: impl IntoIterator<Item = &'a str>) -> Result<Self, NoIdentity> {
        let keys: Result<Vec<x25519::Identity>, _> = keys.into_iter().map(|key| key.trim().parse()).collect();
        keys.map(Self).map_err(|_| NoIdentity)
    }

    /// No key at all.
    #[must_use]
    pub fn none() -> Self {
        Self(Vec::new())
    }

    /// Adds older keys behind these.
    pub fn append(&mut self, older: Self) {
        self.0.extend(older.0);
    }

    /// Their public halves, in the same order.
    #[must_use]
    pub fn recipients(&self) -> Vec<Recipient> {
        self.0.iter().filter_map(|key| key.to_public().to_string().parse().ok()).collect()
    }

    /// All but one.
    #[must_use]
    pub fn without(&self, recipient: &Recipient) -> Self {
        Self(self.0.iter().filter(|key| key.to_public().to_string() != recipient.as_str()).cloned().collect())
    }

    /// Opens a value that was sealed for `tenant` under `name`. Takes a bounded time whatever it is given.
    ///
    /// # Errors
    /// It does not open, or was sealed for somebody else or under another name.
    pub fn open(&self, tenant: &TenantName, name: &SecretName, sealed: &Sealed) -> Result<Zeroizing<Vec<u8>>, Reason> {
        let mut bytes = Vec::new();
        ArmoredReader::new(sealed.as_str().as_bytes()).read_to_end(&mut bytes).map_err(|_| Reason::Damaged)?;
        header::check(&bytes)?;
        let decryptor = Decryptor::new_buffered(&bytes[..]).map_err(|_| Reason::Damaged)?;
        let mut opened = decryptor.decrypt(self.0.iter().map(|key| key as &dyn age::Identity)).map_err(|fault| {
            if matches!(fault, age::DecryptError::NoMatchingKeys) { Reason::WrongKey } else { Reason::Damaged }
        })?;
        // Room for all of it from the beginning: what grows leaves copies behind.
        let mut plain = Zeroizing::new(Vec::with_capacity(bytes.len()));
        opened.read_to_end(&mut plain).map_err(|_| Reason::Damaged)?;
        let value = plain.strip_prefix(envelope(tenant, name).as_bytes()).ok_or(Reason::WrongPlace)?;
        if value.len() > LARGEST_VALUE { Err(Reason::Foreign) } else { Ok(Zeroizing::new(value.to_vec())) }
    }
}

/// Makes a new key: its secret half as text, and its public half.
///
/// # Errors
/// age writes its recipients in another way than this host reads them.
pub fn generate() -> Result<(Zeroizing<String>, Recipient), NoIdentity> {
    let key = x25519::Identity::generate();
    let recipient = key.to_public().to_string().parse().map_err(|_| NoIdentity)?;
    Ok((Zeroizing::new(key.to_string().expose_secret().to_owned()), recipient))
}

#[cfg(test)]
mod tests;
