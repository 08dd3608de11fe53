//! Twins of io.bitbuilder.Secret.

use crate::macros::{contract, errors, object};
use model::{
    TenantName,
    secrets::{Reason, Recipient, SealedSecret, SecretName, SecretValue},
};

object! {
    /// A value that cannot be opened.
    RefusedSecret { name: SecretName, reason: Reason }
    /// A value that was opened.
    OpenedSecret { name: SecretName, value: SecretValue }
    /// Shows the host's recipients.
    Describe {}
    /// The newest first.
    Described { recipients: Vec<Recipient> }
    /// Says which values cannot be opened.
    Examine { tenant: TenantName, secrets: Vec<SealedSecret>, without: Option<Recipient> }
    /// Those that cannot be opened.
    Examined { refused: Vec<RefusedSecret> }
    /// Opens values.
    Open { tenant: TenantName, secrets: Vec<SealedSecret> }
    /// What they are.
    Opened { secrets: Vec<OpenedSecret> }
    /// Seals values to the newest key.
    Rewrap { tenant: TenantName, secrets: Vec<SealedSecret>, others: Vec<Recipient> }
    /// The same values, sealed anew.
    Rewrapped { secrets: Vec<SealedSecret> }
}

errors! {
    CannotOpen { name: SecretName, reason: Reason } = "the secret {name} cannot be opened: {reason}"
    NoSuchRecipient { recipient: Recipient } = "this host has no key of {recipient}"
    Failed { action: String, reason: String } = "cannot {action}: {reason}"
}

contract! { "io.bitbuilder.Secret", "io.bitbuilder.Secret.varlink", Error,
    Describe => Described, Read, Ignored;
    Examine => Examined, Examine, Ignored;
    Open => Opened, Reveal, Ignored;
    Rewrap => Rewrapped, Reveal, Ignored;
}
