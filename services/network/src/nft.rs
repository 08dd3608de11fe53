//! Running nft(8): the whole table in one transaction, and what the kernel has of it.

use crate::{error::MachineError, firewall::TABLE};
use host::command::Command;
use serde_json::Value;

/// Applies an nft file, whole or not at all.
///
/// # Errors
/// nft refused it; nothing has changed then.
pub async fn load(rules: &str) -> Result<(), MachineError> {
    let loaded = Command::new("nft").args(["--file", "-"]).input(rules.as_bytes().to_vec()).run().await;
    loaded.map(drop).map_err(|cause| MachineError::Nft { action: "replace", cause })
}

/// The table as the kernel has it, if it is there.
///
/// # Errors
/// nft failed for another reason than its absence.
pub async fn table() -> Result<Option<Value>, MachineError> {
    let failed = |cause| MachineError::Nft { action: "list", cause };
    match list(&["table", TABLE[0], TABLE[1]]).await {
        Ok(text) => parse(&text).map(Some),
        // The exit code is the same for every failure, the message is for people: see whether it is there at all.
        Err(cause) => {
            let tables = parse(&list(&["tables", TABLE[0]]).await.map_err(failed)?)?;
            let mut tables = tables["nftables"].as_array().into_iter().flatten();
            if tables.any(|object| object["table"]["name"] == TABLE[1]) { Err(failed(cause)) } else { Ok(None) }
        }
    }
}

async fn list(what: &[&str]) -> Result<String, host::command::CommandError> {
    Command::new("nft").args(["--json", "list"]).args(what).run().await
}

fn parse(text: &str) -> Result<Value, MachineError> {
    serde_json::from_str(text).map_err(MachineError::Listing)
}
