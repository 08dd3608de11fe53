//! `bitbuilder status`

use crate::{
    output::{self, Failure, Json, now_usec},
    sleep::{self, Sleeping},
    table,
    verbs::history::events_in,
};
use futures_util::StreamExt;
use interfaces::orchestrator::{Describe, Event, Events, History, Host, HostStatus, List, TenantStatus, Watch};
use jiff::tz::TimeZone;
use model::{TenantName, names::RepositoryName};
use runtime::Client;
use std::io;

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// One tenant, in full.
    tenant: Option<TenantName>,
    /// Go on showing each change.
    #[arg(long, conflicts_with = "tenant")]
    pub(crate) watch: bool,
}

/// The whole host in JSON: a stable shape for scripts.
#[derive(Debug, serde::Serialize)]
struct Overview<'a> {
    host: &'a HostStatus,
    tenants: &'a [TenantStatus],
}

/// One tenant in JSON: its status, and what a person would ask for next.
#[derive(Debug, serde::Serialize)]
struct InFull<'a> {
    #[serde(flatten)]
    status: &'a TenantStatus,
    /// Whether it sleeps; null if it never does, or that is not known.
    asleep: Option<bool>,
    history: &'a [Event],
    next: Option<String>,
}

/// Of a tenant's history.
const LAST_EVENTS: u32 = 5;

pub(crate) async fn run(services: &Client, words: Arguments, json: Json) -> Result<u8, Failure> {
    match words.tenant {
        Some(tenant) => one(services, tenant, json).await,
        None if words.watch => watch(services, json).await,
        None => all(services, json).await,
    }
}

async fn one(services: &Client, tenant: TenantName, json: Json) -> Result<u8, Failure> {
    let shown = services.call(&List { tenant: Some(tenant.clone()) }).await?.tenants;
    let Events { events } =
        services.call(&History { tenant: Some(RepositoryName::from(&tenant)), limit: Some(LAST_EVENTS) }).await?;
    let sleeping = sleep::look(services, &shown).await;
    for status in &shown {
        let asleep = sleeping.get(&status.tenant).copied();
        output::json(json, &InFull { status, asleep, history: &events, next: table::next(status) })?;
        if json == Json::Off {
            let history = events_in(&events, &TimeZone::system(), "    ");
            output::text(&table::tenant(status, &sleeping, &history, now_usec()))?;
        }
    }
    Ok(0)
}

async fn all(services: &Client, json: Json) -> Result<u8, Failure> {
    let Host { host } = services.call(&Describe {}).await?;
    let tenants = services.call(&List { tenant: None }).await?.tenants;
    output::json(json, &Overview { host: &host, tenants: &tenants })?;
    if json == Json::Off {
        output::text(&table::host(&host, now_usec()))?;
        if !tenants.is_empty() {
            output::text(&format!(
                "\n{}",
                table::tenants(&tenants, &sleep::look(services, &tenants).await, now_usec())
            ))?;
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
pub(crate) fn show(status: &TenantStatus, json: Json) -> io::Result<()> {
    output::json(json, status)?;
    if json == Json::Off {
        output::text(&table::line(status, &Sleeping::new(), 0, now_usec()))?;
    }
    Ok(())
}
