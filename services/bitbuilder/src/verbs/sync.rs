//! `bitbuilder sync`

use crate::{
    exit,
    output::{self, Failure, Json, now_usec},
    table,
    verbs::status::show,
};
use futures_util::StreamExt;
use interfaces::orchestrator::{Describe, Host, Sync, TenantStatus};
use model::names::RepositoryName;
use runtime::Client;

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// One tenant, or system for the system repository alone.
    tenant: Option<RepositoryName>,
    /// Show each change and return when all is settled.
    #[arg(long)]
    wait: bool,
}

impl Arguments {
    /// `sync TENANT --wait`
    pub(crate) fn waiting_for(repository: RepositoryName) -> Self {
        Self { tenant: Some(repository), wait: true }
    }
}

pub(crate) async fn run(services: &Client, words: Arguments, json: Json) -> Result<u8, Failure> {
    let Arguments { tenant, wait } = words;
    let sync = Sync { tenant, wait: Some(wait), poll: None };
    if !wait {
        let tenants = services.call(&sync).await?.tenants;
        // Who asks for all of them wants to know of those that are followed.
        let suspended = tenants.iter().find(|tenant| sync.tenant.is_some() && is_suspended(tenant));
        return match suspended {
            Some(status) => show(status, json).map(|()| exit::SUSPENDED).map_err(Into::into),
            None => Ok(0),
        };
    }
    let mut changes = std::pin::pin!(services.stream(&sync).await?);
    let mut last = Vec::new();
    while let Some(change) = changes.next().await {
        last = change?.tenants;
        for status in &last {
            show(status, json)?;
        }
    }
    let Host { host } = services.call(&Describe {}).await?;
    if json == Json::Off && (host.reason.is_some() || host.unreachable.is_some()) {
        output::text(&table::host(&host, now_usec()))?;
    }
    if sync.tenant.is_some() && last.iter().any(is_suspended) {
        return Ok(exit::SUSPENDED);
    }
    Ok(output::exit_code(&host, &last))
}

fn is_suspended(tenant: &TenantStatus) -> bool {
    tenant.suspended_since_u_sec.is_some()
}
