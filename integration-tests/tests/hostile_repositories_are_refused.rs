//! Trees, references, packs and addresses that are made to do harm, each pushed to a tenant that runs: refused with a reason,
//! in bounded time, memory and room, and nobody else is disturbed. What is only odd runs and does nothing.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

#[path = "hostile_repositories/addresses.rs"]
mod addresses;
#[path = "hostile_repositories/packs.rs"]
mod packs;
#[path = "hostile_repositories/table.rs"]
mod table;
#[path = "hostile_repositories/trees.rs"]
mod trees;

use anyhow::{Context as _, Result, ensure};
use integration_tests::{Registration, Scene, manifest};
use serde_json::{Value, json};
use std::{
    fmt::Write as _,
    time::{Duration, Instant},
};
use table::{Expected, Row};
use test_host::Host;

const OBJECTS: &str = include_str!("hostile_repositories/objects.py");
/// What a row may take, its tenant's restart with it.
const LONGEST: Duration = Duration::from_secs(30);
/// What git-sync and its children may use together, in KiB.
const MOST_MEMORY: u64 = 256 << 10;
/// What all repositories may take on disk, in MiB.
const MOST_ROOM: u64 = 256;

/// Git's own server, but for packs that somebody made by hand (git-config(1), uploadpack.packObjectsHook).
const PACK_OBJECTS: &str =
    "#!/bin/sh\nif test -e evil.pack; then cat >/dev/null; exec cat evil.pack; fi\nexec \"$@\"\n";

/// Lets the branch name what a row made, as no push would, and converges.
const TURN: &str = r#"#!/bin/bash
cd /srv/git/web && rm -rf refs/heads/main evil.pack packed-refs
tip=$(cat /srv/rows/$1.tip)
case $tip in
'') ;;
directory) mkdir -p refs/heads/main && cp /srv/rows/first refs/heads/main/x ;;
*) echo "$tip" > refs/heads/main ;;
esac
test ! -e /srv/rows/$1.pack || ln /srv/rows/$1.pack evil.pack
timeout 100 bitbuilder sync web --wait --json=short >/dev/null 2>/run/said
code=$?
git rev-parse --verify --quiet "$tip^{commit}" || echo none
systemctl show --property=ExecMainPID --value bitbuilder-container@{web,mail}.service
bitbuilder status web --json=short
exit $code
"#;

/// Lets the system repository's registry be another, and looks at it.
const REGISTRY: &str = r#"#!/bin/bash
cd /srv/trees/system
sed --quiet $1p /srv/rows/registries > tenants/registry.json
git commit --quiet --all --message="Row $1" && git push --quiet origin HEAD:main
timeout 60 bitbuilder sync system --wait >/dev/null 2>&1
code=$?
bitbuilder status --json=short
exit $code
"#;

/// Repositories of this host that are made to run something when Git serves them (CVE-2022-24765, CVE-2024-32004, CVE-2024-32465).
const LOCAL: &str = r#"
cd /srv/git
git clone --quiet --bare web hooked
for hook in post-checkout post-merge post-upload-pack pre-receive reference-transaction fsmonitor-watchman; do
    printf '#!/bin/sh\ntouch /run/canary /var/lib/bitbuilder/git/hooked/canary\n' > hooked/hooks/$hook && chmod 755 hooked/hooks/$hook
done
for setting in core.fsmonitor core.sshCommand core.pager core.editor uploadpack.packObjectsHook filter.x.smudge alias.upload-pack; do
    git -C hooked config $setting 'touch /run/canary /var/lib/bitbuilder/git/hooked/canary'
done
git init --quiet --bare --initial-branch=main promisor
python3 - <<'MAKE'
import sys
sys.path.insert(0, "/srv/rows")
from objects import *
absent = Repository("/srv/git/promisor")
absent.base = "6" * 40
absent.reference("refs/heads/main", absent.commit("5" * 40))
MAKE
cd promisor
git config core.repositoryFormatVersion 1 && git config extensions.partialClone evil && git config protocol.ext.allow always
git config remote.evil.promisor true && git config remote.evil.url 'ext::sh -c touch% /var/lib/bitbuilder/git/promisor/canary'
"#;

