//! `cargo xtask demo`: what the product is for, shown on a host of its own. Each line is printed after it was observed.

use std::io::IsTerminal as _;
use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use integration_tests::{Repository, Scene};
use test_host::{Host, Package};

use crate::workspace::Workspace;
use crate::{package, root, tools};

/// The name of a host that is kept, so that it is found again.
const NAME: &str = "demo";

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Leave the host running for exploring
    #[arg(long)]
    keep: bool,
    /// This package instead of one built from these sources
    #[arg(long, value_name = "DEB")]
    package: Option<std::path::PathBuf>,
}

pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    root::become_root()?;
    test_host::require(tools::DEBIAN)?;
    let examples = Workspace::find()?.root.join("packaging/examples");
    let show = Show { colours: std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none() };
    let package = match &arguments.package {
        Some(package) => package.clone(),
        None => show.step("The package is built", package::build)?,
    };
    let host =
        Host::builder(if arguments.keep { NAME } else { "" }).package(Package::File(package)).keep(arguments.keep);
    let scene = show.step("A host is up, systemd is its PID 1 and the package is installed", || Scene::boot(host))?;
    let told = tell(&show, &scene, &examples);
    if arguments.keep {
        println!("\nThe host stays. Look around:");
        println!("  cargo xtask host exec {NAME} -- bitbuilder status");
        println!("  cargo xtask host exec {NAME} -- bash --login");
        println!("  cargo xtask host stop {NAME}");
    }
    told.map(|()| ExitCode::SUCCESS)
}

fn tell(show: &Show, scene: &Scene, examples: &Path) -> Result<()> {
    let web =
        show.step("A Git server has a system repository and two tenants' repositories", || prepare(scene, examples))?;
    show.step("The host follows them, and both tenants run", || {
        scene.must("bitbuilder init --repository git://127.0.0.1/system")?;
        converged(scene, &["sync", "--wait"], 0)?;
        scene.expect_state("web", "verified")?;
        scene.expect_state("worker", "verified")
    })?;
    show.output(scene, "bitbuilder status")?;
    show.output(scene, "machinectl list --no-legend")?;

    show.step("Tenant web answers on the host's port, with a program from its extension image", || {
        page(scene, "Hello from the first commit (greeted by the extension)")
    })?;
    show.output(scene, "curl --silent http://127.0.0.1:8080/")?;

    show.step("Tenant worker asked the host about itself, on its own socket", || {
        let logs = scene.must("bitbuilder logs worker -n 200")?;
        ensure!(logs.contains("\"worker\"") && !logs.contains("\"web\""), "the worker's log does not show it:\n{logs}");
        Ok(())
    })?;

    show.step("A commit is pushed, and what it says is live", || {
        web.commit("Another page", &[("www/index.html", "Hello from the second commit\n")])?;
        converged(scene, &["sync", "web", "--wait"], 0)?;
        page(scene, "Hello from the second commit (greeted by the extension)")
    })?;
    show.output(scene, "curl --silent http://127.0.0.1:8080/")?;

    let good = std::fs::read_to_string(examples.join("tenant-web/metadata.json")).context("reading the example")?;
    show.step("A commit with a mistake is refused with its place, and nothing is touched", || {
        web.commit("A mistake", &[("metadata.json", &good.replace("\"cores\": 1", "\"cores\": \"many\""))])?;
        converged(scene, &["sync", "web", "--wait"], 3)?;
        let status = scene.expect_state("web", "refused")?;
        let reason = status["reason"].as_str().unwrap_or_default();
        ensure!(
            reason.contains("web:metadata.json:7:23") && reason.contains("^^^^^^"),
            "the reason has no place:\n{reason}"
        );
        page(scene, "Hello from the second commit (greeted by the extension)")
    })?;
    show.output(scene, "bitbuilder status web | head -n 8")?;

    show.step("A commit whose service fails is applied, found failing, and rolled back", || {
        web.commit(
            "A service that fails",
            &[("metadata.json", &good), ("units/web.service", "[Service]\nExecStart=/bin/false\n")],
        )?;
        converged(scene, &["sync", "web", "--wait"], 4)?;
        let status = scene.expect_state("web", "rolled_back")?;
        ensure!(status["reason"].as_str().is_some_and(|reason| reason.contains("web.service failed")), "{status:#}");
        page(scene, "Hello from the second commit (greeted by the extension)")
    })?;
    show.output(scene, "bitbuilder status web")?;
    Ok(())
}

