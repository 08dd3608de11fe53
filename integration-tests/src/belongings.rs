//! What there is of tenants on a host: units, mounts, subvolumes, links, rules, users, processes and records. A test compares
//! what it finds after a fault with what there is without one.

use crate::Scene;
use anyhow::{Result, ensure};

const BELONGINGS: &str = include_str!("belongings.sh");

/// Everything on a host that belongs to tenants, as text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Belongings(String);

impl Belongings {
    /// Compares it with what there should be.
    ///
    /// # Errors
    /// They differ; in which lines is in the error.
    pub fn expect(&self, expected: &Self, when: &str) -> Result<()> {
        let [more, less] = [(self, expected), (expected, self)].map(|(of, without)| {
            of.0.lines().filter(|line| !without.0.lines().any(|other| other == *line)).collect::<Vec<_>>()
        });
        ensure!(
            self == expected,
            "{when}: there is more: {more:#?}, and less: {less:#?}, of\n{}\nand expected\n{}",
            self.0,
            expected.0
        );
        Ok(())
    }
}

impl Scene {
    /// What there is of tenants. Services that are called from time to time do not count of those that stay.
    ///
    /// # Errors
    /// The host cannot be asked.
    pub fn belongings(&self, staying: &[&str]) -> Result<Belongings> {
        self.host.write("/run/belongings", BELONGINGS)?;
        self.must(&format!("bash /run/belongings {}", staying.join(" "))).map(Belongings)
    }
}
