//! The developer's tool, one module per verb: `cargo xtask --help` lists them.

#![allow(
    clippy::disallowed_methods,
    reason = "a tool runs programs on the machine, and waits for them as a person would"
)]

mod bench;
mod check;
mod demo;
mod fuzz;
mod host;
mod package;
mod root;
mod tally;
mod test;
mod tools;
mod update;
mod workspace;

use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;

/// Test hosts, the package, and every check.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
enum Verb {
    /// Boot, enter, list and stop test hosts
    #[command(subcommand)]
    Host(host::Verb),
    /// Build the Debian package and print its path
    Package(package::Arguments),
    /// Show what the product does, on a host of its own
    Demo(demo::Arguments),
    /// Run every test, on this machine and on test hosts
    Test(test::Arguments),
    /// Measure the product beside its peers, on a host of its own
    Bench(bench::Arguments),
    /// What `bench` runs on the host
    #[command(hide = true)]
    BenchClient(bench::Client),
    /// Feed the parsers of other people's words with anything at all
    Fuzz(fuzz::Arguments),
    /// Check format, lints, documentation and dependencies
    Check,
    /// Write anew what is made from the code: JSON Schemas, and tables in the documentation
    Update,
}

fn main() -> ExitCode {
    match run(Verb::parse()) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(verb: Verb) -> Result<ExitCode> {
    match verb {
        Verb::Host(verb) => host::run(verb),
        Verb::Package(arguments) => package::run(&arguments).map(|()| ExitCode::SUCCESS),
        Verb::Demo(arguments) => demo::run(&arguments),
        Verb::Test(arguments) => test::run(&arguments),
        Verb::Bench(arguments) => bench::run(&arguments),
        Verb::BenchClient(arguments) => bench::client(&arguments),
        Verb::Fuzz(arguments) => fuzz::run(&arguments),
        Verb::Check => check::run(),
        Verb::Update => update::run(),
    }
}
