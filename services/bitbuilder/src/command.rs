//! What each word of the command does: a call or two, and how the reply is shown.

use crate::{
    cli::{Arguments, Json, Verb},
    output, shell, table,
};
use futures_util::StreamExt;
use interfaces::{
    orchestrator::{Describe, Host, List, SetRepository, Sync, TenantStatus, Watch},
    tenant::ReadLog,
};
use model::{TenantName, names::RepositoryName, text::printable};
use runtime::Client;
use std::{
    io::{self, Write},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

type Failure = Box<dyn std::error::Error>;

/// A tenant may take its time, a question to a service should not.
const PATIENCE: Duration = Duration::from_secs(30);
/// `status` and `list` in JSON: a stable shape for scripts.
#[derive(Debug, serde::Serialize)]
struct Overview<'a> {
    host: &'a interfaces::orchestrator::HostStatus,
    tenants: &'a [TenantStatus],
}

pub(crate) async fn run(arguments: Arguments) -> Result<u8, Failure> {
    let services = Client::in_directory(&arguments.sockets).waiting(PATIENCE);
    match arguments.verb {
        Verb::Init { repository, reference, force } => {
            let set = SetRepository { url: repository.clone(), reference: Some(reference), force: Some(force) };
            let changed = services.call(&set).await?.changed;
            let said = if changed { "This host now follows" } else { "This host follows already" };
            output::text(&format!("{said} {repository}. See what becomes of it: bitbuilder status --watch\n"))?;
            Ok(0)
        }
        Verb::Status { tenant: Some(tenant), json, .. } => one(&services, tenant, json).await,
        Verb::Status { tenant: None, watch: true, json } => watch(&services, json).await,
        Verb::Status { tenant: None, watch: false, json } => all(&services, json).await,
        Verb::List { json } => list(&services, json).await,
        Verb::Sync { tenant, wait } => sync(&services, tenant, wait).await,
        Verb::Logs { tenant, follow, lines } => logs(&services, tenant, follow, lines).await,
        Verb::Shell { tenant, user } => shell::open(&tenant, &user).await.map_err(Into::into),
    }
}

async fn one(services: &Client, tenant: TenantName, json: Json) -> Result<u8, Failure> {
    let shown = services.call(&List { tenant: Some(tenant) }).await?.tenants;
    for status in &shown {
        output::json(json, status)?;
        if json == Json::Off {
            output::text(&table::tenant(status, now_usec()))?;
        }
    }
    Ok(0)
}

async fn all(services: &Client, json: Json) -> Result<u8, Failure> {
    let Host { host } = services.call(&Describe {}).await?;
    let tenants = services.call(&List { tenant: None }).await?.tenants;
    output::json(json, &Overview { host: &host, tenants: &tenants })?;
    if json == Json::Off {
        output::text(&table::host(&host))?;
        if !tenants.is_empty() {
            output::text(&format!("\n{}", table::tenants(&tenants, now_usec())))?;
        }
    }
    Ok(0)
}

async fn watch(services: &Client, json: Json) -> Result<u8, Failure> {
    let mut changes = std::pin::pin!(services.stream(&Watch {}).await?);
    while let Some(change) = changes.next().await {
        for status in change?.tenants {
            show(&status, json)?;
        }
    }
    Ok(0)
}

/// One line as soon as it is known, so that a pipe sees it too.
fn show(status: &TenantStatus, json: Json) -> io::Result<()> {
    output::json(json, status)?;
    if json == Json::Off {
        output::text(&table::line(status, 0, now_usec()))?;
    }
    Ok(())
}

async fn list(services: &Client, json: Json) -> Result<u8, Failure> {
    let tenants = services.call(&List { tenant: None }).await?.tenants;
    let names: Vec<&TenantName> = tenants.iter().map(|status| &status.tenant).collect();
    output::json(json, &names)?;
    if json == Json::Off {
        names.iter().try_for_each(|name| output::text(&format!("{name}\n")))?;
    }
    Ok(0)
}

async fn sync(services: &Client, tenant: Option<RepositoryName>, wait: bool) -> Result<u8, Failure> {
    let sync = Sync { tenant, wait: Some(wait) };
    if !wait {
        services.call(&sync).await?;
        return Ok(0);
    }
    let mut changes = std::pin::pin!(services.stream(&sync).await?);
    let mut last = Vec::new();
    while let Some(change) = changes.next().await {
        last = change?.tenants;
        for status in &last {
            show(status, Json::Off)?;
        }
    }
    let Host { host } = services.call(&Describe {}).await?;
    if host.reason.is_some() {
        output::text(&table::host(&host))?;
    }
    Ok(output::exit_code(&host, &last))
}

async fn logs(services: &Client, tenant: TenantName, follow: bool, lines: u32) -> Result<u8, Failure> {
    let mut logged = std::pin::pin!(services.stream(&ReadLog { tenant, lines, follow }).await?);
    let mut out = io::stdout();
    while let Some(logged) = logged.next().await {
        let line = logged?.line;
        writeln!(out, "{}: {}", printable(&line.identifier), printable(&line.message.replace('\t', "    ")))?;
        out.flush()?;
    }
    Ok(0)
}

fn now_usec() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}
