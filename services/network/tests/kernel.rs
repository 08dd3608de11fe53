//! The firewall on the real kernel: packets between namespaces that the test makes itself. Needs root, nft(8) and ip(8).

#![allow(clippy::unwrap_used, reason = "a test ends where something is not as it must be")]

use model::{Forward, NetworkSpec, Protocol, TenantName, identity::Slot, network::Port};
use network::{
    links::Netlink,
    machine::{Kernel, Machine},
    places::Places,
    table::Table,
};
use nix::sched::{CloneFlags, setns, unshare};
use std::{
    fs::File,
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream, UdpSocket},
    os::fd::AsRawFd,
    process::Command,
    sync::Arc,
    thread,
    time::Duration,
};

const PATIENCE: Duration = Duration::from_millis(700);

/// A network namespace, for as long as its file is open.
#[derive(Clone)]
struct Namespace(Arc<File>);

impl Namespace {
    fn new() -> nix::Result<Self> {
        let made = thread::spawn(|| {
            unshare(CloneFlags::CLONE_NEWNET)?;
            Ok(Self(Arc::new(File::open("/proc/thread-self/ns/net").unwrap())))
        });
        made.join().unwrap()
    }

    /// Does something in it, on a thread of its own; programs that it runs are in it too.
    fn run<T: Send + 'static>(&self, action: impl FnOnce() -> T + Send + 'static) -> T {
        let namespace = self.clone();
        let thread = thread::spawn(move || {
            setns(&*namespace.0, CloneFlags::CLONE_NEWNET).unwrap();
            action()
        });
        thread.join().unwrap()
    }

    /// Runs lines of ip(8) and of `file = value` for files below /proc/sys/net.
    fn set_up(&self, lines: &str) {
        let lines = lines.to_owned();
        self.run(move || {
            for line in lines.lines().map(str::trim).filter(|line| !line.is_empty()) {
                if let Some((file, value)) = line.split_once(" = ") {
                    File::create(format!("/proc/sys/net/{file}")).unwrap().write_all(value.as_bytes()).unwrap();
                } else {
                    run("ip", line);
                }
            }
        });
    }

    fn path(&self) -> String {
        format!("/proc/{}/fd/{}", std::process::id(), self.0.as_raw_fd())
    }

    /// Answers each TCP connection to this address, and each UDP packet, with `name`.
    fn serve(&self, address: &str, name: &'static str) {
        let address: SocketAddr = address.parse().unwrap();
        self.run(move || {
            let (tcp, udp) = (TcpListener::bind(address).unwrap(), UdpSocket::bind(address).unwrap());
            thread::spawn(move || {
                while let Ok((mut stream, _)) = tcp.accept() {
                    let _hung_up = stream.write_all(name.as_bytes());
                }
            });
            thread::spawn(move || {
                while let Ok((_, peer)) = udp.recv_from(&mut [0; 16]) {
                    let _no_route = udp.send_to(name.as_bytes(), peer);
                }
            });
        });
    }

    /// Who answers at this address over TCP.
    fn call(&self, address: &str) -> Option<String> {
        let address: SocketAddr = address.parse().unwrap();
        self.run(move || {
            let mut stream = TcpStream::connect_timeout(&address, PATIENCE).ok()?;
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
            let mut text = String::new();
            stream.read_to_string(&mut text).ok()?;
            Some(text)
        })
    }

    /// Who answers at this address over UDP, asked from `source`.
    fn ask(&self, source: &'static str, address: &str) -> Option<String> {
        let address: SocketAddr = address.parse().unwrap();
        self.run(move || {
            let socket = UdpSocket::bind((source, 0)).unwrap();
            socket.set_read_timeout(Some(PATIENCE)).unwrap();
            socket.send_to(b"?", address).ok()?;
            let mut text = [0; 16];
            let (read, _) = socket.recv_from(&mut text).ok()?;
            Some(String::from_utf8_lossy(&text[..read]).into_owned())
        })
    }

    /// Awaits something in it.
    fn block_on<T: Send + 'static, F: Future<Output = T>>(&self, action: impl FnOnce() -> F + Send + 'static) -> T {
        self.run(|| tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(action()))
    }
}

fn run(program: &str, arguments: &str) {
    #[allow(clippy::disallowed_methods)] // a test's own
    let output = Command::new(program).args(arguments.split_whitespace()).output().unwrap();
    assert!(output.status.success(), "{program} {arguments}: {}", String::from_utf8_lossy(&output.stderr));
}

fn present(program: &str) -> bool {
    #[allow(clippy::disallowed_methods)] // a test's own
    Command::new(program).arg("-V").output().is_ok()
}

