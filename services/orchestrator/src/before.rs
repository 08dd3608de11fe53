//! Whether this machine was a host before, whatever the ledger remembers: by what is there of tenants and of repositories.

use crate::engine::Engine;
use interfaces::{git_sync, tenant as instance};
use model::TenantName;
use std::{fs, io};
use tracing::warn;

/// Where each tenant has a directory, which outlives all that any service remembers.
const TENANTS: &str = "/var/lib/tenants";

impl Engine {
    /// Whether anything says so. Who does not answer says nothing.
    pub(crate) async fn was_a_host(&self) -> bool {
        let (mirrors, instances) = tokio::join!(
            self.services.call(&git_sync::List { repository: None }),
            self.services.call(&instance::List { tenant: None })
        );
        // What was fetched for nothing, because an address was wrong, was never followed.
        let fetched = mirrors.map(|held| held.repositories.iter().any(|held| held.revision.is_some()));
        let fetched = fetched.unwrap_or_else(|error| silent(&runtime::chain(&error)));
        let held = instances.map(|held| !held.instances.is_empty());
        let held = held.unwrap_or_else(|error| silent(&runtime::chain(&error)));
        fetched || held || has_tenants().unwrap_or_else(|error| silent(&format!("{TENANTS}: {error}")))
    }
}

fn has_tenants() -> io::Result<bool> {
    let entries = match fs::read_dir(TENANTS) {
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => return Ok(false),
        entries => entries?,
    };
    let is_tenant = |name: Option<&str>| name.is_some_and(|name| name.parse::<TenantName>().is_ok());
    Ok(entries.flatten().any(|entry| is_tenant(entry.file_name().to_str())))
}

fn silent(reason: &str) -> bool {
    warn!("whether this machine was a host before is not known: {reason}");
    false
}
