//! A scene for tests and for the demo: a test host with the package, a Git server on it, a system repository and tenants'
//! repositories, and the words that people use.

mod belongings;
mod failpoint;
mod kill;
mod needs;
mod repository;

pub use belongings::Belongings;
pub use failpoint::{Harm, Moment};
pub use needs::{Need, Tier, host_with};
pub use repository::Repository;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use test_host::{Builder, Host, Output};

/// A host that follows a system repository on its own Git server.
#[derive(Debug)]
pub struct Scene {
    /// The host.
    pub host: Host,
}

/// How a tenant is registered.
#[derive(Debug, Clone)]
pub struct Registration {
    /// Its name.
    pub name: String,
    /// `limits` of its entry.
    pub limits: Value,
}

impl Registration {
    /// A tenant that may forward ports from 8000 to 8999.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self { name: name.to_owned(), limits: json!({ "ports": ["8000-8999"] }) }
    }
}

impl Scene {
    /// Boots a host with nothing but a Git server.
    ///
    /// # Errors
    /// The host does not boot, or the server does not start.
    pub fn boot(host: Builder) -> Result<Self> {
        let scene = Self { host: host.boot()? };
        scene.must("mkdir -p /srv/git /srv/trees")?;
        // Type=exec is too early to be asked; the socket is there when it can be.
        scene.host.write(
            "/etc/systemd/system/git-daemon.socket",
            "[Socket]\nListenStream=127.0.0.1:9418\nAccept=yes\nMaxConnections=256\nTriggerLimitBurst=0\n[Install]\nWantedBy=sockets.target\n",
        )?;
        scene.host.write(
            "/etc/systemd/system/git-daemon@.service",
            "[Service]\nExecStart=-git daemon --inetd --export-all --base-path=/srv/git /srv/git\nStandardInput=socket\nStandardError=journal\n",
        )?;
        scene.must("systemctl daemon-reload && systemctl enable --now git-daemon.socket && git config --system safe.directory '*'")?;
        Ok(scene)
    }

    /// Runs a script that must succeed and returns what it printed.
    ///
    /// # Errors
    /// It failed; what it said is in the error.
    pub fn must(&self, script: &str) -> Result<String> {
        let output = self.host.sh(script)?;
        ensure!(output.success(), "exit code {} of: {script}\n{}{}", output.code, output.stdout, output.stderr);
        Ok(output.stdout)
    }

