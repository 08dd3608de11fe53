//! Calling systemd-networkd, whose interfaces are not ours and have no twins here.

use crate::error::MachineError;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::{path::Path, time::Duration};
use tokio::time::timeout;

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(30);

#[derive(Debug, Serialize)]
struct Outgoing<'a> {
    method: &'static str,
    parameters: &'a Value,
}

#[derive(Debug, Deserialize)]
struct Incoming {
    error: String,
    #[serde(default, rename = "parameters")]
    _parameters: Value,
}

/// Calls a method on the socket and returns its reply.
pub(crate) async fn call(socket: &Path, method: &'static str, parameters: &Value) -> Result<Value, MachineError> {
    let converse = async {
        let mut connection = zlink::tokio::unix::connect(socket).await?;
        connection.send_call(&zlink::Call::new(Outgoing { method, parameters }), vec![]).await?;
        let (reply, _descriptors) = connection.receive_reply::<Value, Incoming>().await?;
        Ok(reply.map(|reply| reply.into_parameters().unwrap_or_default()))
    };
    match timeout(PATIENCE, converse).await {
        Ok(Ok(Ok(reply))) => Ok(reply),
        Ok(Ok(Err(Incoming { error, .. }))) => Err(MachineError::Refused { method, error }),
        Ok(Err(zlink::Error::VarlinkService(refusal))) => {
            Err(MachineError::Refused { method, error: refusal.inner().to_string() })
        }
        Ok(Err(cause)) => Err(MachineError::Unreachable(cause)),
        Err(_) => Err(MachineError::TimedOut(PATIENCE.as_secs())),
    }
}
