//! What a repository asks for, as it is sent to the orchestrator: only the files that matter, and of most only their names.

use interfaces::orchestrator::Request as Sent;
use model::{
    Diagnostic, Revision, TenantName, config, manifest, secrets,
    tree::{Request, Tree},
};

/// A request that can be read, and whose it is.
pub(super) struct Asked {
    pub(super) tenant: TenantName,
    pub(super) revision: Option<Revision>,
    pub(super) request: Request,
    pub(super) sent: Sent,
}

impl Asked {
    /// Reads a repository's files. A host would refuse with the same faults, and is not needed to find them.
    pub(super) fn read(
        tenant: Option<&TenantName>,
        tree: &dyn Tree,
        revision: Option<Revision>,
    ) -> Result<Self, Vec<Diagnostic>> {
        let (tenant, request) = Request::read_for(tenant, tree)?;
        let text = |path: &str| -> Result<Option<String>, Vec<Diagnostic>> {
            let fault = |reason: &str| vec![Diagnostic::of_file(&format!("{tenant}:{path}"), reason)];
            let bytes = tree.read(path).map_err(|reason| fault(&reason))?;
            bytes.map(String::from_utf8).transpose().map_err(|cause| fault(&cause.to_string()))
        };
        let commit = revision.clone().unwrap_or_else(Revision::unborn);
        let sent = Sent {
            metadata: text(manifest::PATH)?.unwrap_or_default(),
            config: text(config::PATH)?,
            secrets: text(secrets::PATH)?,
            files: named(&request).into_iter().filter(|path| tree.has(path)).collect(),
            services: Some(request.services.iter().map(|service| service.spec(&commit)).collect()),
            revision: revision.clone(),
        };
        Ok(Self { tenant, revision, request, sent })
    }
}

/// The files that a request names: each unit's, and each hook's.
fn named(request: &Request) -> Vec<String> {
    let services = &request.manifest.content.services.systemd;
    let units = services.iter().flat_map(|unit| unit.shipped_as()).map(|file| format!("units/{file}"));
    let hooks = request.config.iter().flat_map(|config| config.content.hooks.scripts());
    units.chain(hooks.map(|(_, script)| script.to_string())).collect()
}
