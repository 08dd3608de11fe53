//! The checked types that are read from a word.

use model::{
    ExtensionName, ImageName, MacAddress, Reference, RepositoryUrl, Revision, Size, TenantName, UnitName,
    config::Script,
    interface::{InterfaceAddress, InterfaceName},
    manifest::TenantId,
    names::RepositoryName,
    network::LinkName,
    policy::{Pattern, PolicyName, PortRange, VlanRange},
    secrets::{Recipient, SecretName},
    security::{Capability, SelinuxContext, Syscalls},
    signer::{SignerName, SshKey},
    text::InvalidText,
    time::{TimeOfDay, TimeSpan},
};
use serde::{Serialize, de::DeserializeOwned};
use std::{
    fmt::{Debug, Display},
    str::FromStr,
};

/// Any of them.
pub fn words(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    for check in [
        word::<TenantName>,
        word::<RepositoryName>,
        word::<ImageName>,
        word::<ExtensionName>,
        word::<UnitName>,
        word::<InterfaceName>,
        word::<LinkName>,
        word::<PolicyName>,
        word::<SignerName>,
        word::<SecretName>,
        word::<Recipient>,
        word::<Capability>,
        word::<Syscalls>,
        word::<SelinuxContext>,
        word::<Revision>,
        word::<MacAddress>,
        word::<PortRange>,
        word::<VlanRange>,
        word::<Size>,
        word::<TimeOfDay>,
        word::<TimeSpan>,
    ] {
        check(text, is_word);
    }
    word::<TenantId>(text, is_graphic);
    word::<Script>(text, is_graphic);
    word::<Pattern>(text, is_graphic);
    word::<SshKey>(text, is_line);
    word::<InterfaceAddress>(text, is_graphic);
    word::<RepositoryUrl>(text, is_address);
    word::<Reference>(text, is_reference);
    shown(text);
}

/// A word that is accepted is shown as such, and reads as the same again.
fn word<T>(text: &str, holds: fn(&str))
where
    T: FromStr<Err = InvalidText> + Display + Debug + PartialEq + Serialize + DeserializeOwned,
{
    match text.parse::<T>() {
        Ok(value) => {
            let written = value.to_string();
            holds(&written);
            assert_eq!(written.parse::<T>().as_ref(), Ok(&value));
            super::survives(&value);
        }
        Err(fault) => {
            let message = fault.to_string();
            assert!(message.len() < super::LONGEST_LINE && model::text::printable(&message) == message, "{message:?}");
        }
    }
}

/// What may become part of a path, a unit's name, a directive or an argument.
pub fn is_word(text: &str) {
    is_graphic(text);
    assert!(
        !text.contains(['/', '%', '\\', '"', '\'', '$', '`', ';', '#', '=', '*', '{', '}', '<', '>', '|', '&']),
        "{text:?}"
    );
    assert!(!text.starts_with(['-', '.']), "{text:?}");
}

/// One line without spaces.
pub fn is_graphic(text: &str) {
    assert!(!text.is_empty() && text.len() <= 1024 && text.bytes().all(|byte| byte.is_ascii_graphic()), "{text:?}");
}

/// One line.
pub fn is_line(text: &str) {
    assert!(!text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' '), "{text:?}");
}

/// An address that Git runs nothing for, without a secret.
pub fn is_address(text: &str) {
    is_graphic(text);
    let (scheme, rest) = text.split_once("://").expect("it has a scheme");
    assert!(["https", "http", "git", "ssh", "file"].contains(&scheme), "{text:?}");
    let authority = rest.split('/').next().unwrap_or_default();
    assert!(!authority.starts_with('-') && !authority.contains("@-") && !authority.contains('%'), "{text:?}");
    assert_eq!(model::text::without_secrets(text), text);
}

/// A reference that is no option and no pattern, and has no way out.
pub fn is_reference(text: &str) {
    is_graphic(text);
    assert!(text.starts_with("refs/heads/") || text.starts_with("refs/tags/"), "{text:?}");
    assert!(!text.contains("..") && !text.contains(['*', ':', '^', '~', '\\', '%', '?', '[']), "{text:?}");
}

/// Whatever is shown can be shown, and is as long as it was.
fn shown(text: &str) {
    let hidden = model::text::without_secrets(text);
    assert_eq!(hidden.len(), text.len());
    let line = model::text::printable(text);
    assert_eq!(line.chars().count(), text.chars().count());
    assert!(!line.contains(model::text::is_hidden));
    let source = model::diagnostic::Source::new("web:words", text);
    for span in [0..text.len(), text.len() / 3..text.len() / 2, text.len()..text.len() + 1] {
        super::fit(&[source.fault(&span, "it is wrong")]);
    }
}
