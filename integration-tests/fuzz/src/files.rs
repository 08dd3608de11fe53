//! Repositories that hold what is fed to them.

use model::tree::Tree;

/// A repository's files.
pub struct Files<'a>(Vec<(&'static str, &'a [u8])>);

impl<'a> Files<'a> {
    /// A tenant's repository.
    pub fn tenant(metadata: &'a [u8], config: Option<&'a [u8]>) -> Self {
        Self::with(vec![("metadata.json", metadata)], config)
    }

    /// A tenant's repository with sealed values.
    pub fn sealed(metadata: &'a [u8], secrets: &'a [u8]) -> Self {
        Self::with(vec![("metadata.json", metadata), ("secrets/sealed-secrets.yaml", secrets)], None)
    }

    /// The system repository.
    pub fn system(registry: &'a [u8], config: Option<&'a [u8]>, policy: &'a [u8]) -> Self {
        Self::with(vec![("tenants/registry.json", registry), ("policies/web.json", policy)], config)
    }

    fn with(mut files: Vec<(&'static str, &'a [u8])>, config: Option<&'a [u8]>) -> Self {
        files.extend(config.map(|config| (".gitops/config.yaml", config)));
        Self(files)
    }
}

impl Tree for Files<'_> {
    fn read(&self, path: &str) -> Result<Option<Vec<u8>>, String> {
        Ok(self.0.iter().find(|(name, _)| *name == path).map(|(_, content)| content.to_vec()))
    }

    /// Units and scripts of one letter are there.
    fn has(&self, path: &str) -> bool {
        path.rsplit('/').next().is_some_and(|name| name.find('.').unwrap_or(name.len()) == 1)
    }
}