fn place(slot: u16, forwards: &[(Protocol, i64, i64)]) -> NetworkSpec {
    let slot = Slot::new(slot).unwrap();
    let port = |number| Port::try_from(number).unwrap();
    let forward = |&(protocol, host, tenant)| Forward { host: port(host), tenant: port(tenant), protocol };
    NetworkSpec {
        bridge: slot.bridge(),
        gateway: slot.gateway(),
        prefix_length: model::identity::PREFIX_LENGTH,
        address: slot.address(),
        mac: slot.mac(),
        forwards: forwards.iter().map(forward).collect(),
        on_demand: false,
    }
}

/// A host with an uplink to the outside, and two tenants on bridges as systemd-networkd and nspawn would make them.
struct World {
    host: Namespace,
    outside: Namespace,
    web: Namespace,
    mail: Namespace,
    places: Places,
}

impl World {
    fn new() -> Option<Self> {
        let missing = ["nft", "ip"].into_iter().find(|program| !present(program));
        if let Some(program) = missing {
            test_host::skip(&format!("{program} is not installed"));
            return None;
        }
        let Ok(host) = Namespace::new() else {
            test_host::skip("a network namespace needs root");
            return None;
        };
        let [outside, web, mail] = [(); 3].map(|()| Namespace::new().unwrap());
        let name = |text: &str| text.parse::<TenantName>().unwrap();
        let places = Places::from([
            (name("web"), place(0, &[(Protocol::Tcp, 8080, 80), (Protocol::Udp, 8080, 80)])),
            (name("mail"), place(1, &[(Protocol::Tcp, 8081, 80)])),
        ]);
        host.set_up(&format!(
            "link set lo up
            ipv4/ip_forward = 1
            link add up0 type veth peer name out0 netns {}
            address add 192.0.2.1/24 dev up0
            link set up0 up",
            outside.path()
        ));
        outside.set_up(
            "link set lo up
            address add 192.0.2.2/24 dev out0
            link set out0 up
            route add 10.88.0.0/16 via 192.0.2.1",
        );
        for (namespace, spec) in [(&web, &places[&name("web")]), (&mail, &places[&name("mail")])] {
            let NetworkSpec { bridge, gateway, prefix_length, address, mac, .. } = spec;
            host.set_up(&format!(
                "link add {bridge} type bridge
                address add {gateway}/{prefix_length} dev {bridge}
                link set {bridge} up
                ipv4/conf/{bridge}/route_localnet = 1
                link add vb-{address} type veth peer name host0 address {mac} netns {}
                link set vb-{address} master {bridge} up",
                namespace.path()
            ));
            namespace.set_up(&format!(
                "link set lo up
                address add {address}/{prefix_length} dev host0
                link set host0 up
                route add default via {gateway}"
            ));
        }
        web.serve("0.0.0.0:80", "web");
        mail.serve("0.0.0.0:80", "mail");
        host.serve("0.0.0.0:9000", "host");
        outside.serve("0.0.0.0:80", "outside");
        Some(Self { host, outside, web, mail, places })
    }

    /// The table of these places, remembered in a directory that lasts as long as it.
    fn fill(&self) -> (Table, tempfile::TempDir) {
        let directory = tempfile::tempdir().unwrap();
        let table = Table::remembered_in(&directory.path().join("firewall"));
        assert!(self.ensure(&table, &self.places));
        (table, directory)
    }

    fn ensure(&self, table: &Table, places: &Places) -> bool {
        let (table, places) = (table.clone(), places.clone());
        self.host.block_on(|| async move { table.ensure(&Kernel::default(), &places).await.unwrap() })
    }
}

fn answer(name: &str) -> Option<String> {
    Some(name.to_owned())
}

#[test]
fn forwarded_ports_answer_everywhere() {
    let Some(world) = World::new() else { return };
    assert_eq!(world.host.call("127.0.0.1:8080"), None, "nothing answers before the table is there");
    let _table = world.fill();
    for address in ["127.0.0.1:8080", "192.0.2.1:8080", "10.88.0.1:8080"] {
        assert_eq!(world.host.call(address), answer("web"), "{address} from the host");
    }
    assert_eq!(world.host.call("127.0.0.1:8081"), answer("mail"));
    assert_eq!(world.outside.call("192.0.2.1:8080"), answer("web"));
    assert_eq!(world.outside.call("192.0.2.1:8081"), answer("mail"));
    assert_eq!(world.outside.ask("0.0.0.0", "192.0.2.1:8080"), answer("web"));
    assert_eq!(world.mail.call("192.0.2.1:8080"), answer("web"), "from another tenant by the forwarded port");
    assert_eq!(world.outside.ask("0.0.0.0", "192.0.2.1:8081"), None, "only tcp is forwarded");
}

