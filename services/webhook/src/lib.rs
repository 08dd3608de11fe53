//! Takes hints from Git servers that there is something new. A hint is an HTTP request that proves to know a repository's
//! secret; it makes the orchestrator look, and nothing that it says is believed.

mod accept;
mod answer;
mod claim;
mod hints;
mod limit;
mod secrets;
mod tls;
mod verify;

pub use accept::{ServeError, serve};
