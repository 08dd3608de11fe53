//! The webhook receiver, if somebody wants it: without a secret it refuses everything.

use super::{Finding, programs::unit_state};
use std::{fs, io, path::Path};

const SOCKET: &str = "bitbuilder-webhook.socket";
const SECRET: &str = "bitbuilder.webhook-secret";
/// Where systemd looks for credentials (systemd.exec(5), ImportCredential=).
const STORES: [&str; 7] = [
    "/etc/credstore",
    "/etc/credstore.encrypted",
    "/run/credstore",
    "/run/credstore.encrypted",
    "/run/credentials/@system",
    "/usr/lib/credstore",
    "/usr/lib/credstore.encrypted",
];

/// Nothing on a host that does without.
pub(super) async fn find() -> Option<Finding> {
    (unit_state(SOCKET, "ActiveState").await == "active").then(|| judge(secrets(&STORES.map(Path::new))))
}

/// How many secrets there are.
fn secrets(stores: &[&Path]) -> io::Result<usize> {
    let mut count = 0;
    for store in stores {
        let entries = match fs::read_dir(store) {
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => continue,
            entries => entries?.collect::<io::Result<Vec<_>>>()?,
        };
        let is_secret = |entry: &fs::DirEntry| {
            let name = entry.file_name();
            name.to_str()
                .and_then(|name| name.strip_prefix(SECRET))
                .is_some_and(|of| of.is_empty() || of.starts_with('.'))
        };
        count += entries.iter().filter(|entry| is_secret(entry)).count();
    }
    Ok(count)
}

fn judge(secrets: io::Result<usize>) -> Finding {
    match secrets {
        Ok(0) => Finding::warn(
            "webhook",
            "it listens and refuses everything: there is no secret",
            format!(
                "(umask 077 && openssl rand -hex 32 > /etc/credstore/{SECRET}.NAME) && systemctl stop bitbuilder-webhook.service"
            ),
        ),
        Ok(1) => Finding::ok("webhook", "listens; there is one secret"),
        Ok(count) => Finding::ok("webhook", format!("listens; there are {count} secrets")),
        Err(cause) => Finding::unknown("webhook", &cause),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Verdict;

    #[test]
    fn a_receiver_without_a_secret_is_said() {
        let store = tempfile::tempdir().unwrap();
        let absent = store.path().join("absent");
        let found = || judge(secrets(&[&absent, store.path()]));
        fs::write(store.path().join("bitbuilder.ssh-key"), "").unwrap();
        fs::write(store.path().join("bitbuilder.webhook-secrets"), "").unwrap();
        assert_eq!(found().verdict, Verdict::Warn);
        fs::write(store.path().join("bitbuilder.webhook-secret.web"), "").unwrap();
        assert_eq!(found(), Finding::ok("webhook", "listens; there is one secret"));
        fs::write(store.path().join("bitbuilder.webhook-secret"), "").unwrap();
        assert_eq!(found().found, "listens; there are 2 secrets");
        assert_eq!(judge(Err(io::ErrorKind::PermissionDenied.into())).verdict, Verdict::Warn);
    }
}