#[test]
fn tenants_reach_the_outside_and_nothing_else() {
    let Some(world) = World::new() else { return };
    let _table = world.fill();
    assert_eq!(world.web.call("192.0.2.2:80"), answer("outside"));
    assert_eq!(world.outside.call("10.88.0.2:80"), None, "from outside past the forwarded port");
    assert_eq!(world.web.call("10.88.0.10:80"), None, "another tenant");
    for address in ["10.88.0.1:9000", "10.88.0.9:9000", "192.0.2.1:9000"] {
        assert_eq!(world.web.call(address), None, "the host at {address}");
    }
    assert_eq!(world.host.call("192.0.2.1:9000"), answer("host"));
    assert_eq!(world.outside.call("192.0.2.1:9000"), answer("host"), "what is not a tenant's is left alone");
}

#[test]
fn nobody_speaks_as_somebody_else() {
    let Some(world) = World::new() else { return };
    world.web.set_up("address add 10.88.0.3/29 dev host0");
    assert_eq!(world.web.ask("10.88.0.3", "192.0.2.1:9000"), answer("host"), "without the table it can");
    let _table = world.fill();
    assert_eq!(world.web.ask("10.88.0.3", "192.0.2.2:80"), None);
    assert_eq!(world.web.ask("10.88.0.2", "192.0.2.2:80"), answer("outside"));
}

#[test]
fn the_host_s_loopback_is_its_own() {
    let Some(world) = World::new() else { return };
    // A tenant that routes 127.0.0.1 to its gateway.
    world.web.set_up(
        "ipv4/conf/all/route_localnet = 1
        route del local 127.0.0.1 dev lo table local
        route del local 127.0.0.0/8 dev lo table local
        route add 127.0.0.1 via 10.88.0.1 src 10.88.0.2",
    );
    // What arrives counts, whether or not an answer finds its way back.
    let arrives = || {
        let socket = world.host.run(|| UdpSocket::bind("127.0.0.1:9001").unwrap());
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        world.web.run(|| {
            let sent = UdpSocket::bind("10.88.0.2:0").unwrap().send_to(b"?", "127.0.0.1:9001");
            assert!(sent.is_ok(), "{sent:?}");
        });
        socket.recv_from(&mut [0; 16]).is_ok()
    };
    assert!(arrives(), "without the table it gets there");
    let _table = world.fill();
    assert!(!arrives());
}

#[test]
fn the_table_is_replaced_repaired_and_removed() {
    let Some(world) = World::new() else { return };
    let (table, _directory) = world.fill();
    assert!(!world.ensure(&table, &world.places), "it is as it was written");
    let tampering = [
        "delete table inet bitbuilder",
        "delete element inet bitbuilder forwards { tcp . 8080 }",
        "add element inet bitbuilder tenants { bb-00000000 . 192.0.2.7 }",
        "insert rule inet bitbuilder routed accept",
        "flush chain inet bitbuilder from-tenant",
    ];
    for line in tampering {
        world.host.run(move || run("nft", line));
        assert!(world.ensure(&table, &world.places), "{line}");
        assert!(!world.ensure(&table, &world.places), "{line}");
        assert_eq!(world.host.call("127.0.0.1:8080"), answer("web"), "{line}");
    }
    let mut fewer = world.places.clone();
    fewer.remove("mail");
    assert!(world.ensure(&table, &fewer));
    assert_eq!(world.host.call("127.0.0.1:8081"), None);
    assert_eq!(world.host.call("127.0.0.1:8080"), answer("web"));
    assert!(world.ensure(&table, &Places::new()));
    assert!(!world.ensure(&table, &Places::new()));
    let left = world.host.block_on(|| async { Kernel::default().table().await.unwrap() });
    assert_eq!(left, None);
}

#[test]
fn links_are_seen_awaited_and_deleted() {
    let Some(world) = World::new() else { return };
    let (one, later) = (place(0, &[]), place(5, &[]));
    let maker = world.host.clone();
    world.host.block_on(|| async move {
        let mut netlink = Netlink::open().unwrap();
        assert!(netlink.links().await.unwrap().hold(&one));
        assert!(netlink.delete(&one.bridge).await.unwrap());
        assert!(!netlink.delete(&one.bridge).await.unwrap());
        assert!(!netlink.wait(Duration::from_millis(50), |links| links.hold(&one)).await.unwrap());
        let NetworkSpec { bridge, gateway, prefix_length, .. } = later.clone();
        let made = thread::spawn(move || {
            maker.set_up(&format!(
                "link add {bridge} type bridge
                address add {gateway}/{prefix_length} dev {bridge}
                link set {bridge} up"
            ));
        });
        assert!(netlink.wait(Duration::from_secs(10), |links| links.hold(&later)).await.unwrap());
        made.join().unwrap();
    });
}
