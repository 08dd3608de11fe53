//! Peers that want to hurt the others, and only hurt themselves.

#![allow(clippy::unwrap_used, reason = "a helper of tests fails as a test does")]

mod common;

use common::{ENSURE, Event, LIST, NOBODY, PING, Server, ensure, may_be_others, message, more, options};
use nix::{
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::socket::{ControlMessage, MsgFlags, sendmsg},
};
use proptest::{
    prelude::*,
    test_runner::{Config, TestRunner},
};
use runtime::Options;
use serde_json::{Value, json};
use std::{
    io::{IoSlice, Read, Write},
    os::fd::{AsFd, AsRawFd},
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

#[test]
fn a_panic_ends_one_connection() {
    let server = Server::start(options());
    let (mut unlucky, mut other) = (server.connect(), server.connect());
    other.call(PING, json!({}));
    unlucky.send(&message(LIST, json!({"tenant": "panic"})));
    assert_eq!(unlucky.receive(), None);
    assert_eq!(other.call(PING, json!({})), json!({"parameters": {}}));
    server.assert_alive();
}

#[test]
fn slow_calls_hold_nobody_else() {
    let server = Server::start(options());
    let mut slow: Vec<_> = (0..20).map(|_| server.connect()).collect();
    for peer in &mut slow {
        peer.send(&message(ENSURE, ensure("slow")));
        assert_eq!(server.event(), Event::Began("slow".into()));
    }
    server.assert_alive();
    server.release.add_permits(slow.len());
    for peer in &mut slow {
        assert_eq!(peer.receive(), Some(json!({"parameters": {"changed": true}})));
    }
}

#[test]
fn who_does_not_read_is_dropped_and_holds_nobody_else() {
    let server = Server::start(Options { write_patience: Duration::from_millis(200), ..options() });
    let mut deaf: Vec<_> = (0..8).map(|_| server.connect()).collect();
    for (number, peer) in deaf.iter_mut().enumerate() {
        let call = if number % 2 == 0 { more } else { message };
        peer.send(&call(LIST, json!({"tenant": "big"})));
    }
    server.assert_alive();
    deaf.iter().for_each(common::Peer::await_hang_up);
    server.assert_alive();
}

#[test]
fn floods_of_calls_leave_time_for_others() {
    let server = Server::start(options());
    let stop = AtomicBool::new(false);
    let calls: Vec<u8> = (0..500).flat_map(|_| message(PING, json!({}))).collect();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            let peer = server.connect();
            let mut reading = peer.stream.try_clone().unwrap();
            let (stop, calls) = (&stop, &calls);
            scope.spawn(move || while !stop.load(Ordering::Relaxed) && (&peer.stream).write_all(calls).is_ok() {});
            scope.spawn(move || {
                let mut buffer = vec![0; 1 << 20];
                while !stop.load(Ordering::Relaxed) && reading.read(&mut buffer).is_ok_and(|read| read > 0) {}
                reading.shutdown(std::net::Shutdown::Both).ok();
            });
        }
        let served =
            std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| (0..20).for_each(|_| server.assert_alive())));
        stop.store(true, Ordering::Relaxed);
        served.unwrap();
    });
}

#[test]
fn nonsense_drops_who_sends_it() {
    let server = Server::start(options());
    let nested = format!("{{\"method\":\"{LIST}\",\"parameters\":{}{}}}\0", "[".repeat(100_000), "]".repeat(100_000));
    for nonsense in [
        &b"\0"[..],
        b"{\0",
        b"nothing\0",
        b"[]\0",
        b"{}\0",
        b"{\"method\":1}\0",
        b"{\"method\":\"io.systemd.service.Ping\"}}\0",
        b"{\"method\":\"io.systemd.service.\xff\"}\0",
        b"{\"method\":\"io.systemd.service.Ping\",\"parameters\":{\"\xff\xfe\":1}}\0",
        b"\xff\xff\xff\xff\0",
    ] {
        let mut peer = server.connect();
        peer.send(nonsense);
        assert_eq!(peer.receive(), None, "{}", String::from_utf8_lossy(nonsense));
        server.assert_alive();
    }
    // What can be read as a call is answered as one.
    let mut peer = server.connect();
    peer.send(nested.as_bytes());
    assert_eq!(peer.receive().unwrap()["error"], "org.varlink.service.InvalidParameter");
    assert_eq!(peer.call(PING, json!({})), json!({"parameters": {}}));
}

#[test]
fn a_uid_has_so_many_connections_and_others_have_theirs() {
    if !may_be_others() {
        return;
    }
    let server = Server::start(options());
    let mut crowd: Vec<_> = (0..300).map(|_| server.connect_as(NOBODY, &[])).collect();
    let served = |peer: &mut common::Peer| {
        // One that was not let in may be closed before it has asked.
        peer.stream.write_all(&message(PING, json!({}))).ok();
        peer.receive().is_some()
    };
    let admitted: Vec<bool> = crowd.iter_mut().map(served).collect();
    assert_eq!(admitted, [vec![true; 128], vec![false; 172]].concat());
    server.assert_alive();
    // Places are given back.
    crowd.clear();
    let deadline = std::time::Instant::now() + common::LONG;
    while !served(&mut server.connect_as(NOBODY, &[])) {
        assert!(std::time::Instant::now() < deadline, "no place was given back");
    }
}

