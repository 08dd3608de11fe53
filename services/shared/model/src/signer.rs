//! Who may sign commits: named keys, as the system repository holds them below signers/, and as a host is told at its
//! initialisation.

use crate::{
    diagnostic::{Diagnostic, MOST_SHOWN, Source},
    text::{checked_text, printable},
};
use serde::{Deserialize, Serialize};

/// A keyring of more keys than this is a mistake or an attack.
const MOST_KEYS: usize = 64;
/// What ssh-keygen(1) signs with and Git asks it for.
const SSH_KEY_TYPES: [&str; 7] = [
    "ssh-ed25519",
    "ssh-rsa",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "sk-ssh-ed25519@openssh.com",
    "sk-ecdsa-sha2-nistp256@openssh.com",
];
const OPENPGP_BEGIN: &str = "-----BEGIN PGP PUBLIC KEY BLOCK-----";
const OPENPGP_END: &str = "-----END PGP PUBLIC KEY BLOCK-----";

/// SSH keys that were revoked, whoever's they were; a line each.
pub const REVOKED: &str = "signers/revoked.pub";

checked_text!(
    /// The name of somebody who signs commits: signers/NAME.pub or signers/NAME.asc.
    SignerName,
    "a signer's name",
    "1 to 64 of a-z, 0-9, '.', '_' and '-', beginning with a letter or digit, and not revoked",
    |text| {
        (1..=64).contains(&text.len())
            && text.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
            && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"._-".contains(&b))
            && text != "revoked"
    },
    schema { "pattern": "^[a-z0-9][a-z0-9._-]{0,63}$", "not": { "const": "revoked" } }
);

impl SignerName {
    /// The files that may hold the signer's keys: SSH's, and OpenPGP's.
    #[must_use]
    pub fn paths(&self) -> [String; 2] {
        [format!("signers/{self}.pub"), format!("signers/{self}.asc")]
    }
}

checked_text!(
    /// An SSH public key as OpenSSH writes it, with nothing before it but the time for which it is good, and no comment.
    SshKey,
    "an SSH public key",
    "an optional valid-after=\"YYYYMMDD\" or valid-before=\"YYYYMMDD\", a key type of OpenSSH and the key in base64",
    |text| {
        let words: Vec<&str> = text.split(' ').collect();
        let (options, key) = match words.as_slice() {
            [kind, key] => (None, (*kind, *key)),
            [options, kind, key] => (Some(*options), (*kind, *key)),
            _ => return false,
        };
        options.is_none_or(|options| options.split(',').all(is_period))
            && SSH_KEY_TYPES.contains(&key.0)
            && (16..=4096).contains(&key.1.len())
            && key.1.trim_end_matches('=').bytes().all(|b| b.is_ascii_alphanumeric() || b"+/".contains(&b))
    }
);

impl SshKey {
    /// The key without the time for which it is good.
    #[must_use]
    pub fn at_any_time(&self) -> &str {
        match self.as_str().split_once(' ') {
            Some((options, key)) if options.contains('=') => key,
            Some(_) | None => self.as_str(),
        }
    }

    /// `valid-before="…"` and the like.
    #[must_use]
    pub fn period(&self) -> Option<&str> {
        self.as_str().split_once(' ').map(|(options, _)| options).filter(|options| options.contains('='))
    }
}

/// ssh-keygen(1), ALLOWED SIGNERS.
fn is_period(option: &str) -> bool {
    let time = option.strip_prefix("valid-after=\"").or_else(|| option.strip_prefix("valid-before=\""));
    let digits = time.and_then(|time| time.strip_suffix('"')).map(|time| time.strip_suffix('Z').unwrap_or(time));
    digits.is_some_and(|digits| matches!(digits.len(), 8 | 12 | 14) && digits.bytes().all(|b| b.is_ascii_digit()))
}

checked_text!(
    /// An armored OpenPGP certificate (RFC 9580, 6.2), with its expiry and revocations.
    Certificate,
    "an OpenPGP certificate",
    "one armored public key block, as gpg --export --armor prints it, of at most 64 KiB",
    |text| {
        let text = text.trim();
        text.len() <= 64 << 10
            && text.starts_with(OPENPGP_BEGIN)
            && text.ends_with(OPENPGP_END)
            && text.matches("-----BEGIN").count() == 1
            && text.bytes().all(|b| b.is_ascii_graphic() || b"\n\r ".contains(&b))
    }
);

/// Somebody who signs commits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Signer {
    /// Who, for people.
    pub name: SignerName,
    /// SSH public keys.
    pub ssh: Vec<SshKey>,
    /// OpenPGP certificates.
    pub openpgp: Vec<Certificate>,
}

/// Whose signature a commit needs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Trust {
    /// One of these has to have signed.
    pub signers: Vec<Signer>,
    /// SSH keys with which nobody has signed, whatever they say.
    pub revoked: Vec<SshKey>,
}

