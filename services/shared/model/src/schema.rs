//! The JSON Schemas (draft 2020-12) of the files that people write, for their editors, from what reads those files.

use crate::{
    config::{self, Config},
    document::{Decode, SCHEMA},
    manifest::{self, Manifest},
    notification::{self, Notifications},
    policy::PolicyFile,
    registry::{self, Registry},
    secrets::{self, SealedSecrets},
};
use serde_json::{Value as Json, json};

/// A kind of file that people write.
#[derive(Debug, Clone, Copy)]
pub struct FileKind {
    /// Its schema is NAME.schema.json.
    pub name: &'static str,
    /// Where such a file stands in a repository.
    pub path: &'static str,
    /// What it is, for a reader who sees nothing else.
    title: &'static str,
    body: fn() -> Json,
}

/// All of them.
pub const FILES: [FileKind; 6] = [
    FileKind {
        name: "metadata",
        path: manifest::PATH,
        title: "metadata.json of a BitBuilder tenant's repository",
        body: Manifest::schema,
    },
    FileKind {
        name: "config",
        path: config::PATH,
        title: ".gitops/config.yaml of a BitBuilder repository",
        body: Config::schema,
    },
    FileKind {
        name: "registry",
        path: registry::PATH,
        title: "tenants/registry.json of a BitBuilder system repository",
        body: Registry::schema,
    },
    FileKind {
        name: "policy",
        path: "policies/NAME.json",
        title: "policies/NAME.json of a BitBuilder system repository",
        body: PolicyFile::schema,
    },
    FileKind {
        name: "secrets",
        path: secrets::PATH,
        title: "secrets/sealed-secrets.yaml of a BitBuilder tenant's repository",
        body: SealedSecrets::schema,
    },
    FileKind {
        name: "notifications",
        path: notification::PATH,
        title: "notifications.json of a BitBuilder system repository",
        body: Notifications::schema,
    },
];

impl FileKind {
    /// The whole schema.
    #[must_use]
    pub fn schema(&self) -> Json {
        let mut schema = (self.body)();
        let editor = "Which schema an editor checks this file with; nothing on the host reads it.";
        schema["properties"][SCHEMA] = json!({ "type": "string", "description": editor });
        schema["$schema"] = json!("https://json-schema.org/draft/2020-12/schema");
        schema["$id"] = json!(format!("urn:bitbuilder:schema:{}:1.0", self.name));
        schema["title"] = json!(self.title);
        schema
    }
}