#[test]
fn the_service_has_so_many_connections() {
    let server = Server::start(Options { connections: 3, ..options() });
    let mut admitted: Vec<_> = (0..3).map(|_| server.connect()).collect();
    for peer in &mut admitted {
        peer.call(PING, json!({}));
    }
    assert_eq!(server.connect().receive(), None);
    assert_eq!(admitted[0].call(PING, json!({})), json!({"parameters": {}}));
}

#[test]
fn descriptors_that_nobody_wants_are_closed_at_once() {
    let server = Server::start(options());
    let peer = server.connect();
    let (held, passed) = nix::unistd::pipe().unwrap();
    // The first bytes of a message that never ends.
    let (bytes, rights) = ([IoSlice::new(b"{")], [passed.as_raw_fd(); 200]);
    for _ in 0..10 {
        let passing = [ControlMessage::ScmRights(&rights)];
        sendmsg::<()>(peer.stream.as_raw_fd(), &bytes, &passing, MsgFlags::empty(), None).unwrap();
    }
    drop(passed);
    let mut watched = [PollFd::new(held.as_fd(), PollFlags::empty())];
    poll(&mut watched, PollTimeout::from(10_000_u16)).unwrap();
    assert!(watched[0].any().unwrap(), "the service keeps what it was passed");
    drop(peer);
    server.assert_alive();
}

#[test]
fn of_those_that_are_wanted_only_so_many_are_kept() {
    let server = Server::start(Options { descriptors: 1, ..options() });
    let peer = server.connect();
    let (held, passed) = nix::unistd::pipe().unwrap();
    // The first bytes of a message that never ends.
    let (bytes, rights) = ([IoSlice::new(b"{")], [passed.as_raw_fd(); 2]);
    let passing = [ControlMessage::ScmRights(&rights)];
    sendmsg::<()>(peer.stream.as_raw_fd(), &bytes, &passing, MsgFlags::empty(), None).unwrap();
    drop(passed);
    let mut watched = [PollFd::new(held.as_fd(), PollFlags::empty())];
    poll(&mut watched, PollTimeout::from(10_000_u16)).unwrap();
    assert!(watched[0].any().unwrap(), "the service keeps more than a call may bring");
    drop(peer);
    server.assert_alive();
}

#[test]
fn a_stranger_may_not_say_much() {
    if !may_be_others() {
        return;
    }
    let server = Server::start(options());
    let long = message(LIST, json!({"tenant": "x".repeat(1 << 20)}));
    let mut peer = server.connect();
    peer.send(&long);
    assert_eq!(peer.receive().unwrap()["error"], "org.varlink.service.InvalidParameter");
    let mut stranger = server.connect_as(NOBODY, &[]);
    stranger.stream.write_all(&long).ok();
    assert_eq!(stranger.receive(), None);
}

#[test]
fn random_input_kills_nothing() {
    let server = Server::start(options());
    let text = prop_oneof![
        Just(String::new()),
        "\\PC{0,20}",
        proptest::sample::select(vec![LIST, ENSURE, PING, "org.varlink.service.GetInfo"]).prop_map(str::to_owned),
        Just("tenant".to_owned()),
    ];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        text.clone().prop_map(Value::from),
    ];
    let value = leaf.prop_recursive(4, 32, 6, move |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            proptest::collection::vec((text.clone(), inner.clone()), 0..6)
                .prop_map(|fields| fields.into_iter().collect()),
            (text.clone(), inner, any::<bool>(), any::<bool>()).prop_map(|(method, parameters, more, oneway)| {
                json!({"method": method, "parameters": parameters, "more": more, "oneway": oneway})
            }),
        ]
    });
    let message = prop_oneof![
        proptest::collection::vec(any::<u8>(), 0..300),
        value.prop_map(|value| serde_json::to_vec(&value).unwrap()),
    ];
    let messages = proptest::collection::vec((message, any::<bool>()), 0..8);
    let mut runner = TestRunner::new(Config { cases: 200, failure_persistence: None, ..Config::default() });
    runner
        .run(&messages, |messages| {
            let mut peer = server.connect();
            for (mut bytes, end) in messages {
                if end {
                    bytes.push(0);
                }
                // It may be dropped at any of them.
                peer.stream.write_all(&bytes).ok();
            }
            peer.stream.shutdown(std::net::Shutdown::Write).ok();
            while peer.receive().is_some() {}
            server.assert_alive();
            Ok(())
        })
        .unwrap();
}
