//! The interface's methods, and its errors.

use crate::{machine::Machine, network::Network};
use interfaces::{
    Method,
    network::{Ensure, Error, List, Listed, Remove},
};
use runtime::{Answer, Call};

/// What every connection talks to.
#[derive(Debug, Clone)]
pub struct Session<M> {
    network: Network<M>,
}

impl<M: Machine> Session<M> {
    /// Serves these networks.
    #[must_use]
    pub fn new(network: Network<M>) -> Self {
        Self { network }
    }

    async fn ensure(&self, call: Ensure) -> Result<<Ensure as Method>::Reply, Error> {
        let ensured = self.network.ensure(&call).await;
        ensured.map_err(|error| error.reply(format!("make the network of {}", call.tenant)))
    }

    async fn remove(&self, call: Remove) -> Result<<Remove as Method>::Reply, Error> {
        let removed = self.network.remove(&call).await;
        removed.map_err(|error| error.reply(format!("remove the network of {}", call.tenant)))
    }
}

impl<M: Machine> runtime::Session for Session<M> {
    async fn call(&self, call: Call) -> Answer {
        match call.name() {
            Ensure::NAME => call.answer(|call: Ensure| self.ensure(call)).await,
            Remove::NAME => call.answer(|call: Remove| self.remove(call)).await,
            List::NAME => {
                let list = async |call: List| {
                    self.network.list(&call).await.map_err(|error| error.reply("list the networks".to_owned()))
                };
                call.list(list, |attachments| Listed { attachments }).await
            }
            _ => call.not_served(),
        }
    }
}
