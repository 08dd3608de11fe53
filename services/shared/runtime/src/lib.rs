//! What a process needs to be a service: sockets from the service manager, callers known by the kernel, a gate that
//! checks every call, an accept loop in which one bad client hurts nobody else, and clients of the other services.

mod activation;
pub mod caller;
pub mod client;
mod connection;
pub mod foreign;
mod gate;
mod introspection;
pub mod log;
pub mod notify;
pub mod record;
pub mod serve;
pub mod session;
mod socket;

pub use activation::{ActivationError, tcp_listeners};
pub use caller::{Caller, Identify};
pub use client::Client;
pub use serve::{Lifetime, Options, ServeError, serve, serve_on};
pub use session::{Answer, Call, Session};

use std::{fmt::Display, process::ExitCode};

/// Runs `service` on a runtime of its own and turns its end into an exit code. A failure is logged with its causes.
pub fn run<E: std::error::Error>(name: &str, service: impl Future<Output = Result<(), E>>) -> ExitCode {
    log::to_stderr();
    let runtime = match tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build() {
        Ok(runtime) => runtime,
        Err(cause) => return failed(name, &cause),
    };
    match runtime.block_on(service) {
        Ok(()) => ExitCode::SUCCESS,
        Err(cause) => failed(name, &chain(&cause)),
    }
}

fn failed(name: &str, cause: &dyn Display) -> ExitCode {
    tracing::error!("{name} ends: {cause}");
    ExitCode::FAILURE
}

/// An error and its causes in one line, each named once.
#[must_use]
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut line = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let text = inner.to_string();
        if !line.ends_with(&text) {
            line = format!("{line}: {text}");
        }
        cause = inner.source();
    }
    line
}
