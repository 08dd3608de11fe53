//! What only a host with a kernel of its own can show. The tests have this crate to themselves, so that they run one at a time.

use std::ops::Deref;

use anyhow::{Context as _, Result, ensure};
use integration_tests::{Need, Registration, Scene, host_with, manifest, service};
use serde_json::{Value, json};
use test_host::Output;

/// Two tenants on one host: `noisy`, and `web`, which wants to be left alone and serves a page on the host's port 8080.
#[derive(Debug)]
pub struct Neighbours(Scene);

impl Neighbours {
    /// Boots a host that has what the test needs, prepares it with a script, and starts both with these `resources`, or says why it
    /// cannot be.
    ///
    /// # Errors
    /// The host does not boot, or a tenant does not hold.
    pub fn boot(needs: &[Need], prepare: &str, noisy: &Value, web: &Value) -> Result<Option<Self>> {
        let Some(host) = host_with(needs)? else { return Ok(None) };
        let this = Self(Scene::boot(host)?);
        this.must(prepare)?;
        for (name, resources) in [("noisy", noisy), ("web", web)] {
            this.repository(name)?;
            this.write(name, resources)?;
        }
        let limits = json!({
            "cpu": { "cores": 2, "allowed": "0-1" },
            "memory": { "limit": "512M", "swap": "512M" },
            "tasks": 2000,
            "ports": ["8080"],
        });
        let register = |name: &str| Registration { name: name.to_owned(), limits: limits.clone() };
        this.follow(&[register("noisy"), register("web")])?;
        this.converge()?;
        let page = this.inside("web", "echo here >/srv/data/index.html")?;
        ensure!(page.success(), "{page:?}");
        Ok(Some(this))
    }

    /// Changes what both ask for, while they run.
    ///
    /// # Errors
    /// A commit does not hold.
    pub fn ask(&self, noisy: &Value, web: &Value) -> Result<()> {
        self.write("noisy", noisy)?;
        self.write("web", web)?;
        self.converge()
    }

    fn write(&self, name: &str, resources: &Value) -> Result<()> {
        let more = json!({
            "resources": resources,
            "network": { "forward": if name == "web" { json!([{ "host": 8080, "tenant": 80 }]) } else { json!([]) } },
        });
        let metadata = manifest(name, &["page.service"], &more);
        let page = service("/usr/bin/busybox httpd -f -h /srv/data");
        let files = [("metadata.json", metadata.as_str()), ("units/page.service", &page)];
        self.open(name).commit("What it asks for", &files).map(drop)
    }

    fn converge(&self) -> Result<()> {
        let ended = self.bitbuilder(&["sync", "--wait"])?;
        ensure!(ended.success(), "exit code {}: {}{}", ended.code, ended.stdout, ended.stderr);
        Ok(())
    }

    /// Runs a script in a tenant. That it fails is a result.
    ///
    /// # Errors
    /// The host cannot be entered.
    pub fn inside(&self, tenant: &str, script: &str) -> Result<Output> {
        self.bitbuilder(&["exec", tenant, "--", "sh", "-c", script])
    }

    /// Runs a script on the host in the tenants' cgroups: `$noisy` and `$web` are their folders, `$slice` has both.
    ///
    /// # Errors
    /// The script fails.
    pub fn measure(&self, script: &str) -> Result<String> {
        let group = "/sys/fs/cgroup$(systemctl show --value --property ControlGroup";
        self.must(&format!(
            "noisy={group} bitbuilder-container@noisy) web={group} bitbuilder-container@web) slice=${{web%/*}}\n{script}"
        ))
    }

    /// The same, for a script that prints numbers.
    ///
    /// # Errors
    /// The script fails, or prints something else.
    pub fn numbers(&self, script: &str) -> Result<Vec<u64>> {
        let printed = self.measure(script)?;
        printed.split_whitespace().map(|word| word.parse().with_context(|| format!("no number: {printed}"))).collect()
    }

    /// Who runs, which is another for each start.
    ///
    /// # Errors
    /// A tenant does not run.
    pub fn leaders(&self) -> Result<String> {
        self.must("machinectl show noisy web --property=Leader --value")
    }
}

impl Deref for Neighbours {
    type Target = Scene;

    fn deref(&self) -> &Scene {
        &self.0
    }
}
