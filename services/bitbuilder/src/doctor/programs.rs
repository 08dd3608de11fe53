//! systemd, its networkd, and the programs that our services run.

use super::Finding;
use host::command::{Command, CommandError};
use model::admission::{OLDEST_SYSTEMD, systemd_version};
use std::{path::Path, time::Duration};

const PATIENCE: Duration = Duration::from_secs(20);

/// A property of a unit; empty if nobody can say.
pub(super) async fn unit_state(unit: &str, property: &str) -> String {
    let show = run("systemctl", &["show", "--value", "--property", property, "--", unit]).await;
    show.map(|value| value.trim().to_owned()).unwrap_or_default()
}

async fn run(program: &str, arguments: &[&str]) -> Result<String, CommandError> {
    Command::new(program).args(arguments).within(PATIENCE).run().await
}

pub(super) async fn systemd() -> Finding {
    // sd_booted(3)
    if !Path::new("/run/systemd/system").is_dir() {
        return Finding::fail(
            "systemd",
            "it is not PID 1 of this host",
            "boot this host with systemd (init=/lib/systemd/systemd)",
        );
    }
    match run("systemctl", &["--version"]).await {
        Ok(said) => judge_systemd(&said),
        Err(error) => Finding::unknown("systemd", &error),
    }
}

fn judge_systemd(said: &str) -> Finding {
    match said.split_whitespace().nth(1).and_then(systemd_version) {
        Some(version) if version >= OLDEST_SYSTEMD => Finding::ok("systemd", format!("{version}, PID 1")),
        Some(version) => {
            let found = format!("{version}; at least {OLDEST_SYSTEMD} is needed");
            Finding::fail("systemd", found, "upgrade to Debian forky: apt full-upgrade")
        }
        None => Finding::warn("systemd", "its version is not known", "systemctl --version"),
    }
}

/// networkd, the firewall, Git and its ssh, and what judges signatures.
pub(super) async fn all() -> Vec<Finding> {
    let programs = [("git", "git"), ("ssh", "openssh-client"), ("ssh-keygen", "openssh-client"), ("gpg", "gpg")];
    let (networkd, nft) = tokio::join!(networkd(), nft());
    let programs = programs.into_iter().map(|(program, package)| there(program, package));
    [networkd, nft].into_iter().chain(programs).collect()
}

async fn networkd() -> Finding {
    let unit = "systemd-networkd.service";
    let (load, active) = tokio::join!(unit_state(unit, "LoadState"), unit_state(unit, "ActiveState"));
    match (load.as_str(), active.as_str()) {
        (_, "active") => Finding::ok("networkd", "active"),
        ("masked", _) => {
            Finding::fail("networkd", "masked", format!("systemctl unmask {unit} && systemctl enable --now {unit}"))
        }
        (_, state) => Finding::fail("networkd", state, format!("systemctl enable --now {unit}")),
    }
}

async fn nft() -> Finding {
    match run("nft", &["list", "tables"]).await {
        Ok(_) => Finding::ok("firewall", "nft works"),
        Err(error @ CommandError::Start { .. }) => {
            Finding::fail("firewall", runtime::chain(&error), "apt install nftables")
        }
        Err(error) if !rustix::process::geteuid().is_root() => Finding::unknown("firewall", &error),
        Err(error) => Finding::fail("firewall", runtime::chain(&error), "modprobe nf_tables"),
    }
}

/// Whether a program can be found where our services look for it.
fn there(program: &'static str, package: &str) -> Finding {
    let found =
        ["/usr/sbin", "/usr/bin", "/sbin", "/bin"].iter().find(|folder| Path::new(folder).join(program).exists());
    match found {
        Some(folder) => Finding::ok(program, format!("{folder}/{program}")),
        None => Finding::fail(program, "not installed", format!("apt install {package}")),
    }
}

/// What the host's key is bound to (systemd-creds(1), --with-key=auto).
pub(super) async fn key() -> Finding {
    judge_key(run("systemd-analyze", &["has-tpm2", "--quiet"]).await.is_ok())
}

fn judge_key(has_tpm: bool) -> Finding {
    let bound = if has_tpm {
        "bound to this host's TPM and disk"
    } else {
        "bound to this host's disk: there is no TPM, so whoever has a copy of the disk has the key"
    };
    Finding::ok("secret key", bound)
}

pub(super) async fn clock() -> Finding {
    match run("timedatectl", &["show", "--value", "--property", "NTPSynchronized"]).await {
        Ok(said) if said.trim() == "yes" => Finding::ok("clock", "synchronised"),
        Ok(_) => {
            let found = "not synchronised: certificates of Git servers and ages in status may be judged wrongly";
            Finding::warn("clock", found, "timedatectl set-ntp true")
        }
        Err(error) => Finding::warn("clock", format!("not known: {}", runtime::chain(&error)), "timedatectl"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Verdict;

    #[test]
    fn a_key_without_a_tpm_is_said_to_be_on_the_disk() {
        assert!(judge_key(false).found.contains("copy of the disk"));
        assert!(judge_key(true).found.contains("TPM"));
    }

    #[test]
    fn systemd_has_to_be_new_enough() {
        let verdict = |said| judge_systemd(said).verdict;
        assert_eq!(verdict("systemd 262 (262.1-1)\n+PAM"), Verdict::Ok);
        assert_eq!(verdict("systemd 261~rc1 (261~rc1-2)"), Verdict::Ok);
        assert_eq!(verdict("systemd 257 (257.9-1)"), Verdict::Fail);
        assert_eq!(verdict(""), Verdict::Warn);
    }
}
