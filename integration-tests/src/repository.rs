//! A repository on the scene's Git server and a work tree beside it, changed the way people do: edit, commit, push.

use crate::Scene;
use anyhow::Result;

/// A repository.
#[derive(Debug)]
pub struct Repository<'a> {
    scene: &'a Scene,
    name: String,
}

impl<'a> Repository<'a> {
    pub(crate) fn create(scene: &'a Scene, name: &str) -> Result<Self> {
        scene.must(&format!(
            "git init --quiet --bare --initial-branch=main /srv/git/{name}
             git clone --quiet /srv/git/{name} /srv/trees/{name} 2>/dev/null
             cd /srv/trees/{name} && git checkout --quiet -B main && git config user.name Tester && git config user.email tester@example.org"
        ))?;
        Ok(Self::open(scene, name))
    }

    pub(crate) fn open(scene: &'a Scene, name: &str) -> Self {
        Self { scene, name: name.to_owned() }
    }

    /// Writes files into the work tree, commits them and pushes. Returns the commit.
    ///
    /// # Errors
    /// Git on the host fails.
    pub fn commit(&self, message: &str, files: &[(&str, &str)]) -> Result<String> {
        for (path, content) in files {
            self.scene.host.write(&format!("/srv/trees/{}/{path}", self.name), content)?;
        }
        self.git(&format!(
            "add --all && git commit --quiet --allow-empty --message='{message}' && git push --quiet origin HEAD:main"
        ))?;
        self.git("rev-parse HEAD").map(|revision| revision.trim().to_owned())
    }

    /// `git WORDS` in the work tree.
    ///
    /// # Errors
    /// Git fails.
    pub fn git(&self, words: &str) -> Result<String> {
        self.scene.must(&format!("cd /srv/trees/{} && git {words}", self.name))
    }
}
