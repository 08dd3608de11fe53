//! The end of a container that has only just begun: the kernel keeps signals from the first process of a namespace as long as that
//! has no handler for them (pid_namespaces(7)), so that it may not have heard that it shall end, and is told again.

use model::TenantName;
use nix::libc;
use runtime::foreign;
use serde_json::json;
use std::{path::Path, pin::pin, time::Duration};
use tokio::time::timeout;

/// How long it has before it is told again.
const PAUSE: Duration = Duration::from_millis(500);
const MACHINES: &str = "/run/systemd/machine/io.systemd.Machine";
/// It answers at once or not at all.
const PATIENCE: Duration = Duration::from_secs(5);

/// Waits for what ends a container, and tells its first process meanwhile, as often as it takes.
pub(crate) async fn told_again<T>(tenant: &TenantName, end: impl Future<Output = T>) -> T {
    let mut end = pin!(end);
    // What systemd-nspawn tells it, by which systemd halts (systemd(1)). Whoever does so already is not asked for more.
    let told = json!({ "name": tenant, "whom": "leader", "signal": libc::SIGRTMIN() + 3 });
    loop {
        if let Ok(ended) = timeout(PAUSE, &mut end).await {
            return ended;
        }
        let again = foreign::call(Path::new(MACHINES), "io.systemd.Machine.Kill", &told, PATIENCE);
        // It goes on to end while it is told.
        tokio::select! {
            ended = &mut end => return ended,
            again = again => {
                if let Err(error) = again {
                    tracing::debug!(%tenant, "not told again: {}", runtime::chain(&error));
                }
            }
        }
    }
}
