//! What the service manager wants to hear (sd_notify(3)): that we are ready, that we are alive, that we are on our way out.

use sd_notify::NotifyState;
use std::time::Duration;

/// The service serves.
pub fn ready() {
    send(&[NotifyState::Ready]);
}

/// The service ends as soon as what it does is done.
pub fn stopping() {
    send(&[NotifyState::Stopping]);
}

/// What is being done takes this long at most from now on, which may be more than the unit allows.
pub fn extend(time: Duration) {
    send(&[NotifyState::ExtendTimeoutUsec(u32::try_from(time.as_micros()).unwrap_or(u32::MAX))]);
}

/// Says so twice per WatchdogSec= for as long as the runtime can run a task at all.
pub(crate) fn spawn_watchdog() {
    let Some(patience) = sd_notify::watchdog_enabled() else { return };
    tokio::spawn(async move {
        let mut beat = tokio::time::interval(patience / 2);
        loop {
            beat.tick().await;
            send(&[NotifyState::Watchdog]);
        }
    });
}

fn send(states: &[NotifyState<'_>]) {
    // Nobody listens when a person starts the binary by hand, which is no fault.
    if let Err(cause) = sd_notify::notify(states) {
        tracing::debug!("the service manager was not told: {cause}");
    }
}
