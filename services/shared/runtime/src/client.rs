//! Calls of other services: typed by the same twins that the services are, and never without an end.

use futures_util::Stream;
use interfaces::Method;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::{
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    time::Duration,
};
use thiserror::Error;
use tokio::time::timeout;
use zlink::tokio::unix::Connection;

/// Where the host's sockets are.
pub const RUNTIME_DIRECTORY: &str = "/run/bitbuilder";

/// Why a call had no reply.
#[derive(Debug, Error)]
pub enum CallError<E: std::error::Error + 'static> {
    /// Nobody listens, or the connection broke: what became of the call is unknown.
    #[error("{service} does not answer")]
    Unreachable {
        /// The socket.
        service: String,
        /// What the transport said.
        #[source]
        cause: Box<dyn std::error::Error + Send + Sync>,
    },
    /// No reply in time: what became of the call is unknown.
    #[error("{service} has not answered for {seconds} s")]
    TimedOut {
        /// The socket.
        service: String,
        /// How long was waited.
        seconds: u64,
    },
    /// The service answered with an error that its interface names.
    #[error(transparent)]
    Failed(E),
    /// The service refused the call itself.
    #[error("{service} refused the call: {error} {parameters}")]
    Refused {
        /// The socket.
        service: String,
        /// `org.varlink.service.PermissionDenied`, say.
        error: String,
        /// What it says of it.
        parameters: Value,
    },
    /// The service answered with something else than its interface says.
    #[error("{service} answered with something unexpected")]
    Malformed {
        /// The socket.
        service: String,
        /// What is wrong with it.
        #[source]
        cause: serde_json::Error,
    },
}

/// A call as it goes over the wire.
#[derive(Debug, Serialize)]
struct Outgoing<'a, P> {
    method: String,
    parameters: &'a P,
}

/// An error reply as it comes over the wire.
#[derive(Debug, Deserialize)]
struct Incoming {
    error: String,
    #[serde(default)]
    parameters: Value,
}

/// A service to call. Cheap to keep: it connects for each call, because an activated service ends when nobody does.
#[derive(Debug, Clone)]
pub struct Client {
    directory: PathBuf,
    patience: Duration,
}

impl Default for Client {
    fn default() -> Self {
        Self { directory: PathBuf::from(RUNTIME_DIRECTORY), patience: Duration::from_secs(300) }
    }
}

impl Client {
    /// A client of the sockets in another directory.
    #[must_use]
    pub fn in_directory(directory: &Path) -> Self {
        Self { directory: directory.to_owned(), ..Self::default() }
    }

    /// The same client, waiting at most this long for each reply.
    #[must_use]
    pub fn waiting(&self, patience: Duration) -> Self {
        Self { patience, ..self.clone() }
    }

    /// Calls a method and returns its reply.
    ///
    /// # Errors
    /// What the service answered instead, or that it did not.
    pub async fn call<M: Method>(&self, parameters: &M) -> Result<M::Reply, CallError<M::Error>> {
        self.call_with(parameters, Vec::new()).await
    }

    /// Calls a method and hands file descriptors over with that.
    ///
    /// # Errors
    /// What the service answered instead, or that it did not.
    pub async fn call_with<M: Method>(
        &self,
        parameters: &M,
        descriptors: Vec<OwnedFd>,
    ) -> Result<M::Reply, CallError<M::Error>> {
        let mut exchange = self.begin::<M>(parameters, false, descriptors).await?;
        exchange.next().await.map(|(reply, _)| reply)
    }

    /// Calls a method that answers with many replies. The stream ends after the last one or with an error; waiting between
    /// replies has no limit.
    ///
    /// # Errors
    /// The service cannot be reached.
    pub async fn stream<M: Method>(
        &self,
        parameters: &M,
    ) -> Result<impl Stream<Item = Result<M::Reply, CallError<M::Error>>> + use<M>, CallError<M::Error>> {
        let exchange = Exchange { patience: None, ..self.begin::<M>(parameters, true, Vec::new()).await? };
        Ok(futures_util::stream::unfold(Some(exchange), |exchange| async {
            let mut exchange = exchange?;
            match exchange.next().await {
                Ok((reply, true)) => Some((Ok(reply), Some(exchange))),
                Ok((reply, false)) => Some((Ok(reply), None)),
                Err(error) => Some((Err(error), None)),
            }
        }))
    }

    async fn begin<M: Method>(
        &self,
        parameters: &M,
        more: bool,
        descriptors: Vec<OwnedFd>,
    ) -> Result<Exchange<M>, CallError<M::Error>> {
        let service = self.directory.join(M::CONTRACT.name);
        let name = service.display().to_string();
        let unreachable =
            |cause: zlink::Error| CallError::Unreachable { service: name.clone(), cause: Box::new(cause) };
        let mut connection = zlink::tokio::unix::connect(&service).await.map_err(unreachable)?;
        let call = zlink::Call::new(Outgoing { method: format!("{}.{}", M::CONTRACT.name, M::NAME), parameters })
            .set_more(more);
        let sent = timeout(self.patience, connection.send_call(&call, descriptors)).await;
        sent.unwrap_or(Err(zlink::Error::SocketWrite)).map_err(unreachable)?;
        Ok(Exchange { connection, service: name, patience: Some(self.patience), method: std::marker::PhantomData })
    }
}

struct Exchange<M> {
    connection: Connection,
    service: String,
    patience: Option<Duration>,
    method: std::marker::PhantomData<fn() -> M>,
}

impl<M: Method> Exchange<M> {
    async fn next(&mut self) -> Result<(M::Reply, bool), CallError<M::Error>> {
        let service = self.service.clone();
        let receive = self.connection.receive_reply::<Value, Incoming>();
        let received = match self.patience {
            Some(patience) => match timeout(patience, receive).await {
                Ok(received) => received,
                Err(_) => return Err(CallError::TimedOut { service, seconds: patience.as_secs() }),
            },
            None => receive.await,
        };
        match received {
            Ok((Ok(reply), _)) => {
                let continues = reply.continues() == Some(true);
                let value = reply.into_parameters().unwrap_or_else(|| Value::Object(serde_json::Map::new()));
                let reply = serde_json::from_value(value).map_err(|cause| CallError::Malformed { service, cause })?;
                Ok((reply, continues))
            }
            Ok((Err(Incoming { error, parameters }), _)) => Err(error_reply::<M>(service, error, parameters)),
            Err(zlink::Error::VarlinkService(refusal)) => {
                Err(CallError::Refused { service, error: refusal.inner().to_string(), parameters: Value::Null })
            }
            Err(cause) => Err(CallError::Unreachable { service, cause: Box::new(cause) }),
        }
    }
}

fn error_reply<M: Method>(service: String, error: String, parameters: Value) -> CallError<M::Error> {
    let own = error.strip_prefix(M::CONTRACT.name).and_then(|rest| rest.strip_prefix('.'));
    let Some(name) = own else { return CallError::Refused { service, error, parameters } };
    match serde_json::from_value(serde_json::json!({ "error": name, "parameters": parameters })) {
        Ok(error) => CallError::Failed(error),
        Err(_) => CallError::Refused { service, error, parameters },
    }
}
