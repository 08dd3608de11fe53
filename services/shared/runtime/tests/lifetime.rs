//! When calls, connections and the service itself end.

#![allow(clippy::unwrap_used, reason = "a helper of tests fails as a test does")]

mod common;

use common::{ENSURE, Event, LIST, LONG, PING, SHORT, Server, ensure, message, more, options};
use runtime::{Lifetime, Options};
use serde_json::json;
use std::{net::Shutdown, os::unix::net::UnixStream, sync::mpsc::RecvTimeoutError, time::Duration};

fn brief() -> Options {
    Options { lifetime: Lifetime::Activated(Duration::from_millis(100)), ..options() }
}

#[test]
fn a_service_that_nobody_needs_ends() {
    assert!(Server::start(brief()).has_ended(LONG));
    let server = Server::start(brief());
    let mut peer = server.connect();
    assert_eq!(peer.call(PING, json!({})), json!({"parameters": {}}));
    assert!(!server.has_ended(SHORT), "it has a connection");
    drop(peer);
    assert!(server.has_ended(LONG));
}

#[test]
fn a_call_in_progress_keeps_the_service() {
    let server = Server::start(brief());
    let mut peer = server.connect();
    peer.send(&message(ENSURE, ensure("slow")));
    assert_eq!(server.event(), Event::Began("slow".into()));
    drop(peer);
    assert!(!server.has_ended(SHORT), "it has a call");
    server.release.add_permits(1);
    assert_eq!(server.event(), Event::Ended("slow".into()));
    assert!(server.has_ended(LONG));
}

#[test]
fn work_without_a_caller_keeps_the_service() {
    let (work, busy) = tokio::sync::watch::channel(true);
    let server = Server::start(Options { busy: Some(busy), ..brief() });
    assert!(!server.has_ended(SHORT), "it has work");
    server.assert_alive();
    work.send(false).unwrap();
    assert!(server.has_ended(LONG));
}

#[test]
fn a_resident_service_stays() {
    let server = Server::start(Options { lifetime: Lifetime::Resident, ..options() });
    assert!(!server.has_ended(SHORT));
    server.assert_alive();
}

#[test]
fn a_stop_lets_calls_finish_and_takes_no_new_ones() {
    let server = Server::start(options());
    let (mut busy, mut unused) = (server.connect(), server.connect());
    unused.call(PING, json!({}));
    busy.send(&message(ENSURE, ensure("slow")));
    assert_eq!(server.event(), Event::Began("slow".into()));
    busy.send(&message(ENSURE, ensure("later")));
    server.stop();
    assert_eq!(unused.receive(), None);
    // The socket is closed: nobody is there, or somebody who waits is sent away.
    if let Ok(mut late) = UnixStream::connect(server.socket()) {
        assert_eq!(std::io::Read::read(&mut late, &mut [0]).unwrap_or(0), 0);
    }
    assert!(!server.has_ended(SHORT), "a call is in progress");
    server.release.add_permits(1);
    assert_eq!(busy.receive(), Some(json!({"parameters": {"changed": true}})));
    assert_eq!(busy.receive(), None);
    assert_eq!(server.event(), Event::Ended("slow".into()));
    assert!(server.has_ended(LONG));
    assert_eq!(server.events.recv_timeout(LONG), Err(RecvTimeoutError::Disconnected), "a new call was taken");
}

#[test]
fn a_stop_does_not_wait_for_who_follows() {
    let server = Server::following(options());
    let mut peer = server.connect();
    peer.send(&more(LIST, json!({})));
    assert_eq!(peer.receive().unwrap()["continues"], json!(true));
    assert_eq!(server.event(), Event::Began("follow".into()));
    server.stop();
    assert_eq!(peer.receive(), None);
    assert_eq!(server.event(), Event::Abandoned("follow".into()));
    assert!(server.has_ended(LONG));
}

#[test]
fn a_caller_who_hangs_up_ends_what_it_reads() {
    let server = Server::start(options());
    let mut peer = server.connect();
    peer.send(&message(LIST, json!({"tenant": "slow"})));
    assert_eq!(server.event(), Event::Began("slow".into()));
    // What it sent ahead does not hide that it has gone.
    peer.send(&message(PING, json!({})));
    drop(peer);
    assert_eq!(server.event(), Event::Abandoned("slow".into()));
}

#[test]
fn a_caller_who_hangs_up_ends_the_replies_that_were_to_come() {
    let server = Server::following(options());
    let mut peer = server.connect();
    peer.send(&more(LIST, json!({})));
    assert_eq!(peer.receive().unwrap()["continues"], json!(true));
    assert_eq!(server.event(), Event::Began("follow".into()));
    drop(peer);
    assert_eq!(server.event(), Event::Abandoned("follow".into()));
}

#[test]
fn a_change_is_finished_though_its_caller_hangs_up() {
    let server = Server::start(options());
    let mut peer = server.connect();
    peer.send(&message(ENSURE, ensure("slow")));
    assert_eq!(server.event(), Event::Began("slow".into()));
    drop(peer);
    assert_eq!(server.events.recv_timeout(SHORT), Err(RecvTimeoutError::Timeout));
    server.release.add_permits(1);
    assert_eq!(server.event(), Event::Ended("slow".into()));
    server.assert_alive();
}

#[test]
fn a_caller_who_has_no_more_calls_still_gets_its_replies() {
    let server = Server::start(options());
    let mut peer = server.connect();
    peer.send(&message(LIST, json!({"tenant": "slow"})));
    peer.stream.shutdown(Shutdown::Write).unwrap();
    assert_eq!(server.event(), Event::Began("slow".into()));
    assert_eq!(server.events.recv_timeout(SHORT), Err(RecvTimeoutError::Timeout));
    server.release.add_permits(1);
    assert_eq!(peer.receive().unwrap()["parameters"]["volumes"][0]["tenant"], json!("slow"));
    assert_eq!(peer.receive(), None);
}