impl Signer {
    /// Nobody's keys yet.
    #[must_use]
    pub fn named(name: SignerName) -> Self {
        Self { name, ssh: Vec::new(), openpgp: Vec::new() }
    }
}

/// Reads a file of SSH public keys, a line each. Empty lines and comments do not count.
///
/// # Errors
/// Every line that is no key.
pub fn ssh_keys(origin: &str, bytes: &[u8]) -> Result<Vec<SshKey>, Vec<Diagnostic>> {
    let text = text(origin, bytes)?;
    if text.contains(OPENPGP_BEGIN) {
        return Err(vec![Diagnostic::of_file(
            origin,
            "this is an OpenPGP key; it belongs into the file that ends in .asc",
        )]);
    }
    let source = Source::new(origin, text);
    let (mut keys, mut faults, mut start) = (Vec::new(), Vec::new(), 0);
    for line in text.split_inclusive('\n') {
        let span = start..start + line.trim_end().len();
        start += line.len();
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        match without_comment(line).parse::<SshKey>() {
            Ok(key) => keys.push(key),
            Err(fault) if faults.len() <= MOST_SHOWN => faults.push(source.fault(&span, &fault.to_string())),
            Err(_) => {}
        }
    }
    if keys.len() > MOST_KEYS {
        faults.push(Diagnostic::of_file(origin, &format!("there are more than {MOST_KEYS} keys")));
    }
    if faults.is_empty() { Ok(keys) } else { Err(faults) }
}

/// Reads a file of one armored OpenPGP certificate.
///
/// # Errors
/// What the file is not.
pub fn certificate(origin: &str, bytes: &[u8]) -> Result<Certificate, Vec<Diagnostic>> {
    let text = text(origin, bytes)?;
    text.trim().parse().map_err(|fault: crate::text::InvalidText| {
        let message = format!("this is not {}: {}", fault.what, fault.allowed);
        vec![Diagnostic::of_file(origin, &printable(&message))]
    })
}

fn text<'a>(origin: &str, bytes: &'a [u8]) -> Result<&'a str, Vec<Diagnostic>> {
    let refused = |message| Err(vec![Diagnostic::of_file(origin, message)]);
    match std::str::from_utf8(bytes) {
        // No line of it is shown: what is said here ends in logs.
        Ok(text) if text.contains("PRIVATE KEY") => {
            refused("this is a private key: sign with another one from now on, and put that one's public key here")
        }
        Ok(text) => Ok(text),
        Err(_) => refused("the file is not UTF-8"),
    }
}

/// The line up to and with its key: what follows is whose it is.
fn without_comment(line: &str) -> String {
    let words: Vec<&str> = line.split([' ', '\t']).filter(|word| !word.is_empty()).collect();
    let kind = words.iter().position(|word| SSH_KEY_TYPES.contains(word));
    let end = kind.map_or(words.len(), |kind| (kind + 2).min(words.len()));
    words[..end].join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIEaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

    #[test]
    fn a_key_file_reads_as_ssh_keygen_writes_it() {
        let text = format!("# mine\n\n{KEY} me@laptop with words\nvalid-before=\"20300101\" {KEY}\n");
        let keys = ssh_keys("system:signers/me.pub", text.as_bytes()).unwrap();
        assert_eq!(keys[0].as_str(), KEY);
        assert_eq!((keys[1].period(), keys[1].at_any_time()), (Some("valid-before=\"20300101\""), KEY));
    }

    #[test]
    fn what_ssh_would_read_as_more_than_a_key_is_refused() {
        for bad in [
            format!("* {KEY}"),
            format!("cert-authority {KEY}"),
            format!("namespaces=\"file\" {KEY}"),
            format!("valid-before=\"20300101\",cert-authority {KEY}"),
            format!("valid-before=\"2030-01-01\" {KEY}"),
            "ssh-dss AAAAB3NzaC1kc3MAAACB".to_owned(),
            "ssh-ed25519 not base64!".to_owned(),
            "ssh-ed25519".to_owned(),
        ] {
            let faults = ssh_keys("system:signers/me.pub", format!("{KEY}\n{bad}\n").as_bytes()).unwrap_err();
            assert_eq!((faults.len(), faults[0].line), (1, 2), "{bad}");
        }
    }

    #[test]
    fn a_certificate_is_one_and_public() {
        let block = |kind: &str| {
            format!("-----BEGIN PGP {kind} KEY BLOCK-----\n\nmDMEZ\n=abcd\n-----END PGP {kind} KEY BLOCK-----\n")
        };
        assert!(certificate("o", block("PUBLIC").as_bytes()).is_ok());
        assert!(certificate("o", block("PRIVATE").as_bytes()).is_err());
        assert!(certificate("o", [block("PUBLIC"), block("PUBLIC")].concat().as_bytes()).is_err());
        assert!(certificate("o", b"hello").is_err());
    }
}
