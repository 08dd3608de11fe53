//! Fetches from and checks out of real repositories: through `git daemon`, through file://, and from servers that lie.

#![allow(clippy::disallowed_methods, reason = "a test runs Git as a person does")]
// Whoever calls these is a test, though not each of these is one.
#![allow(clippy::unwrap_used)]

mod bundles;
mod forget;
mod hostile;
mod looks;
mod record;
mod recovery;
mod sandbox;
mod scene;
mod service;
mod several;
mod tidy;
mod trust;