/// The examples become repositories, the base image and the extension image are on the host.
fn prepare<'a>(scene: &'a Scene, examples: &Path) -> Result<Repository<'a>> {
    scene.must(
        "cd $(mktemp -d) && mkdir -p usr/bin usr/lib/extension-release.d
         printf '#!/bin/sh\\necho \"$(cat) (greeted by the extension)\"\\n' > usr/bin/greeter && chmod +x usr/bin/greeter
         echo ID=_any > usr/lib/extension-release.d/extension-release.greeter
         mksquashfs . /var/lib/bitbuilder/images/sysext/greeter.raw -quiet -no-progress -all-root",
    )?;
    from_example(scene, examples, "system", "system")?;
    from_example(scene, examples, "tenant-worker", "worker")?;
    from_example(scene, examples, "tenant-web", "web")
}

fn from_example<'a>(scene: &'a Scene, examples: &Path, example: &str, name: &str) -> Result<Repository<'a>> {
    let root = examples.join(example);
    let repository = scene.repository(name)?;
    let mut files = Vec::new();
    collect(&root, &root, &mut files)?;
    // There is no forge and nobody on call here.
    files.retain(|(path, _)| path != "notifications.json");
    // The examples name a server of nobody's; here it is the host's own.
    files
        .iter_mut()
        .for_each(|(_, content)| *content = content.replace("https://git.example.org/", "git://127.0.0.1/"));
    let (scripts, files): (Vec<_>, Vec<_>) = files.into_iter().partition(|(path, _)| path.starts_with("scripts/"));
    for (path, content) in &scripts {
        let path = format!("/srv/trees/{name}/{path}");
        scene.host.write(&path, content)?;
        scene.must(&format!("chmod 755 {path}"))?;
    }
    let files: Vec<(&str, &str)> = files.iter().map(|(path, content)| (path.as_str(), content.as_str())).collect();
    repository.commit("The first commit", &files)?;
    Ok(repository)
}

fn collect(root: &Path, folder: &Path, files: &mut Vec<(String, String)>) -> Result<()> {
    for entry in std::fs::read_dir(folder).with_context(|| format!("reading {}", folder.display()))? {
        let path = entry?.path();
        if path.is_dir() {
            collect(root, &path, files)?;
        } else {
            let name = path.strip_prefix(root)?.to_string_lossy().into_owned();
            files.push((name, std::fs::read_to_string(&path)?));
        }
    }
    Ok(())
}

fn converged(scene: &Scene, words: &[&str], code: i32) -> Result<()> {
    let output = scene.bitbuilder(words)?;
    if output.code != code {
        let journal = scene.host.sh("journalctl -n 80 -o cat --no-pager -u 'bitbuilder-*' -u tenant-manager")?.stdout;
        anyhow::bail!(
            "bitbuilder {} ended with {}, not {code}:\n{}{}\n{journal}",
            words.join(" "),
            output.code,
            output.stdout,
            output.stderr
        );
    }
    Ok(())
}

fn page(scene: &Scene, expected: &str) -> Result<()> {
    let shown =
        scene.must("curl --silent --show-error --max-time 5 --retry 3 --retry-connrefused http://127.0.0.1:8080/")?;
    ensure!(shown.trim() == expected, "the page says {shown:?}, not {expected:?}");
    Ok(())
}

struct Show {
    colours: bool,
}

impl Show {
    /// Does a step and says so once it is done.
    fn step<T>(&self, title: &str, work: impl FnOnce() -> Result<T>) -> Result<T> {
        let started = Instant::now();
        if self.colours {
            print!("… {title}");
            std::io::Write::flush(&mut std::io::stdout())?;
        }
        let done = work().with_context(|| format!("this did not happen: {title}"));
        let (clear, mark) = match (self.colours, done.is_ok()) {
            (true, true) => ("\r\u{1b}[K", "\u{1b}[32m✔\u{1b}[0m"),
            (true, false) => ("\r\u{1b}[K", "\u{1b}[31m✘\u{1b}[0m"),
            (false, true) => ("", "✔"),
            (false, false) => ("", "✘"),
        };
        println!("{clear}{mark} {title} ({:.1} s)", started.elapsed().as_secs_f64());
        done
    }

    /// Shows a command and what it prints, as a person would see it on the host.
    fn output(&self, scene: &Scene, command: &str) -> Result<()> {
        println!("    $ {command}");
        for line in scene.must(command)?.lines() {
            println!("    {line}");
        }
        Ok(())
    }
}
