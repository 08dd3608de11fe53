//! What is answered to whom: the Varlink protocol over a real socket.

#![allow(clippy::unwrap_used, reason = "a helper of tests fails as a test does")]

mod common;

use common::{
    ENSURE, Event, LIST, NOBODY, PING, Server, ensure, may_be_others, message, more, oneway, options, refusal,
};
use serde_json::{Value, json};

fn tenants(reply: &Value) -> Vec<&str> {
    reply["parameters"]["volumes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|volumes| volumes["tenant"].as_str().unwrap())
        .collect()
}

#[test]
fn a_call_has_one_reply() {
    let server = Server::start(options());
    let mut peer = server.connect();
    assert_eq!(peer.call(ENSURE, ensure("web")), json!({"parameters": {"changed": true}}));
    // Whoever asks for many where there is one gets one.
    peer.send(&more(ENSURE, ensure("web")));
    assert_eq!(peer.receive(), Some(json!({"parameters": {"changed": true}})));
    let absent = json!({"tenant": "web", "generation": 1, "spec": {"image": "absent"}});
    let expected = json!({"error": "io.bitbuilder.Storage.NoSuchImage", "parameters": {"image": "absent"}});
    assert_eq!(peer.call(ENSURE, absent), expected);
}

#[test]
fn a_list_comes_at_once_or_one_by_one() {
    let server = Server::start(options());
    let mut peer = server.connect();
    let reply = peer.call(LIST, json!({}));
    assert_eq!((tenants(&reply), reply.get("continues")), (vec!["a", "b", "c"], None));
    peer.send(&more(LIST, json!({"tenant": null})));
    for (tenant, continues) in [("a", Some(&Value::Bool(true))), ("b", Some(&Value::Bool(true))), ("c", None)] {
        let reply = peer.receive().unwrap();
        assert_eq!((tenants(&reply), reply.get("continues")), (vec![tenant], continues));
    }
    peer.send(&more(LIST, json!({"tenant": "none"})));
    assert_eq!(peer.receive(), Some(json!({"parameters": {"volumes": []}})));
}

#[test]
fn a_bad_call_is_refused_and_the_next_is_answered() {
    let server = Server::start(options());
    let mut peer = server.connect();
    let with = |field: &str, value: Value| {
        let mut parameters = ensure("web");
        parameters[field] = value;
        parameters
    };
    for (parameters, fault) in [
        (json!({"tenant": "web", "generation": 1}), "spec"),
        (json!({"generation": 1, "spec": {"image": "debian"}}), "tenant"),
        (with("generation", json!("1")), "generation"),
        (with("generation", json!(1.5)), "generation"),
        (with("generation", json!(-1)), "generation"),
        (with("generation", json!(u64::MAX)), "generation"),
        (with("generations", json!(1)), "generations"),
        (with("spec", json!({})), "spec.image"),
        (with("spec", json!({"image": 1})), "spec.image"),
        (with("spec", json!({"image": "../debian"})), "spec.image"),
        (with("spec", json!({"image": "debian", "size": 1})), "spec.size"),
        (with("spec", json!(null)), "spec"),
        (with("tenant", json!("a/b")), "tenant"),
        (with("tenant", json!("")), "tenant"),
        (with("tenant", json!("system")), "tenant"),
        (json!([]), ""),
        (json!("text"), ""),
    ] {
        let reply = peer.call(ENSURE, parameters.clone());
        assert_eq!(reply, refusal("InvalidParameter", json!({"parameter": fault})), "{parameters}");
    }
    assert_eq!(peer.call(LIST, json!({"tenant": "../a"})), refusal("InvalidParameter", json!({"parameter": "tenant"})));
    for unknown in ["io.bitbuilder.Storage.Nothing", "io.bitbuilder.Network.List", "List", "", "io.bitbuilder.Storage."]
    {
        assert_eq!(peer.call(unknown, json!({})), refusal("MethodNotFound", json!({"method": unknown})));
    }
    assert_eq!(server.events.try_recv(), Err(std::sync::mpsc::TryRecvError::Empty), "the service saw a bad call");
    assert_eq!(peer.call(ENSURE, ensure("web")), json!({"parameters": {"changed": true}}));
}

#[test]
fn strangers_learn_names_and_nothing_else() {
    if !may_be_others() {
        return;
    }
    let server = Server::start(options());
    let mut peer = server.connect_as(NOBODY, &[]);
    let denied = refusal("PermissionDenied", json!({}));
    assert_eq!(peer.call(LIST, json!({})), denied);
    assert_eq!(peer.call(ENSURE, ensure("web")), denied);
    assert_eq!(peer.call(ENSURE, json!({"nonsense": 1})), denied);
    assert_eq!(peer.call("io.bitbuilder.Storage.Nothing", json!({}))["error"], "org.varlink.service.MethodNotFound");
    assert_eq!(peer.call(PING, json!({})), json!({"parameters": {}}));
    let info = peer.call("org.varlink.service.GetInfo", json!({}));
    assert_eq!(
        info["parameters"]["interfaces"],
        json!(["io.bitbuilder.Storage", "io.systemd.service", "org.varlink.service"])
    );
    for interface in info["parameters"]["interfaces"].as_array().unwrap() {
        let reply = peer.call("org.varlink.service.GetInterfaceDescription", json!({"interface": interface}));
        let description = reply["parameters"]["description"].as_str().unwrap();
        assert!(description.contains(&format!("interface {}\n", interface.as_str().unwrap())), "{description}");
    }
    assert_eq!(
        peer.call("org.varlink.service.GetInterfaceDescription", json!({"interface": "a.b"})),
        refusal("InterfaceNotFound", json!({"interface": "a.b"}))
    );
}

#[test]
fn a_caller_may_be_in_any_number_of_groups() {
    if !may_be_others() {
        return;
    }
    let server = Server::start(options());
    // zlink 0.8 never comes back from asking for more than 128.
    let many: Vec<u32> = (100_000..100_500).collect();
    assert_eq!(server.connect_as(NOBODY, &many).call(PING, json!({})), json!({"parameters": {}}));
    assert_eq!(server.connect_as(NOBODY, &many).call(LIST, json!({})), refusal("PermissionDenied", json!({})));
}

#[test]
fn a_method_of_many_replies_wants_to_be_asked_for_many() {
    let server = Server::start(runtime::Options { contract: &interfaces::tenant::CONTRACT, ..options() });
    let call = message("io.bitbuilder.Tenant.ReadLog", json!({"tenant": "web", "lines": 1, "follow": false}));
    let mut peer = server.connect();
    peer.send(&call);
    assert_eq!(peer.receive(), Some(refusal("ExpectedMore", json!({}))));
}

#[test]
fn calls_sent_ahead_are_answered_in_their_order() {
    let server = Server::start(options());
    let mut peer = server.connect();
    let names: Vec<String> = (0..200).map(|number| format!("t{number}")).collect();
    let calls: Vec<u8> = names.iter().flat_map(|name| message(LIST, json!({"tenant": name}))).collect();
    peer.send(&calls);
    for name in &names {
        assert_eq!(tenants(&peer.receive().unwrap()), [name]);
    }
}

#[test]
fn a_oneway_call_is_carried_out_without_a_reply() {
    let server = Server::start(options());
    let mut peer = server.connect();
    peer.send(&oneway(ENSURE, ensure("web")));
    peer.send(&oneway(LIST, json!({"tenant": "a/b"})));
    assert_eq!(peer.call(PING, json!({})), json!({"parameters": {}}));
    assert_eq!(server.event(), Event::Began("web".into()));
    // Not even a reading one is dropped because its caller does not stay.
    peer.send(&oneway(LIST, json!({"tenant": "slow"})));
    drop(peer);
    assert_eq!(server.event(), Event::Ended("web".into()));
    assert_eq!(server.event(), Event::Began("slow".into()));
    assert_eq!(server.events.recv_timeout(common::SHORT), Err(std::sync::mpsc::RecvTimeoutError::Timeout));
    server.release.add_permits(1);
    assert_eq!(server.event(), Event::Ended("slow".into()));
}
