//! What a warm call of one of our services costs, beside the same call of one of systemd's.

use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use integration_tests::Scene;
use serde_json::{Value, json};

use super::Figure;

/// Where this program is on the test host.
pub(super) const TOOL: &str = "/usr/local/bin/bench-tool";
const CALLS: usize = 20_000;

/// Calls one method over and over on one connection.
#[derive(Debug, clap::Args)]
pub(crate) struct Client {
    socket: PathBuf,
    method: String,
    /// What is asked, in JSON
    #[arg(long, default_value = "{}")]
    parameters: String,
    /// How often
    #[arg(long, default_value_t = CALLS)]
    calls: usize,
}

pub(super) fn measure(scene: &Scene) -> Result<Vec<Figure>> {
    scene.must("bitbuilder status >/dev/null; machinectl list >/dev/null")?;
    let ping = "io.systemd.service.Ping";
    let ours = call(scene, "/run/bitbuilder/io.bitbuilder.Orchestrator", ping, "bitbuilder-orchestrator")?;
    let peer = call(scene, "/run/varlink/registry/io.systemd.Machine", ping, "systemd-machined")?;
    let list = call(
        scene,
        "/run/bitbuilder/io.bitbuilder.Orchestrator",
        "io.bitbuilder.Orchestrator.Describe",
        "bitbuilder-orchestrator",
    )?;
    let describe = call(scene, "/run/varlink/registry/io.systemd.Manager", "io.systemd.Manager.Describe", "-.slice")?;
    let figure = |name: &str, ours: f64, peer: f64, peer_name, goal| Figure {
        name: name.to_owned(),
        ours,
        peer,
        peer_name,
        unit: "µs",
        goal,
    };
    Ok(vec![
        figure("varlink-call", ours.median, peer.median, "Ping of systemd-machined", Some(2.0)),
        figure("varlink-call-processor-time", ours.processor, peer.processor, "Ping of systemd-machined", None),
        figure("varlink-call-describe", list.median, describe.median, "io.systemd.Manager.Describe", Some(1.0)),
    ])
}

struct Cost {
    /// Microseconds from request to reply.
    median: f64,
    /// Microseconds of the service's processor time per call: a million divided by it are calls per second and core.
    processor: f64,
}

fn call(scene: &Scene, socket: &str, method: &str, unit: &str) -> Result<Cost> {
    let spent = || -> Result<f64> {
        let pid = scene.must(&format!("systemctl show -p MainPID --value {unit}.service 2>/dev/null || echo 1"))?;
        let pid = if unit == "-.slice" { "1" } else { pid.trim() };
        let ticks = scene.must(&format!("awk '{{print $14+$15}}' /proc/{pid}/stat"))?;
        Ok(ticks.trim().parse::<f64>()? * 10_000.0)
    };
    let before = spent()?;
    let printed = scene.must(&format!("{TOOL} bench-client {socket} {method}"))?;
    let processor = (spent()? - before) / CALLS as f64;
    let median: f64 = printed.trim().parse().with_context(|| format!("not a number: {printed}"))?;
    Ok(Cost { median, processor })
}

/// Runs on the test host: prints the median in microseconds.
pub(crate) fn client(arguments: &Client) -> Result<ExitCode> {
    let stream = UnixStream::connect(&arguments.socket).with_context(|| arguments.socket.display().to_string())?;
    let mut writer = stream.try_clone()?;
    let mut reader = BufReader::new(stream);
    let parameters: Value = serde_json::from_str(&arguments.parameters).context("the parameters are not JSON")?;
    let mut request = serde_json::to_vec(&json!({ "method": arguments.method, "parameters": parameters }))?;
    request.push(0);
    let mut took = Vec::with_capacity(arguments.calls);
    let mut reply = Vec::new();
    for _ in 0..arguments.calls {
        let started = Instant::now();
        writer.write_all(&request)?;
        reply.clear();
        reader.read_until(0, &mut reply)?;
        took.push(started.elapsed().as_secs_f64() * 1e6);
    }
    let answer: Value = serde_json::from_slice(reply.strip_suffix(b"\0").unwrap_or(&reply))?;
    ensure!(answer.get("error").is_none(), "{answer}");
    println!("{}", super::median(took));
    Ok(ExitCode::SUCCESS)
}
