//! What a service remembers of a tenant: what it was asked for, and by which call.

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// A call that is older than what was accepted already.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("generation {generation} is older than {current}")]
pub struct StaleGeneration {
    /// The call's.
    pub generation: u64,
    /// What was accepted last.
    pub current: u64,
}

/// What is remembered of one tenant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record<T> {
    /// The generation of the call that wrote it.
    pub generation: u64,
    /// What the call asked for.
    pub spec: T,
}

impl<T> Record<T> {
    /// Refuses to go backwards.
    ///
    /// # Errors
    /// `generation` is older than this record.
    pub fn accept(held: Option<&Self>, generation: u64) -> Result<(), StaleGeneration> {
        match held {
            Some(record) if generation < record.generation => {
                Err(StaleGeneration { generation, current: record.generation })
            }
            Some(_) | None => Ok(()),
        }
    }
}