    /// Makes an empty repository on the Git server.
    ///
    /// # Errors
    /// Git on the host fails.
    pub fn repository(&self, name: &str) -> Result<Repository<'_>> {
        Repository::create(self, name)
    }

    /// A repository that was made before.
    #[must_use]
    pub fn open(&self, name: &str) -> Repository<'_> {
        Repository::open(self, name)
    }

    /// Makes the system repository and the host follow it.
    ///
    /// # Errors
    /// Git or the command on the host fails.
    pub fn follow(&self, tenants: &[Registration]) -> Result<Repository<'_>> {
        let system = self.repository("system")?;
        system.commit(
            "The tenants",
            &[(".gitops/config.yaml", "version: \"1.0\"\n"), ("tenants/registry.json", &registry(tenants))],
        )?;
        self.must("bitbuilder init --repository git://127.0.0.1/system")?;
        Ok(system)
    }

    /// Makes tenants without services, and the host follow them, all of whose repositories it looks at by itself once a day.
    ///
    /// # Errors
    /// Git or the command on the host fails, or a commit does not hold.
    pub fn follow_seldom(&self, tenants: &[&str]) -> Result<()> {
        let config = (".gitops/config.yaml", "version: \"1.0\"\nsync: { interval: 1d }\n");
        for name in tenants {
            let metadata = manifest(name, &[], &json!({}));
            self.repository(name)?.commit("First", &[("metadata.json", &metadata), config])?;
        }
        let registrations: Vec<Registration> = tenants.iter().map(|name| Registration::new(name)).collect();
        self.follow(&registrations)?.commit("Seldom", &[config])?;
        let converged = self.bitbuilder(&["sync", "--wait"])?;
        ensure!(converged.success(), "exit code {}: {}{}", converged.code, converged.stdout, converged.stderr);
        Ok(())
    }

    /// `bitbuilder WORDS`.
    ///
    /// # Errors
    /// The host cannot be entered.
    pub fn bitbuilder(&self, words: &[&str]) -> Result<Output> {
        let mut line = vec!["bitbuilder"];
        line.extend(words);
        self.host.run(&line)
    }

    /// Converges and returns how the command ended.
    ///
    /// # Errors
    /// The host cannot be entered.
    pub fn sync(&self, tenant: &str) -> Result<Output> {
        self.bitbuilder(&["sync", tenant, "--wait"])
    }

    /// A tenant's status as JSON.
    ///
    /// # Errors
    /// The command fails, or prints something else.
    pub fn status(&self, tenant: &str) -> Result<Value> {
        let shown = self.must(&format!("bitbuilder status {tenant} --json=short"))?;
        serde_json::from_str(&shown).with_context(|| format!("not JSON: {shown}"))
    }

    /// Asserts a tenant's state.
    ///
    /// # Errors
    /// It is in another one; all that is known of it is in the error.
    pub fn expect_state(&self, tenant: &str, state: &str) -> Result<Value> {
        let status = self.status(tenant)?;
        if status["state"] != state {
            let journal = self
                .host
                .sh("journalctl -n 120 -o cat --no-pager -u 'bitbuilder-*' -u tenant-manager -u 'git-sync@*'")?;
            anyhow::bail!("{tenant} is not {state}: {status:#}\n{}", journal.stdout);
        }
        Ok(status)
    }

    /// Waits until the stream of states shows `text` in a line, as `"verified":"…"`.
    ///
    /// # Errors
    /// It does not within 90 s.
    pub fn await_status(&self, text: &str) -> Result<()> {
        // A pipeline would wait for the stream, which has no end.
        self.host.write(
            "/run/await",
            format!("grep --max-count=1 --fixed-strings '{text}' < <(exec bitbuilder status --watch --json=short)"),
        )?;
        self.must("timeout 90 bash /run/await").map(drop)
    }

    /// Calls a method of ours with varlinkctl, as root, and returns the reply.
    ///
    /// # Errors
    /// The call fails.
    pub fn call(&self, interface: &str, method: &str, parameters: &Value) -> Result<Value> {
        let line = format!(
            "varlinkctl call -j /run/bitbuilder/io.bitbuilder.{interface} io.bitbuilder.{interface}.{method} '{parameters}'"
        );
        let reply = self.must(&line)?;
        serde_json::from_str(&reply).with_context(|| format!("not JSON: {reply}"))
    }
}

/// tenants/registry.json for these tenants, each on the host's own Git server.
#[must_use]
pub fn registry(tenants: &[Registration]) -> String {
    let entries: Vec<Value> = tenants
        .iter()
        .map(|tenant| {
            json!({ "name": tenant.name, "repository": format!("git://127.0.0.1/{}", tenant.name), "limits": tenant.limits })
        })
        .collect();
    format!("{:#}\n", json!({ "version": "1.0", "tenants": entries }))
}

/// metadata.json of a tenant with these services and whatever else.
#[must_use]
pub fn manifest(name: &str, services: &[&str], more: &Value) -> String {
    let mut manifest = json!({
        "version": "1.0",
        "tenant": { "name": name, "type": "container" },
        "image": "debian",
        "services": { "systemd": services },
    });
    if let (Some(manifest), Some(more)) = (manifest.as_object_mut(), more.as_object()) {
        manifest.extend(more.clone());
    }
    format!("{manifest:#}\n")
}

/// A unit that runs until it is stopped.
#[must_use]
pub fn service(command: &str) -> String {
    format!("[Service]\nExecStart={command}\n")
}
