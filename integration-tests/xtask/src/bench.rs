//! `cargo xtask bench`: figures on a host of its own, each beside a named peer that is measured in the same run.

mod generator;
mod hot;
mod incus;
mod many;
mod memory;
mod plan;
mod provision;
mod push;
mod validate;
mod varlink;
mod wake;

pub(crate) use varlink::{Client, client};

use std::process::ExitCode;

use anyhow::{Result, ensure};
use integration_tests::{Registration, Scene, registry};
use serde_json::json;
use test_host::{Host, Package};

use crate::{package, root, tools};

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Only figures whose names begin with this: push-ready, hot-change, restart-class, provision, incus-launch, wake,
    /// varlink-call, idle-memory, plan, validate, git-noop, git-sync-memory, reconcile-1000, generator-1000
    name: Option<String>,
    /// Print an object per line instead of a table
    #[arg(long)]
    json: bool,
    /// This package instead of one built from these sources
    #[arg(long, value_name = "DEB")]
    package: Option<std::path::PathBuf>,
}

/// One figure. Lower is better.
#[derive(Debug, Clone)]
pub(crate) struct Figure {
    name: String,
    ours: f64,
    peer: f64,
    peer_name: &'static str,
    unit: &'static str,
    /// The highest ratio that is good enough; none if the figure is only to be known.
    goal: Option<f64>,
}

impl Figure {
    fn ratio(&self) -> f64 {
        self.ours / self.peer
    }

    fn passes(&self) -> bool {
        self.goal.is_none_or(|goal| self.ratio() <= goal)
    }
}

type Measure = fn(&Scene) -> Result<Vec<Figure>>;
/// Debian's packages that the hosts have beyond what every host has: a peer's daemons shall not disturb the other figures.
const HOSTS: [&[&str]; 2] = [&[], incus::PACKAGES];
/// What begins the names of the figures, the host that they are measured on, and how.
const MEASURES: [(&str, &[&str], Measure); 14] = [
    ("validate", &[], validate::measure),
    ("varlink-call", &[], varlink::measure),
    ("push-ready", &[], push::measure),
    ("provision", &[], provision::measure),
    ("incus-launch", incus::PACKAGES, incus::measure),
    ("hot-change", &[], hot::change),
    ("restart-class", &[], hot::restart),
    ("wake", &[], wake::measure),
    ("idle-memory", &[], memory::measure),
    ("git-noop", &[], many::looks),
    ("git-sync-memory", &[], many::memory),
    ("reconcile-1000", &[], many::reconcile),
    ("plan", &[], plan::measure),
    ("generator-1000", &[], generator::measure),
];

pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    root::become_root()?;
    test_host::require(tools::DEBIAN)?;
    let wanted = |name: &str| {
        arguments.name.as_deref().is_none_or(|wanted| name.starts_with(wanted) || wanted.starts_with(name))
    };
    ensure!(MEASURES.iter().any(|(name, ..)| wanted(name)), "there is no such figure");
    let package = match &arguments.package {
        Some(package) => package.clone(),
        None => package::build()?,
    };
    // The client of the calls is this very program.
    let tool = std::env::current_exe()?;
    let mut all_pass = true;
    if !arguments.json {
        println!("{:34} {:>10} {:>10} {:5} {:>6} {:>6}  peer", "figure", "ours", "peer", "unit", "ratio", "goal");
    }
    for packages in HOSTS {
        let measures = MEASURES.iter().filter(|(name, on, _)| *on == packages && wanted(name));
        let measures: Vec<Measure> = measures.map(|(.., measure)| *measure).collect();
        if measures.is_empty() {
            continue;
        }
        let host = Host::builder("").package(Package::File(package.clone())).bind(&tool, varlink::TOOL);
        let scene = Scene::boot(host.with_packages(packages.iter().copied()))?;
        for measure in measures {
            for figure in measure(&scene)? {
                all_pass &= figure.passes();
                print(&figure, arguments.json);
            }
        }
    }
    Ok(if all_pass { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Makes the host follow one tenant, and nobody else. Another figure may have made it follow something before.
fn register(scene: &Scene, name: &str) -> Result<()> {
    let tenants = [Registration::new(name)];
    if scene.host.sh("test -d /srv/git/system")?.success() {
        scene.open("system").commit("Another", &[("tenants/registry.json", &registry(&tenants))])?;
        scene.must("bitbuilder sync system --wait").map(drop)
    } else {
        scene.follow(&tenants).map(drop)
    }
}

fn print(figure: &Figure, as_json: bool) {
    let Figure { name, ours, peer, peer_name, unit, goal } = figure;
    if as_json {
        println!(
            "{}",
            json!({ "name": name, "ours": ours, "peer": peer, "unit": unit, "ratio": figure.ratio(), "goal": goal, "pass": figure.passes() })
        );
    } else {
        let goal = goal.map_or("-".to_owned(), |goal| format!("{goal:.2}"));
        let verdict = if figure.passes() { "" } else { "  MISSED" };
        println!("{name:34} {ours:10.2} {peer:10.2} {unit:5} {:6.2} {goal:>6}  {peer_name}{verdict}", figure.ratio());
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}
