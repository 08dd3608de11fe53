//! Calls of services that are not ours, systemd's above all: no twins, but the same care that a call has an end.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::{os::fd::OwnedFd, path::Path, time::Duration};
use thiserror::Error;
use tokio::time::timeout;

/// Why such a call had no reply.
#[derive(Debug, Error)]
pub enum ForeignError {
    /// Nobody listens, or the connection broke.
    #[error("{service} does not answer")]
    Unreachable {
        /// The socket.
        service: String,
        /// What the transport said.
        #[source]
        cause: Box<dyn std::error::Error + Send + Sync>,
    },
    /// No reply in time.
    #[error("{service} has not answered {method} for {seconds} s")]
    TimedOut {
        /// The socket.
        service: String,
        /// What was called.
        method: String,
        /// How long was waited.
        seconds: u64,
    },
    /// It answered with an error.
    #[error("{method} failed: {error} {parameters}")]
    Failed {
        /// What was called.
        method: String,
        /// The error's name.
        error: String,
        /// What it says of it.
        parameters: Value,
    },
}

#[derive(Debug, Serialize)]
struct Outgoing<'a> {
    method: &'a str,
    parameters: &'a Value,
}

#[derive(Debug, Deserialize)]
struct Incoming {
    error: String,
    #[serde(default)]
    parameters: Value,
}

/// Calls a method on a socket and returns its reply and the descriptors with it.
///
/// # Errors
/// What it answered instead, or that it did not within `patience`.
pub async fn call(
    socket: &Path,
    method: &str,
    parameters: &Value,
    patience: Duration,
) -> Result<(Value, Vec<OwnedFd>), ForeignError> {
    let service = || socket.display().to_string();
    let failed = |error, parameters| ForeignError::Failed { method: method.to_owned(), error, parameters };
    let converse = async {
        let mut connection = zlink::tokio::unix::connect(socket).await?;
        connection.send_call(&zlink::Call::new(Outgoing { method, parameters }), vec![]).await?;
        connection
            .receive_reply::<Value, Incoming>()
            .await
            .map(|(reply, descriptors)| (reply.map(|reply| reply.into_parameters().unwrap_or_default()), descriptors))
    };
    match timeout(patience, converse).await {
        Ok(Ok((Ok(reply), descriptors))) => Ok((reply, descriptors)),
        Ok(Ok((Err(Incoming { error, parameters }), _))) => Err(failed(error, parameters)),
        Ok(Err(zlink::Error::VarlinkService(refusal))) => Err(failed(refusal.inner().to_string(), Value::Null)),
        Ok(Err(cause)) => Err(ForeignError::Unreachable { service: service(), cause: Box::new(cause) }),
        Err(_) => {
            Err(ForeignError::TimedOut { service: service(), method: method.to_owned(), seconds: patience.as_secs() })
        }
    }
}
