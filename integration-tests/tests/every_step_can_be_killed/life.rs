//! The life of a tenant, in which every kind of step occurs: it comes, becomes something else, is restarted, changes while it runs,
//! and leaves. Lived once in peace, to see the plans and what there is after each, and then with a fault in each plan.

use anyhow::{Context as _, Result, bail, ensure};
use integration_tests::{Belongings, Harm, Moment, Registration, Scene, manifest, registry, service};
use serde_json::{Value, json};
use std::{
    cell::Cell,
    collections::BTreeSet,
    time::{Duration, Instant},
};
use test_host::Host;

/// Far more than a chapter takes with a boot in it: whoever takes longer waits for something that does not come.
const LONGEST: Duration = Duration::from_secs(40);

/// What its repository asks for.
struct Asks {
    image: &'static str,
    port: u16,
    sysext: &'static [&'static str],
    /// Differs where its service does.
    seconds: u32,
    activation: &'static str,
}

/// A commit, and what the plan for it is about. Without anything that is asked for it leaves.
struct Chapter {
    name: &'static str,
    asks: Option<Asks>,
    /// Whether the others need not have it among them.
    may_be_left_out: bool,
}

impl Chapter {
    fn staying(&self) -> &'static [&'static str] {
        if self.asks.is_some() { &["web"] } else { &[] }
    }
}

