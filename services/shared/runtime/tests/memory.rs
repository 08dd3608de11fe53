//! What a peer sends is not kept. Alone in its program, because it measures it.

#![allow(clippy::unwrap_used, reason = "a helper of tests fails as a test does")]

mod common;

use common::{Server, options};
use std::io::Write;

/// The most memory that this process ever had, in bytes (proc_pid_status(5)).
fn peak() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().strip_suffix(" kB").unwrap().parse::<usize>().unwrap() << 10
}

#[test]
fn a_message_without_an_end_is_cut_off() {
    const MIB: usize = 1 << 20;
    let server = Server::start(options());
    server.assert_alive();
    let (chunk, before) = (vec![b'x'; MIB], peak());
    let mut endless = server.connect();
    let taken = (0..1024).take_while(|_| endless.stream.write_all(&chunk).is_ok()).count();
    assert!((16..18).contains(&taken), "{taken} MiB were taken");
    endless.await_hang_up();
    server.assert_alive();
    // Just below the limit, again and again: what one connection had is not kept for the next.
    for _ in 0..5 {
        let mut peer = server.connect();
        for _ in 0..15 {
            peer.send(&chunk);
        }
        drop(peer);
        server.assert_alive();
    }
    let grown = (peak() - before) / MIB;
    assert!(grown < 64, "{grown} MiB more than before");
}
