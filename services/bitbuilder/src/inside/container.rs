//! The way into a container.

use super::{Command, Greeting, Way, WayError, streams, terminal};
use host::inside::{Ending, Inside, InsideError, Streams};
use model::TenantName;
use runtime::foreign;
use serde_json::{Value, json};
use std::{
    fs::File,
    os::fd::OwnedFd,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tokio::signal::unix::{SignalKind, signal};

/// Long enough for a person to answer polkit, and for a large tree.
const PATIENCE: Duration = Duration::from_secs(120);
const COPYING: Duration = Duration::from_secs(24 * 3600);
const MACHINED: &str = "/run/varlink/registry/io.systemd.Machine";

/// A tenant that is a container.
#[derive(Debug)]
pub(crate) struct Container(pub(crate) TenantName);

impl Container {
    async fn machined(
        &self,
        action: &'static str,
        method: &'static str,
        mut parameters: Value,
        patience: Duration,
    ) -> Result<(Value, Vec<OwnedFd>), WayError> {
        parameters["name"] = json!(self.0);
        parameters["allowInteractiveAuthentication"] = json!(true);
        let method = format!("io.systemd.Machine.{method}");
        let called = foreign::call(Path::new(MACHINED), &method, &parameters, patience).await;
        called.map_err(|cause| WayError::Machined { action, tenant: self.0.clone(), cause })
    }

    async fn terminal(&self, action: &'static str, parameters: Value) -> Result<(File, String), WayError> {
        let (reply, descriptors) = self.machined(action, "Open", parameters, PATIENCE).await?;
        let index = reply["ptyFileDescriptor"].as_u64().and_then(|index| usize::try_from(index).ok());
        let terminal = index.and_then(|index| descriptors.into_iter().nth(index)).map(File::from);
        let path = reply["ptyPath"].as_str().unwrap_or_default().to_owned();
        terminal.map(|terminal| (terminal, path)).ok_or_else(|| WayError::NoTerminal(self.0.clone()))
    }

    fn inside(&self, cause: InsideError) -> WayError {
        WayError::Inside { tenant: self.0.clone(), cause: Box::new(cause) }
    }

    async fn run_at_terminal(&self, inside: &Inside, command: &Command<'_>) -> Result<Ending, WayError> {
        let (terminal, path) = self.terminal("open a terminal in", json!({ "mode": "tty" })).await?;
        let kind = std::env::var("TERM").ok().filter(|kind| {
            kind.len() <= 64 && kind.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-+._".contains(&byte))
        });
        let streams = Streams::Terminal { path, kind };
        let side = |cause| WayError::Side("terminal", cause);
        let over = Arc::new(AtomicBool::new(false));
        let raw = terminal::Raw::enter().map_err(side)?;
        terminal::resize(&terminal).map_err(side)?;
        let running = inside.start(command.user, command.words, streams).await.map_err(|cause| self.inside(cause))?;
        let forwarded = tokio::spawn(terminal::forward(terminal, terminal::Typed::AtOnce, over.clone()));
        let ended = running.ended().await;
        over.store(true, Ordering::Release);
        // Whoever holds the terminal still does not keep it open.
        let shown = tokio::time::timeout(streams::LAST_WORDS, forwarded).await;
        drop(raw);
        if let Ok(shown) = shown {
            shown.map_err(std::io::Error::other).flatten().map_err(side)?;
        }
        ended.map_err(|cause| self.inside(cause))
    }

    async fn run_apart(&self, inside: &Inside, command: &Command<'_>) -> Result<Ending, WayError> {
        let side = |cause| WayError::Side("input and output", cause);
        let (ours, theirs) = streams::pipes().map_err(side)?;
        let [mut interrupted, mut terminated, mut hung_up] = [
            signal(SignalKind::interrupt()).map_err(side)?,
            signal(SignalKind::terminate()).map_err(side)?,
            signal(SignalKind::hangup()).map_err(side)?,
        ];
        let running = inside.start(command.user, command.words, Streams::Apart(theirs)).await;
        let running = running.map_err(|cause| self.inside(cause))?;
        let passing = ours.pass();
        let mut ended = std::pin::pin!(running.ended());
        let ended = loop {
            let number = tokio::select! {
                ended = &mut ended => break ended,
                _ = interrupted.recv() => SignalKind::interrupt(),
                _ = terminated.recv() => SignalKind::terminate(),
                _ = hung_up.recv() => SignalKind::hangup(),
            };
            running.signal(number.as_raw_value()).await.map_err(|cause| self.inside(cause))?;
        };
        passing.finish().await.map_err(side)?;
        ended.map_err(|cause| self.inside(cause))
    }
}

impl Way for Container {
    async fn open(&self, greeting: Greeting<'_>) -> Result<File, WayError> {
        let (action, parameters) = match greeting {
            Greeting::Shell(user) => ("open a shell in", json!({ "mode": "shell", "user": user })),
            Greeting::Login => ("open a console of", json!({ "mode": "login" })),
        };
        self.terminal(action, parameters).await.map(|(terminal, _)| terminal)
    }

    async fn run(&self, command: &Command<'_>) -> Result<u8, WayError> {
        // Says whether it runs, in words that are known.
        self.machined("run a command in", "List", json!({}), PATIENCE).await?;
        let inside = Inside::connect(self.0.as_str()).await.map_err(|cause| self.inside(cause))?;
        let ending = match command.terminal {
            true => self.run_at_terminal(&inside, command).await?,
            false => self.run_apart(&inside, command).await?,
        };
        Ok(match ending {
            Ending::Exited(code) => code,
            Ending::Killed(signal) => 128 + (signal & 127),
        })
    }

    async fn copy_in(&self, from: &Path, to: &Path, replace: bool) -> Result<(), WayError> {
        let parameters = json!({ "source": from, "destination": to, "replace": replace });
        self.machined("copy into", "CopyTo", parameters, COPYING).await.map(drop)
    }

    async fn copy_out(&self, from: &Path, to: &Path) -> Result<(), WayError> {
        let parameters = json!({ "source": from, "destination": to, "replace": false });
        self.machined("copy from", "CopyFrom", parameters, COPYING).await.map(drop)
    }
}
