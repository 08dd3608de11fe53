//! Every step of every plan in a tenant's life can be the last thing that somebody does: whoever is killed before and after it,
//! and if the power fails there, the tenant becomes what it should without anybody's help, and nothing is left of the attempt.

#[path = "every_step_can_be_killed/life.rs"]
mod life;

use anyhow::Result;
use integration_tests::{Harm, Moment};
use life::lives;

#[test]
fn kill_9_of_who_does_it_before_it_is_done() -> Result<()> {
    lives(Harm::Owner, Moment::Before)
}

#[test]
fn kill_9_of_who_does_it_when_it_is_done() -> Result<()> {
    lives(Harm::Owner, Moment::After)
}

#[test]
fn kill_9_of_who_asks_for_it_before_it_is_done() -> Result<()> {
    lives(Harm::Orchestrator, Moment::Before)
}

#[test]
fn kill_9_of_who_asks_for_it_when_it_is_done() -> Result<()> {
    lives(Harm::Orchestrator, Moment::After)
}

#[test]
fn kill_9_of_everybody_before_it_is_done() -> Result<()> {
    lives(Harm::All, Moment::Before)
}

#[test]
fn kill_9_of_everybody_when_it_is_done() -> Result<()> {
    lives(Harm::All, Moment::After)
}

#[test]
fn kill_9_of_each_of_the_others() -> Result<()> {
    lives(Harm::Others, Moment::Before)
}

#[test]
fn the_power_fails_before_it_is_done() -> Result<()> {
    lives(Harm::PowerLoss, Moment::Before)
}

#[test]
fn the_power_fails_when_it_is_done() -> Result<()> {
    lives(Harm::PowerLoss, Moment::After)
}
