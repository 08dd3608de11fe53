//! What the tenants' part of a boot is made of: the state that was written down, and the units that start the tenants by it.
//! Pure: whoever writes such a unit, at boot or later, writes the same bytes.

pub mod compile;
pub mod order;
pub mod polling;
pub mod state;
pub mod units;

pub use compile::{Entry, Moment, Output, compile};
pub use polling::{Polling, Timing};
pub use state::{Fault, Start, State};