const fn asks(image: &'static str, port: u16, sysext: &'static [&'static str], seconds: u32) -> Option<Asks> {
    Some(Asks { image, port, sysext, seconds, activation: "always" })
}

/// The same on demand. It is awake for longer than the test takes.
const fn woken(asked: Option<Asks>) -> Option<Asks> {
    match asked {
        Some(asks) => Some(Asks { activation: "on-demand", ..asks }),
        None => None,
    }
}

const LIFE: [Chapter; 5] = [
    Chapter { name: "create", asks: asks("debian", 8100, &["one"], 1_000_001), may_be_left_out: false },
    Chapter { name: "update", asks: asks("other", 8101, &["one", "two"], 1_000_002), may_be_left_out: false },
    Chapter { name: "restart", asks: asks("other", 8101, &["two"], 1_000_002), may_be_left_out: false },
    Chapter { name: "change", asks: woken(asks("other", 8101, &["two"], 1_000_003)), may_be_left_out: true },
    Chapter { name: "remove", asks: None, may_be_left_out: false },
];

/// A chapter that was lived in peace: the calls that it took, and what there was afterwards.
struct Known {
    calls: Vec<String>,
    belongings: Belongings,
}

/// The calls that steps are made by, as people read steps in a plan.
const CALLS: [(&str, &str); 14] = [
    ("storage ensure storage", "Storage.Ensure"),
    ("storage archive", "Storage.Archive"),
    ("storage remove storage", "Storage.Remove"),
    ("network ensure network", "Network.Ensure"),
    ("network remove network", "Network.Remove"),
    ("extension ensure extensions", "Extension.Ensure"),
    ("extension remove extensions", "Extension.Remove"),
    ("tenant-manager run pre-provision", "Tenant.PreProvision"),
    ("tenant-manager write down", "Tenant.Ensure"),
    ("tenant-manager listen", "Tenant.Listen"),
    ("tenant-manager start", "Tenant.Start"),
    ("tenant-manager stop", "Tenant.Stop"),
    ("tenant-manager forget", "Tenant.Remove"),
    // The whole tenant, or a service of it.
    ("tenant-manager restart", "Tenant.Restart"),
];

/// Lives once in peace and then as often as it takes to have the harm done at each step of each chapter, once at a time.
pub(super) fn lives(harm: Harm, moment: Moment) -> Result<()> {
    let life = Life { scene: scene()?, archived: Cell::new(0) };
    let never_was_there = life.scene.belongings(&[])?;
    let known = LIFE.iter().map(|chapter| life.in_peace(chapter)).collect::<Result<Vec<_>>>()?;
    if let Some(left) = known.last() {
        left.belongings.expect(&never_was_there, "after it left in peace")?;
    }
    let all: BTreeSet<&String> = known.iter().flat_map(|known| &known.calls).collect();
    ensure!(all == steps().iter().collect(), "a kind of step does not occur in this life: {all:?}");
    for number in 0..known.iter().map(|known| known.calls.len()).max().unwrap_or(0) {
        for (chapter, known) in LIFE.iter().zip(&known) {
            let round = known.calls.get(number).map(|call| (call.as_str(), moment));
            if round.is_none() && chapter.may_be_left_out {
                continue;
            }
            let when = format!("{} in life {number}, {harm:?} at {round:?}", chapter.name);
            let begun = Instant::now();
            life.live(chapter, known, harm, round).context(when.clone())?;
            println!("{when}: {} ms", begun.elapsed().as_millis());
            if begun.elapsed() > LONGEST {
                let journal = life.scene.must("journalctl --boot --no-pager -o short-monotonic | tail -n 400")?;
                bail!("{when}: it took {:?}\n{journal}", begun.elapsed());
            }
        }
    }
    Ok(())
}

/// Every method that takes a generation: a step of a plan, and nothing else, is made by it.
fn steps() -> BTreeSet<String> {
    let contracts = [
        ("Storage", include_str!("../../../interfaces/io.bitbuilder.Storage.varlink")),
        ("Network", include_str!("../../../interfaces/io.bitbuilder.Network.varlink")),
        ("Extension", include_str!("../../../interfaces/io.bitbuilder.Extension.varlink")),
        ("Tenant", include_str!("../../../interfaces/io.bitbuilder.Tenant.varlink")),
    ];
    let methods = contracts.into_iter().flat_map(|(interface, contract)| {
        contract.split("\nmethod ").skip(1).filter_map(move |method| {
            let (name, rest) = method.split_once('(')?;
            let (parameters, _) = rest.split_once("->")?;
            parameters.contains("generation: int").then(|| format!("{interface}.{name}"))
        })
    });
    methods.collect()
}

fn scene() -> Result<Scene> {
    let scene = Scene::boot(Host::builder(""))?;
    scene.must("btrfs --quiet subvolume snapshot /var/lib/machines/debian /var/lib/machines/other")?;
    for name in ["one", "two"] {
        scene.must(&format!(
            "cd $(mktemp -d) && mkdir -p usr/lib/extension-release.d && echo ID=_any >usr/lib/extension-release.d/extension-release.{name}
             mksquashfs . /var/lib/bitbuilder/images/sysext/{name}.raw -quiet -no-progress -all-root"
        ))?;
    }
    scene.repository("web")?;
    scene.host.write("/srv/trees/web/scripts/pre-provision", "#!/bin/sh\ntrue\n")?;
    scene.must("chmod +x /srv/trees/web/scripts/pre-provision")?;
    scene.follow(&[])?;
    ensure!(scene.bitbuilder(&["sync", "--wait"])?.code == 0, "the host follows nothing");
    Ok(scene)
}

struct Life {
    scene: Scene,
    /// How often it has left.
    archived: Cell<usize>,
}

impl Life {
    /// Without a fault: each step of the plan is one call.
    fn in_peace(&self, chapter: &Chapter) -> Result<Known> {
        let revision = self.begin(chapter)?;
        let calls = self.scene.calls_of(command(chapter))?;
        self.ends(chapter, revision.as_deref(), "--boot --lines=all")?;
        let events: Value = serde_json::from_str(&self.scene.must("bitbuilder history web --json=short")?)?;
        let planned = events["events"].as_array().into_iter().flatten().rfind(|event| event["kind"] == "planned");
        let plan = planned.and_then(|event| event["plan"].as_array()).context("nothing was planned")?;
        let of_plan = plan.iter().map(|line| call_of(line.as_str().unwrap_or_default())).collect::<Result<Vec<_>>>()?;
        let sorted = |calls: &[String]| calls.iter().cloned().collect::<BTreeSet<String>>();
        ensure!(
            sorted(&of_plan) == sorted(&calls) && of_plan.len() == calls.len(),
            "{}: the plan {plan:#?} was done by {calls:?}",
            chapter.name
        );
        Ok(Known { calls, belongings: self.scene.belongings(chapter.staying())? })
    }

    fn live(&self, chapter: &Chapter, known: &Known, harm: Harm, round: Option<(&str, Moment)>) -> Result<()> {
        let cursor = self.scene.must("journalctl --lines=1 --output=cat --show-cursor | sed -n 's/^-- cursor: //p'")?;
        let mut since = format!("--after-cursor='{}'", cursor.trim());
        let revision = self.begin(chapter)?;
        match round {
            Some((call, moment)) => {
                self.scene.harm(harm, moment, call, command(chapter))?;
                if harm == Harm::PowerLoss {
                    since = "--boot --lines=all".to_owned();
                }
            }
            None => self.scene.must(command(chapter)).map(drop)?,
        }
        self.ends(chapter, revision.as_deref(), &since)?;
        if harm == Harm::PowerLoss {
            // What was made at boot stays until the units are made again.
            self.scene.must("systemctl daemon-reload")?;
        }
        self.scene.belongings(chapter.staying())?.expect(&known.belongings, chapter.name)
    }

    /// Pushes what the chapter is about. Returns the tenant's commit.
    fn begin(&self, chapter: &Chapter) -> Result<Option<String>> {
        let tenants: &[Registration] = if chapter.asks.is_some() { &[Registration::new("web")] } else { &[] };
        let revision = chapter.asks.as_ref().map(|asks| self.commit(chapter.name, asks)).transpose()?;
        if chapter.name == "create" || chapter.asks.is_none() {
            self.scene.open("system").commit(chapter.name, &[("tenants/registry.json", &registry(tenants))])?;
        }
        Ok(revision)
    }

    fn commit(&self, message: &str, asks: &Asks) -> Result<String> {
        let more = json!({
            "tenant": { "name": "web", "type": "container", "activation": asks.activation },
            "image": asks.image,
            "network": { "forward": [{ "host": asks.port, "tenant": 80 }] },
            "extensions": { "sysext": asks.sysext },
        });
        let config = "version: \"1.0\"\nverify: { healthy: 1s }\nretention: { grace: 0s }\nhooks: { pre-provision: scripts/pre-provision }\n";
        self.scene.open("web").commit(
            message,
            &[
                ("metadata.json", &manifest("web", &["hello.service"], &more)),
                ("units/hello.service", &service(&format!("sleep {}", asks.seconds))),
                (".gitops/config.yaml", config),
            ],
        )
    }

    /// The chapter ends well by itself, and a second look changes nothing.
    fn ends(&self, chapter: &Chapter, revision: Option<&str>, since: &str) -> Result<()> {
        let (Some(asks), Some(revision)) = (&chapter.asks, revision) else { return self.has_left(since) };
        self.scene.await_status(&format!("\"verified\":\"{revision}\""))?;
        let status = self.scene.expect_state("web", "verified")?;
        ensure!(self.scene.sync("web")?.code == 0, "a second look fails");
        let again = self.scene.expect_state("web", "verified")?;
        ensure!(status["generation"] == again["generation"], "a second look changes something: {status:#} {again:#}");
        let runs = self.scene.must("ps -eo args= | grep '^sleep 10000'")?;
        ensure!(runs == format!("sleep {}\n", asks.seconds), "another service runs: {runs}");
        if chapter.name == "create" {
            self.scene.must("systemd-run -M web --wait --quiet sh -c 'echo word >/srv/data/file'")?;
        }
        ensure!(self.scene.must("cat /var/lib/tenants/web/data/file")? == "word\n", "its data is another");
        Ok(())
    }

    fn has_left(&self, since: &str) -> Result<()> {
        self.scene.host.write(
            "/run/await-left",
            format!("grep --max-count=1 --fixed-strings 'nothing is left of it' < <(exec journalctl --follow --output=cat --unit=bitbuilder-orchestrator.service {since})"),
        )?;
        self.scene.must("timeout 60 bash /run/await-left")?;
        ensure!(self.scene.bitbuilder(&["sync", "--wait"])?.code == 0, "a second look fails");
        ensure!(self.scene.bitbuilder(&["status", "web"])?.code == 1, "it is still there");
        self.archived.set(self.archived.get() + 1);
        // One archive each time, with all that was there.
        let archives = self.scene.must(
            "cd /var/lib/bitbuilder/archive && sha256sum --check --quiet *.sha256 && ls -A | grep -v sha256
             for archive in *.zst; do tar --zstd -xOf $archive data/file; done | sort | uniq -c",
        )?;
        let count = self.archived.get();
        ensure!(
            archives.lines().count() == count + 1 && archives.ends_with(&format!("{count} word\n")),
            "there were {count} tenants: {archives}"
        );
        Ok(())
    }
}

fn command(chapter: &Chapter) -> &'static str {
    if chapter.name == "create" || chapter.asks.is_none() {
        "bitbuilder sync --wait"
    } else {
        "bitbuilder sync web --wait"
    }
}

/// Which call a step of a plan is made by.
fn call_of(step: &str) -> Result<String> {
    let words = step.split_whitespace().skip(1).collect::<Vec<_>>().join(" ");
    let found = CALLS.iter().find(|(begins, _)| words.starts_with(begins));
    let (_, call) = found.with_context(|| format!("nobody knows who does {step}"))?;
    Ok(if *call == "Tenant.Restart" && !words.starts_with("tenant-manager restart (") {
        "Tenant.RestartServices".to_owned()
    } else {
        (*call).to_owned()
    })
}
