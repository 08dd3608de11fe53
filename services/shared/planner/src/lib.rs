//! What is desired, what was observed and what is remembered, turned into steps. Pure, and the only place where anything
//! is decided: the same function applies, verifies, recovers from a kill, repairs drift and goes back.

pub mod allocate;
pub mod back_off;
pub mod dependencies;
pub mod history;
pub mod ledger;
pub mod plan;
pub mod strategy;
#[cfg(test)]
mod world;

pub use back_off::BackOff;
pub use dependencies::{Awaited, awaited};
pub use history::Event;
pub use ledger::{Aim, Leaving, Origin, TenantLedger, Trial, Verdict};
pub use plan::{Action, Class, Part, Plan, Step, plan, plan_absence, plan_removal};