/// Takes the place of Git's own program for a moment, and does what no repository may: what it leaves is seen.
const CONTROL: &str = r#"
set -e
cd /usr/bin && mv git-upload-pack git-upload-pack.real
printf '#!/bin/sh\ntouch /run/canary /var/lib/bitbuilder/git/hooked/canary\nexec git upload-pack "$@"\n' > git-upload-pack
chmod 755 git-upload-pack
setpriv --reuid=bitbuilder --regid=bitbuilder --init-groups varlinkctl call /run/bitbuilder/io.bitbuilder.GitSync \
    io.bitbuilder.GitSync.Fetch '{"repository":"hooked","url":"file:///srv/git/web","reference":"refs/heads/main"}' >/dev/null
mv git-upload-pack.real git-upload-pack
"#;
/// What a payload leaves.
const CANARIES: &str = "ls -d /run/canary /var/lib/bitbuilder/git/*/canary 2>/dev/null || true";

/// Writes down the most memory that the service and its children have used at once, in KiB, and the most room that all
/// repositories took, in MiB.
const SAMPLER: &str = r#"
import glob, os, sys, time
procs = "/sys/fs/cgroup" + sys.argv[1] + "/cgroup.procs"
most, most_room, rounds = 0, 0, 0
def keep(name, number):
    open(f"/run/{name}.new", "w").write(str(number))
    os.rename(f"/run/{name}.new", f"/run/{name}")
def room(directory):
    try:
        entries = list(os.scandir(directory))
    except OSError:
        return 0
    total = 0
    for entry in entries:
        try:
            total += entry.stat(follow_symlinks=False).st_blocks * 512
        except OSError:
            continue
        if entry.is_dir(follow_symlinks=False):
            total += room(entry.path)
    return total
while not os.path.exists("/run/sampled"):
    now = 0
    try:
        pids = open(procs).read().split()
    except OSError:
        pids = []
    for pid in pids:
        try:
            fields = dict(line.split(":", 1) for line in open(f"/proc/{pid}/smaps_rollup").read().splitlines()[1:])
            now += int(fields["Pss"].split()[0])
        except (OSError, KeyError):
            pass
    if now > most:
        most = now
        keep("most", most)
    # A tree of thousands of files takes longer to look through than to write.
    if rounds % 20 == 0:
        taken = room("/var/lib/bitbuilder/git") >> 20
        if taken > most_room:
            most_room = taken
            keep("most-room", most_room)
    rounds += 1
    time.sleep(0.005)
"#;

#[derive(Default)]
struct Turn {
    code: i32,
    /// The commit that the branch names, or that its tag does.
    tip: String,
    /// The process of each tenant: the hostile one's and another's.
    processes: Vec<String>,
    status: Value,
    took: Duration,
}

fn turn(scene: &Scene, row: usize) -> Result<Turn> {
    let begun = Instant::now();
    let output = scene.host.run(&["bash", "/srv/rows/turn", &row.to_string()])?;
    let took = begun.elapsed();
    let mut lines: Vec<&str> = output.stdout.lines().filter(|line| !line.is_empty()).collect();
    let status = lines.pop().with_context(|| format!("no status: {output:?}"))?;
    let status = serde_json::from_str(status).with_context(|| format!("not JSON: {output:?}"))?;
    ensure!(!lines.is_empty(), "no tip: {output:?}");
    let tip = lines.remove(0).to_owned();
    Ok(Turn { code: output.code, tip, processes: lines.into_iter().map(str::to_owned).collect(), status, took })
}

/// What is wrong with what became of a row, if anything is.
fn fault(row: &Row, turn: &Turn, before: &Turn) -> Option<String> {
    let Turn { code, tip, processes, status, took } = turn;
    let text = |field: &str| status[field].as_str().unwrap_or_default().to_owned();
    let stays = processes == &before.processes && status["verified"] == before.status["verified"];
    let untouched = processes.get(1) == before.processes.get(1);
    // What is said is said of this row's commit, and not of the one before.
    let is_its = status["wanted"].as_str() == (tip != "none").then_some(tip.as_str());
    let right = match row.expected {
        Expected::Refused(says) => {
            *code == 3 && is_its && text("state") == "refused" && text("reason").contains(says) && stays
        }
        Expected::NotFetched(says) => {
            *code != 0 && text("unreachable").contains(says) && text("unreachable").len() < 600 && stays
        }
        Expected::Runs => {
            *code == 0 && is_its && status["verified"] == status["wanted"] && text("state") == "verified" && untouched
        }
    };
    (!right || *took > LONGEST).then(|| {
        format!(
            "{}: {:?}, but {code} after {took:?}: {} {processes:?} of {tip}: {}",
            row.name,
            row.expected,
            shown(status),
            status["wanted"]
        )
    })
}

