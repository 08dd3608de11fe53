//! A tenant's conversation with its host: two questions, passed on to the orchestrator for this tenant and no other.

use interfaces::{
    Method,
    guest::{Accepted, Describe, Description, Error, Sync},
    orchestrator::{self, TenantStatus},
};
use model::TenantName;
use runtime::{Answer, Call, Client, Session, chain, client::CallError};
use std::{sync::Arc, time::Duration};
use tokio::sync::Semaphore;
use tracing::warn;

/// How long the orchestrator may take for what it answers at once.
const PATIENCE: Duration = Duration::from_secs(10);
/// How many questions of one tenant the orchestrator has at a time, whatever the tenant does.
const QUESTIONS: usize = 4;

/// The service of one tenant.
#[derive(Debug, Clone)]
pub struct Guest {
    tenant: TenantName,
    orchestrator: Client,
    turns: Arc<Semaphore>,
}

impl Session for Guest {
    async fn call(&self, call: Call) -> Answer {
        match call.name() {
            Describe::NAME => call.answer(|_: Describe| self.describe()).await,
            Sync::NAME => call.answer(|_: Sync| self.sync()).await,
            _ => call.not_served(),
        }
    }
}

impl Guest {
    /// The service of `tenant`, which asks the orchestrator by `client`.
    #[must_use]
    pub fn of(tenant: TenantName, client: &Client) -> Self {
        Self { tenant, orchestrator: client.waiting(PATIENCE), turns: Arc::new(Semaphore::new(QUESTIONS)) }
    }

    async fn describe(&self) -> Result<Description, Error> {
        let listed = self.ask(&orchestrator::List { tenant: Some(self.tenant.clone()) }).await?;
        let own = listed.tenants.into_iter().find(|status| status.tenant == self.tenant);
        own.map(description).ok_or_else(|| unavailable("this tenant is not registered"))
    }

    async fn sync(&self) -> Result<Accepted, Error> {
        self.ask(&orchestrator::Sync { tenant: Some((&self.tenant).into()), wait: Some(false), poll: None }).await?;
        Ok(Accepted {})
    }

    async fn ask<M: Method<Error = orchestrator::Error>>(&self, question: &M) -> Result<M::Reply, Error> {
        // The semaphore is never closed; if it were, nobody would have to wait.
        let _turn = self.turns.acquire().await.ok();
        self.orchestrator.call(question).await.map_err(|cause| {
            warn!(tenant = %self.tenant, "the orchestrator did not answer {}: {}", M::NAME, chain(&cause));
            unavailable(reason(&cause))
        })
    }
}

/// What a tenant may know of itself, and nothing else.
fn description(status: TenantStatus) -> Description {
    let TenantStatus { tenant, state, wanted, verified, address, reason, .. } = status;
    Description { tenant, state, wanted, verified, address, reason }
}

fn unavailable(reason: &str) -> Error {
    Error::Unavailable { reason: reason.to_owned() }
}

/// The same in words that tell a tenant nothing of the host. The whole cause is in the host's journal.
fn reason(cause: &CallError<orchestrator::Error>) -> &'static str {
    match cause {
        CallError::Unreachable { .. } | CallError::TimedOut { .. } => "the orchestrator does not answer",
        CallError::Failed(orchestrator::Error::NoSuchTenant { .. }) => "this tenant is not registered",
        CallError::Failed(orchestrator::Error::NotInitialized {}) => "the host does not follow a repository yet",
        CallError::Failed(
            orchestrator::Error::AlreadyInitialized { .. }
            | orchestrator::Error::TenantSuspended { .. }
            | orchestrator::Error::NoSuchObject { .. }
            | orchestrator::Error::NothingStrayed { .. }
            | orchestrator::Error::NothingOnTrial { .. }
            | orchestrator::Error::NotLeaving { .. }
            | orchestrator::Error::Failed { .. },
        )
        | CallError::Refused { .. }
        | CallError::Malformed { .. } => "something on the host failed",
    }
}
