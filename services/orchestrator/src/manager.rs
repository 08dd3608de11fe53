//! What the service manager says of itself (io.systemd.Manager): its version, and which of its boots this is.

use model::admission::systemd_version;
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
    let version = systemd_version(describe().await?["runtime"]["Version"].as_str()?)?;
    Some(*VERSION.get_or_init(|| version))
}

/// What differs from boot to boot: of the kernel, of a container on the same kernel, and of userspace alone
/// (systemd-soft-reboot.service(8)). A re-execution of PID 1 is none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Boot {
    kernel: String,
    /// Nothing if the service manager did not answer.
    userspace: Option<String>,
}

/// Which boot this is.
///
/// # Errors
/// The kernel does not say.
pub(crate) async fn boot() -> io::Result<Boot> {
    let kernel = fs::read_to_string(BOOT_ID)?;
    Ok(Boot { kernel: kernel.trim().to_owned(), userspace: describe().await.as_ref().and_then(userspace_in) })
}

impl Boot {
    /// Its identity, and whether it is another boot than `before`. What the service manager did not say, now or then,
    /// makes it none.
    pub(crate) fn after(&self, before: Option<&str>) -> (String, bool) {
        let (kernel, userspace) = before.map_or(("", None), |before| match before.split_once(' ') {
            Some((kernel, userspace)) => (kernel, Some(userspace)),
            None => (before, None),
        });
        let now = self.userspace.as_deref();
        let same = kernel == self.kernel && (now.is_none() || userspace.is_none() || now == userspace);
        let identity = [Some(self.kernel.as_str()), now.or(userspace.filter(|_| same))];
        (identity.into_iter().flatten().collect::<Vec<_>>().join(" "), !same)
    }
}

fn userspace_in(described: &Value) -> Option<String> {
    let began = described["runtime"]["UserspaceTimestamp"]["monotonic"].as_u64()?;
    Some(format!("{began} {}", described["runtime"]["SoftRebootsCount"]))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_manager_that_does_not_answer_makes_no_other_boot() {
        let boot = |kernel: &str, described: Option<Value>| Boot {
            kernel: kernel.to_owned(),
            userspace: described.as_ref().and_then(userspace_in),
        };
        let said = |began: u64, soft: u64| {
            Some(json!({ "runtime": { "UserspaceTimestamp": { "monotonic": began }, "SoftRebootsCount": soft } }))
        };
        let after = |boot: Boot, before: &str| boot.after(Some(before));
        let is = |identity: &str, another: bool| (identity.to_owned(), another);
        assert_eq!(boot("k1", said(5, 0)).after(None), is("k1 5 0", true));
        assert_eq!(after(boot("k1", said(5, 0)), "k1 5 0"), is("k1 5 0", false));
        assert_eq!(after(boot("k1", None), "k1 5 0"), is("k1 5 0", false));
        assert_eq!(after(boot("k1", Some(json!({}))), "k1 5 0"), is("k1 5 0", false));
        assert_eq!(after(boot("k1", said(9, 1)), "k1 5 0"), is("k1 9 1", true));
        assert_eq!(after(boot("k2", None), "k1 5 0"), is("k2", true));
        assert_eq!(after(boot("k2", said(5, 0)), "k2"), is("k2 5 0", false));
        assert_eq!(after(boot("k3", said(5, 0)), "k2"), is("k3 5 0", true));
    }
}