#[test]
fn and_nobody_is_disturbed() -> Result<()> {
    let scene = Scene::boot(Host::builder(""))?;
    let metadata = manifest("web", &[], &json!({}));
    let first = scene.repository("web")?.commit("First", &[("metadata.json", &metadata)])?;
    let mail = scene.repository("mail")?;
    mail.commit("First", &[("metadata.json", &manifest("mail", &[], &json!({})))])?;
    scene.follow(&[Registration::new("web"), Registration::new("mail")])?;
    assert_eq!(scene.bitbuilder(&["sync", "--wait"])?.code, 0);

    scene.must(CONTROL)?;
    assert_eq!(scene.must(CANARIES)?, "/var/lib/bitbuilder/git/hooked/canary\n", "what is planted is not seen");
    scene.must("rm /var/lib/bitbuilder/git/hooked/canary")?;

    let rows: Vec<Row> = trees::ROWS.iter().chain(packs::ROWS).copied().collect();
    prepare(&scene, &rows, &first)?;
    let mut faults = Vec::new();
    let push_mail = |word: &str| -> Result<Duration> {
        let begun = Instant::now();
        mail.commit(word, &[("word", word)])?;
        assert_eq!(scene.sync("mail")?.code, 0);
        Ok(begun.elapsed())
    };
    let mut before = Turn { status: scene.status("web")?, processes: processes(&scene)?, ..Turn::default() };
    for (number, row) in rows.iter().enumerate() {
        let now = if row.name == packs::LONG {
            // Meanwhile another tenant's push goes through, about as fast as without.
            let usual = push_mail("Before")?;
            std::thread::scope(|scope| {
                let turn = scope.spawn(|| turn(&scene, number));
                let took = push_mail("Meanwhile")?;
                println!("another tenant's push took {took:?}, and usually {usual:?}");
                assert!(took < usual * 4 + Duration::from_secs(5), "{took:?} in place of {usual:?}");
                before.processes = processes(&scene)?;
                turn.join().unwrap()
            })?
        } else {
            turn(&scene, number)?
        };
        println!("{:60} {:6.2} s  {}", row.name, now.took.as_secs_f32(), shown(&now.status));
        faults.extend(fault(row, &now, &before));
        if now.status["state"] == "verified" {
            before = now;
        }
    }
    let most: u64 = scene.must("touch /run/sampled; cat /run/most")?.trim().parse()?;
    let room: u64 = scene.must("cat /run/most-room")?.trim().parse()?;
    let left = scene
        .must("ls --almost-all /var/lib/bitbuilder/git/web /var/lib/bitbuilder/git/web/checkouts | grep '^\\.' || :")?;
    println!("at most {} MiB of memory, at most {room} MiB of room", most >> 10);
    faults.extend(registries(&scene)?);
    local(&scene)?;
    assert!(faults.is_empty(), "{} of {} rows:\n{}", faults.len(), rows.len(), faults.join("\n"));
    assert_eq!(left, "", "something half made is left");
    assert!(most < MOST_MEMORY, "{most} KiB");
    assert!(room < MOST_ROOM, "{room} MiB");
    assert_eq!(scene.must(CANARIES)?, "", "something of a repository was run");
    Ok(())
}

/// Makes each row's objects, and has the server send what is prepared.
fn prepare(scene: &Scene, rows: &[Row], first: &str) -> Result<()> {
    let mut make = format!(
        "import functools\nfrom objects import *\nserver = Server('/srv/git/web')\nserver.base = '{first}'\n\
         server.metadata = open('/srv/trees/web/metadata.json', 'rb').read()\n\
         globals().update((name, getattr(server, name)) for name in dir(server) if not name.startswith('_'))\n"
    );
    for (number, row) in rows.iter().enumerate() {
        let runs = if matches!(row.expected, Expected::Runs) { "True" } else { "False" };
        writeln!(make, "server.write({number}, lambda: {}, {runs})", row.made)?;
    }
    let files = [
        ("objects.py", OBJECTS),
        ("make.py", &make),
        ("turn", TURN),
        ("registry", REGISTRY),
        ("sampler.py", SAMPLER),
        ("first", first),
        ("pack-objects", PACK_OBJECTS),
    ];
    for (name, content) in files {
        scene.host.write(&format!("/srv/rows/{name}"), content)?;
    }
    scene.must(
        "chmod +x /srv/rows/pack-objects && python3 /srv/rows/make.py
         git config --system uploadpack.packObjectsHook /srv/rows/pack-objects
         # One that is idle has ended, and has no control group then.
         systemctl start bitbuilder-git-sync.service
         systemd-run --quiet --unit=sampler python3 /srv/rows/sampler.py \"$(systemctl show --property=ControlGroup --value bitbuilder-git-sync.service)\"",
    )?;
    Ok(())
}

