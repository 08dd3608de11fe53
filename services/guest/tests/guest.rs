//! A tenant speaks with its guest service, which speaks with an orchestrator that knows three tenants and says too much.

#![allow(clippy::unwrap_used, reason = "a helper of tests fails as a test does")]

use guest::Guest;
use interfaces::{
    Method,
    orchestrator::{self, Error, List, Sync, TenantState, TenantStatus, Tenants},
};
use model::{TenantName, identity::Slot};
use runtime::{Answer, Call, Client, Identify, Options, Session, caller::HostUsers, serve_on};
use rustix::thread::{Gid, Uid, set_thread_groups, set_thread_res_gid, set_thread_res_uid};
use serde_json::{Value, json};
use std::{
    fs::{self, Permissions},
    io::{Read, Write},
    os::unix::{fs::PermissionsExt, net::UnixStream},
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::net::UnixListener;

const REVISION: &str = "0123456789012345678901234567890123456789";

/// An orchestrator that notes what it is asked.
#[derive(Clone, Default)]
struct Orchestrator {
    asked: Arc<Mutex<Vec<String>>>,
}

impl Orchestrator {
    fn note(&self, question: &impl std::fmt::Debug) {
        self.asked.lock().unwrap().push(format!("{question:?}"));
    }

    fn asked(&self) -> Vec<String> {
        std::mem::take(&mut *self.asked.lock().unwrap())
    }

    /// Whatever it is asked, it speaks of two tenants.
    async fn list(&self, wanted: List) -> Result<Vec<TenantStatus>, Error> {
        self.note(&wanted);
        match wanted.tenant.as_ref().map(TenantName::as_str) {
            Some("web") => Ok(vec![status("mail"), status("web")]),
            Some("lost") => Ok(vec![status("mail")]),
            Some("broken") => Err(Error::Failed { action: "read /var/lib/secret".into(), reason: "of mail".into() }),
            Some(_) | None => Err(Error::NoSuchTenant { tenant: "gone".parse().unwrap() }),
        }
    }

    async fn sync(&self, wanted: Sync) -> Result<Tenants, Error> {
        self.note(&wanted);
        Ok(Tenants { tenants: vec![status("mail")] })
    }
}

impl Session for Orchestrator {
    async fn call(&self, call: Call) -> Answer {
        match call.name() {
            List::NAME => call.list(|wanted: List| self.list(wanted), |tenants| Tenants { tenants }).await,
            Sync::NAME => call.answer(|wanted: Sync| self.sync(wanted)).await,
            _ => call.not_served(),
        }
    }
}

fn status(tenant: &str) -> TenantStatus {
    TenantStatus {
        tenant: tenant.parse().unwrap(),
        state: TenantState::Verified,
        wanted: Some(REVISION.parse().unwrap()),
        verified: None,
        generation: 4711,
        since_u_sec: 4711,
        address: Some([10, 88, 0, 2].into()),
        forwards: Vec::new(),
        reason: None,
        unconverged: Some("secret".into()),
        unreachable: Some("secret".into()),
        remotes: vec![],
        push_mirror: None,
        floor: Some("c".repeat(40).parse().unwrap()),
        floor_lost: true,
        unreachable_count: 4711,
        next_look_u_sec: Some(4711),
        not_in_effect: vec!["secret".into()],
        plan: vec!["secret".into()],
        suspended_since_u_sec: None,
        limits: Vec::new(),
        confirm_until_u_sec: None,
        sleep_after: None,
        leaving: None,
    }
}

struct World {
    directory: tempfile::TempDir,
    orchestrator: Orchestrator,
}

/// Serves for as long as the test runs.
fn serve<S: Session>(socket: &Path, options: Options, session: S) {
    let listener = UnixListener::bind(socket).unwrap();
    fs::set_permissions(socket, Permissions::from_mode(0o666)).unwrap();
    tokio::spawn(serve_on(vec![listener], options, session, std::future::pending()));
}

impl World {
    /// None where this process cannot be a tenant.
    fn new() -> Option<Self> {
        if !is_root() {
            test_host::skip("only root can connect as a tenant");
            return None;
        }
        let directory = tempfile::tempdir().unwrap();
        fs::set_permissions(directory.path(), Permissions::from_mode(0o755)).unwrap();
        Some(Self { directory, orchestrator: Orchestrator::default() })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn start_orchestrator(&self) {
        let options = Options::activated(&orchestrator::CONTRACT, Identify::Host(HostUsers::default()));
        serve(&self.path("io.bitbuilder.Orchestrator"), options, self.orchestrator.clone());
    }

    fn start_guest(&self, tenant: &str) {
        let name: TenantName = tenant.parse().unwrap();
        let options = guest::options(&name, &self.path("boot"));
        assert_eq!((options.largest_message, options.connections), (1 << 20, 32));
        serve(&self.path(tenant), options, Guest::of(name, &Client::in_directory(self.directory.path())));
    }

    fn record(&self, tenant: &str, slot: u16) {
        let spec = json!({"uids": Slot::new(slot).unwrap().uids(), "image": "debian"});
        fs::create_dir_all(self.path("boot")).unwrap();
        fs::write(self.path("boot").join(format!("{tenant}.json")), json!({"generation": 1, "spec": spec}).to_string())
            .unwrap();
    }

    /// A call on `tenant`'s socket by a thread that has this uid.
    async fn call(&self, uid: u32, tenant: &str, method: &str, parameters: Value) -> Value {
        let call =
            json!({"method": format!("io.bitbuilder.Guest.{method}"), "parameters": parameters}).to_string() + "\0";
        let socket = self.path(tenant);
        let (say, heard) = tokio::sync::oneshot::channel();
        // A thread of its own, because it cannot be trusted with anything else afterwards.
        std::thread::spawn(move || {
            set_thread_groups(&[]).unwrap();
            let (gid, uid) = (Gid::from_raw(uid), Uid::from_raw(uid));
            set_thread_res_gid(gid, gid, gid).unwrap();
            set_thread_res_uid(uid, uid, uid).unwrap();
            let mut stream = UnixStream::connect(socket).unwrap();
            stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
            stream.write_all(call.as_bytes()).unwrap();
            let (mut reply, mut byte) = (Vec::new(), [0]);
            while stream.read(&mut byte).unwrap() == 1 && byte != [0] {
                reply.push(byte[0]);
            }
            say.send(serde_json::from_slice(&reply).unwrap()).unwrap();
        });
        heard.await.unwrap()
    }
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

fn first_uid(slot: u16) -> u32 {
    Slot::new(slot).unwrap().uids().first
}

fn unavailable(reason: &str) -> Value {
    json!({"error": "io.bitbuilder.Guest.Unavailable", "parameters": {"reason": reason}})
}

fn denied() -> Value {
    json!({"error": "org.varlink.service.PermissionDenied", "parameters": {}})
}

#[tokio::test]
async fn a_tenant_sees_itself_and_what_the_contract_says() {
    let Some(world) = World::new() else { return };
    world.record("web", 3);
    world.start_orchestrator();
    world.start_guest("web");
    let expected = json!({"parameters": {
        "tenant": "web", "state": "verified", "wanted": REVISION, "verified": null, "address": "10.88.0.2", "reason": null,
    }});
    for uid in [first_uid(3), first_uid(3) + 1000, first_uid(4) - 1] {
        assert_eq!(world.call(uid, "web", "Describe", json!({})).await, expected);
    }
    let question = format!("{:?}", List { tenant: Some("web".parse().unwrap()) });
    assert_eq!(world.orchestrator.asked(), vec![question; 3]);
    assert_eq!(world.call(first_uid(3), "web", "Sync", json!({})).await, json!({"parameters": {}}));
    let question = format!("{:?}", Sync { tenant: Some("web".parse().unwrap()), wait: Some(false), poll: None });
    assert_eq!(world.orchestrator.asked(), [question]);
}

#[tokio::test]
async fn nobody_else_gets_past_the_gate() {
    let Some(world) = World::new() else { return };
    world.record("web", 3);
    world.record("mail", 4);
    world.start_orchestrator();
    world.start_guest("web");
    for uid in [first_uid(4), first_uid(4) + 1000, first_uid(3) - 1, 1, 1000, 65534] {
        for method in ["Describe", "Sync"] {
            assert_eq!(world.call(uid, "web", method, json!({})).await, denied(), "{uid} {method}");
            assert_eq!(world.call(uid, "web", method, json!({"tenant": "mail"})).await, denied(), "{uid} {method}");
        }
    }
    // The tenant itself cannot speak of another.
    let other = world.call(first_uid(3), "web", "Describe", json!({"tenant": "mail"})).await;
    assert_eq!(other, json!({"error": "org.varlink.service.InvalidParameter", "parameters": {"parameter": "tenant"}}));
    assert_eq!(world.orchestrator.asked(), Vec::<String>::new());
}

#[tokio::test]
async fn the_tenant_is_known_by_what_it_runs_as_now() {
    let Some(world) = World::new() else { return };
    world.start_orchestrator();
    world.start_guest("web");
    assert_eq!(world.call(first_uid(3), "web", "Sync", json!({})).await, denied());
    world.record("web", 3);
    assert_eq!(world.call(first_uid(3), "web", "Sync", json!({})).await, json!({"parameters": {}}));
    world.record("web", 5);
    assert_eq!(world.call(first_uid(3), "web", "Sync", json!({})).await, denied());
    assert_eq!(world.call(first_uid(5), "web", "Sync", json!({})).await, json!({"parameters": {}}));
}

#[tokio::test]
async fn a_tenant_learns_nothing_of_the_host_from_an_error() {
    let Some(world) = World::new() else { return };
    for (slot, tenant) in ["web", "lost", "broken", "gone"].into_iter().enumerate() {
        world.record(tenant, u16::try_from(slot).unwrap());
        world.start_guest(tenant);
    }
    for method in ["Describe", "Sync"] {
        let reply = world.call(first_uid(0), "web", method, json!({})).await;
        assert_eq!(reply, unavailable("the orchestrator does not answer"));
    }
    world.start_orchestrator();
    let describe = async |slot, tenant| world.call(first_uid(slot), tenant, "Describe", json!({})).await;
    assert_eq!(describe(0, "web").await["parameters"]["tenant"], json!("web"));
    assert_eq!(describe(1, "lost").await, unavailable("this tenant is not registered"));
    assert_eq!(describe(2, "broken").await, unavailable("something on the host failed"));
    assert_eq!(describe(3, "gone").await, unavailable("this tenant is not registered"));
}

#[tokio::test]
async fn an_argument_that_is_no_tenant_is_refused() {
    for argument in ["", "system", "a/b", "../web"] {
        let error = guest::serve(argument.to_owned()).await.unwrap_err();
        assert!(matches!(error, guest::GuestError::Tenant(_)), "{argument}: {error}");
    }
}
