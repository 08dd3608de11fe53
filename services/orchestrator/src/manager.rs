//! What the service manager says of itself (io.systemd.Manager): its version, and which of its boots this is.

use runtime::foreign;
use serde_json::{Value, json};
use std::{fs, io, path::Path, sync::OnceLock, time::Duration};

/// Where it describes itself.
const SOCKET: &str = "/run/systemd/io.systemd.Manager";
/// Differs from boot to boot of the kernel (random(4)).
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";
/// It answers at once or not at all.
const PATIENCE: Duration = Duration::from_secs(5);

/// systemd's version, asked for once: PID 1 does not change while this process runs but by a re-execution, after which it
/// is no older.
pub(crate) async fn version() -> Option<u32> {
    static VERSION: OnceLock<u32> = OnceLock::new();
    if let Some(version) = VERSION.get() {
        return Some(*version);
    }
    let version = version_in(&describe().await?)?;
    Some(*VERSION.get_or_init(|| version))
}

/// What differs from boot to boot: of the kernel, of a container on the same kernel, and of userspace alone
/// (systemd-soft-reboot.service(8)). A re-execution of PID 1 is none.
///
/// # Errors
/// The kernel does not say.
pub(crate) async fn boot() -> io::Result<String> {
    let kernel = fs::read_to_string(BOOT_ID)?;
    let described = describe().await.unwrap_or_default();
    let userspace = &described["runtime"]["UserspaceTimestamp"]["monotonic"];
    Ok(format!("{} {userspace} {}", kernel.trim(), described["runtime"]["SoftRebootsCount"]))
}

async fn describe() -> Option<Value> {
    match foreign::call(Path::new(SOCKET), "io.systemd.Manager.Describe", &json!({}), PATIENCE).await {
        Ok((described, _)) => Some(described),
        Err(error) => {
            tracing::warn!("the service manager does not describe itself: {}", runtime::chain(&error));
            None
        }
    }
}

/// `262-1`, `262 (262-1)`, `262.1-2` or `262~rc1`: what comes before all else.
fn version_in(described: &Value) -> Option<u32> {
    let text = described["runtime"]["Version"].as_str()?;
    text.trim_start_matches('v').split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_as_distributions_write_them() {
        for (text, number) in
            [("262-1", 262), ("262 (262-1)", 262), ("262.1-2", 262), ("v263", 263), ("262~rc1-1", 262)]
        {
            assert_eq!(version_in(&json!({ "runtime": { "Version": text } })), Some(number), "{text}");
        }
        assert_eq!(version_in(&json!({ "runtime": {} })), None);
    }
}
