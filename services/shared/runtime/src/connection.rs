//! One connection from its first call to its end. Calls are answered in their order; a caller that hangs up in the middle
//! of an answer, never reads, or sends nonsense ends its own connection and nothing else.

use crate::{
    caller::Caller,
    gate::{self, Passage, RawCall},
    session::{Answer, Continues, Replies, Session},
    socket::{Bounded, BoundedRead},
};
use futures_util::StreamExt;
use interfaces::Contract;
use serde::Serialize;
use std::{
    io::ErrorKind,
    os::fd::{AsFd, OwnedFd},
    time::{Duration, Instant},
};
use tokio::{io::Interest, sync::watch, task::coop::consume_budget, time::timeout};
use tracing::{debug, info};
use zlink::{
    Connection, Reply,
    connection::{
        ReadConnection,
        socket::{Socket, WriteHalf},
    },
};

type Reader = ReadConnection<BoundedRead>;

/// The writing half, and how long the peer may leave a reply untaken.
struct Writer {
    socket: <Bounded as Socket>::WriteHalf,
    patience: Duration,
}

pub(crate) struct Conversation<S> {
    pub(crate) contract: &'static Contract,
    pub(crate) caller: Caller,
    pub(crate) session: S,
    pub(crate) write_patience: Duration,
    /// Becomes true when no further call is to be taken.
    pub(crate) draining: watch::Receiver<bool>,
}

/// Serves a connection until its peer, a fault, or the drain ends it.
pub(crate) async fn converse<S: Session>(stream: Bounded, mut with: Conversation<S>) -> zlink::Result<()> {
    let (mut reader, writer) = Connection::new(stream).split();
    let mut writer = Writer { socket: writer.into_write_half(), patience: with.write_patience };
    loop {
        let (call, descriptors) = tokio::select! {
            biased;
            () = told_to_stop(&mut with.draining) => return Ok(()),
            call = reader.receive_call::<RawCall<'_>>() => call?,
        };
        let started = Instant::now();
        let (oneway, more) = (call.oneway(), call.more());
        let method = call.method().method.to_string();
        let mut passage = gate::pass(with.contract, &with.caller, call.method(), more);
        if let Passage::Session(call) = &mut passage {
            call.descriptors = descriptors;
        }
        let answer = match passage {
            Passage::Answered(answer) => answer,
            // A change that was begun is finished: the caller's plan reckons with all of it or an error, not with half. And
            // who wants no reply need not stay for one.
            Passage::Session(call) if call.changes() || oneway => with.session.call(call).await,
            Passage::Session(call) => tokio::select! {
                biased;
                answer = with.session.call(call) => answer,
                () = hung_up(&reader) => {
                    audit(&with.caller, &method, started, "abandoned");
                    return Ok(());
                }
            },
        };
        audit(&with.caller, &method, started, outcome(&answer));
        match answer {
            _ if oneway => {}
            Answer::Reply(reply) => writer.send(&Reply::new(Some(reply))).await?,
            Answer::Failed(failure) => writer.send(&failure).await?,
            Answer::Replies(replies) => {
                if !writer.send_all(&reader, replies, &mut with.draining).await? {
                    return Ok(());
                }
            }
        }
    }
}

impl Writer {
    /// Sends each reply as it comes. False if the connection is of no more use: the peer hung up, the service stops while
    /// there is no reply yet, or the replies stopped before their last.
    async fn send_all(
        &mut self,
        reader: &Reader,
        mut replies: Replies,
        draining: &mut watch::Receiver<bool>,
    ) -> zlink::Result<bool> {
        loop {
            let next = tokio::select! {
                biased;
                next = replies.next() => next,
                () = hung_up(reader) => None,
                () = told_to_stop(draining) => None,
            };
            match next {
                Some(Ok((reply, Continues::Yes))) => {
                    self.send(&Reply::new(Some(reply)).set_continues(Some(true))).await?
                }
                Some(Ok((reply, Continues::No))) => return self.send(&Reply::new(Some(reply))).await.map(|()| true),
                Some(Err(failure)) => return self.send(&failure).await.map(|()| true),
                None => return Ok(false),
            }
        }
    }

    /// Serialises here and not by zlink 0.8, which begins anew for each 256 bytes that a message has.
    async fn send<T: Serialize>(&mut self, message: &T) -> zlink::Result<()> {
        // A peer that takes replies as fast as we send them must not have this thread for itself.
        consume_budget().await;
        let mut bytes = serde_json::to_vec(message)?;
        bytes.push(0);
        let sent = timeout(self.patience, self.socket.write(&bytes, &[] as &[OwnedFd], None)).await;
        sent.map_err(|_| zlink::Error::SocketWrite)?
    }
}

/// Returns when the service takes no further calls.
async fn told_to_stop(draining: &mut watch::Receiver<bool>) {
    // The sender outlives every conversation; without it there is nobody to serve for.
    let _told = draining.wait_for(|draining| *draining).await;
}

/// Returns when the peer has closed its end, without taking what it may have sent ahead. A peer that only says that it has
/// no more calls (shutdown(2)) still waits for replies.
async fn hung_up(reader: &Reader) {
    let Ok(duplicate) = reader.read_half().as_fd().try_clone_to_owned() else { return std::future::pending().await };
    let watched = std::os::unix::net::UnixStream::from(duplicate);
    let Ok(watched) = tokio::net::UnixStream::from_std(watched) else { return std::future::pending().await };
    loop {
        match watched.ready(Interest::WRITABLE).await {
            Ok(state) if !state.is_write_closed() => {
                // There is nothing to write. Forget that one could, until more happens.
                let _would_block = watched.try_io(Interest::WRITABLE, || Err::<(), _>(ErrorKind::WouldBlock.into()));
            }
            Ok(_) | Err(_) => return,
        }
    }
}

fn outcome(answer: &Answer) -> &str {
    match answer {
        Answer::Reply(_) => "ok",
        Answer::Replies(_) => "streams",
        Answer::Failed(failure) => &failure.error,
    }
}

/// One line per call. What everybody may call says little about anybody.
fn audit(caller: &Caller, method: &str, started: Instant, outcome: &str) {
    let Caller { uid, pid, role } = caller;
    let microseconds = started.elapsed().as_micros();
    let method: String = method.chars().filter(|c| c.is_ascii_graphic()).take(100).collect();
    if method.starts_with("org.varlink.service.") || method.starts_with("io.systemd.service.") {
        debug!(method, uid, pid, ?role, outcome, microseconds, "call");
    } else {
        info!(method, uid, pid, ?role, outcome, microseconds, "call");
    }
}