/// A registry with an entry that names what it may not is refused whole, at the entry's line, and the one before goes on.
fn registries(scene: &Scene) -> Result<Vec<String>> {
    let addresses =
        addresses::ADDRESSES.iter().map(|address| (json!({ "repository": address }), "a repository address"));
    let references = addresses::REFERENCES
        .iter()
        .map(|reference| (json!({ "repository": "git://127.0.0.1/web", "reference": reference }), "a reference"));
    let rows: Vec<_> = addresses.chain(references).collect();
    let mut lines = String::new();
    for (entry, _) in &rows {
        let mut entry = entry.clone();
        entry["name"] = json!("evil");
        let tenants =
            ["web", "mail"].map(|name| json!({ "name": name, "repository": format!("git://127.0.0.1/{name}") }));
        writeln!(lines, "{}", json!({ "version": "1.0", "tenants": [tenants[0], tenants[1], entry] }))?;
    }
    scene.host.write("/srv/rows/registries", &lines)?;
    let (begun, processes_before) = (Instant::now(), processes(scene)?);
    let followed = scene.must("bitbuilder status --json=short | jq --raw-output .host.revision")?;
    let mut faults = Vec::new();
    for (number, (entry, what)) in rows.iter().enumerate() {
        let output = scene.host.run(&["bash", "/srv/rows/registry", &(number + 1).to_string()])?;
        let status: Value = serde_json::from_str(&output.stdout).with_context(|| format!("not JSON: {output:?}"))?;
        let (reason, revision) = (&status["host"]["reason"], &status["host"]["revision"]);
        let reason = reason.as_str().unwrap_or_default();
        println!("{entry:60}  {}", reason.lines().next().unwrap_or_default());
        let said = reason.contains(what) && reason.contains("system:tenants/registry.json:1:");
        if output.code != 3 || !said || revision.as_str() != Some(followed.trim()) {
            faults.push(format!("{entry}: {} {status}", output.code));
        }
    }
    println!("{} registries in {:?}", rows.len(), begun.elapsed());
    assert_eq!(processes(scene)?, processes_before);
    Ok(faults)
}

/// Repositories at file:// addresses, which Git serves as our own user.
fn local(scene: &Scene) -> Result<()> {
    scene.must(LOCAL)?;
    scene.must("rm -f /srv/git/web/evil.pack && cp /srv/rows/first /srv/git/hooked/refs/heads/main")?;
    let names = ["web", "mail"].map(|name| json!({ "name": name, "repository": format!("git://127.0.0.1/{name}") }));
    let local =
        ["hooked", "promisor"].map(|name| json!({ "name": name, "repository": format!("file:///srv/git/{name}") }));
    let entries: Vec<_> = names.iter().chain(&local).collect();
    let registry = json!({ "version": "1.0", "tenants": entries }).to_string();
    scene.open("system").commit("Local repositories", &[("tenants/registry.json", &registry)])?;
    scene.bitbuilder(&["sync", "system", "--wait"])?;
    // Its metadata.json is web's.
    let hooked = scene.expect_state("hooked", "refused")?;
    assert!(hooked["reason"].as_str().unwrap().contains("metadata.json"), "{hooked:#}");
    let promisor = scene.expect_state("promisor", "pending")?;
    assert!(promisor["unreachable"].as_str().is_some_and(|reason| !reason.is_empty()), "{promisor:#}");
    Ok(())
}

/// The first process of the tenant with the evil repository, and of the other.
fn processes(scene: &Scene) -> Result<Vec<String>> {
    let shown = scene.must("systemctl show --property=ExecMainPID --value bitbuilder-container@{web,mail}.service")?;
    Ok(shown.lines().filter(|line| !line.is_empty()).map(str::to_owned).collect())
}

fn shown(status: &Value) -> String {
    let text = status["unreachable"].as_str().or_else(|| status["reason"].as_str()).unwrap_or_default();
    format!("{} {}", status["state"].as_str().unwrap_or_default(), text.replace('\n', " "))
}
