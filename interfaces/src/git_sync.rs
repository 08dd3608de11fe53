//! Twins of io.bitbuilder.GitSync.

use crate::macros::{contract, errors, object};
pub use model::progress::EventKind;
use model::{
    Mirrors, PushUrl, Reference, Remote, RepositoryUrl, Revision,
    names::RepositoryName,
    signer::{SignerName, Trust},
};

object! {
    /// What is held of one repository.
    Repository { repository: RepositoryName, url: Option<RepositoryUrl>, reference: Option<Reference>, revision: Option<Revision>, checkouts: Vec<Revision>, remotes: Vec<Remote> }
    /// Fetches one reference.
    Fetch { repository: RepositoryName, url: RepositoryUrl, mirrors: Option<Mirrors>, reference: Reference, trust: Option<Trust>, floor: Option<Revision> }
    /// What the reference names.
    Fetched { revision: Revision, changed: bool, signer: Option<SignerName>, remotes: Vec<Remote> }
    /// Looks at many references.
    Look { repositories: Vec<Fetch> }
    /// What was seen of one.
    Looked { repository: RepositoryName, revision: Option<Revision>, path: Option<String>, unreachable: Option<String>, remotes: Vec<Remote> }
    /// What was seen.
    Sight { repositories: Vec<Looked> }
    /// Makes a directory of a commit's files.
    Checkout { repository: RepositoryName, revision: Revision }
    /// Where the files are.
    CheckedOut { path: String, changed: bool }
    /// Removes checkouts but some.
    Prune { repository: RepositoryName, keep: Vec<Revision> }
    /// Removes what is held of a repository.
    Forget { repository: RepositoryName }
    /// Whether anything was changed.
    Changed { changed: bool }
    /// Something that became of a commit.
    Event { revision: Revision, kind: EventKind, #[serde(rename = "atUSec")] at_u_sec: u64, reason: Option<String>, plan: Vec<String> }
    /// Writes what became of commits into the mirror.
    Record { repository: RepositoryName, events: Vec<Event>, wanted: Option<Revision>, target: Option<Revision>, verified: Option<Revision> }
    /// Makes another server name a commit.
    Push { repository: RepositoryName, url: PushUrl, reference: Reference, revision: Revision }
    /// Writes a bundle.
    Export { document: String, file_descriptor_index: u32 }
    /// What is not in it.
    Exported { missing: Vec<RepositoryName> }
    /// Reads a bundle.
    Import { file_descriptor_index: u32 }
    /// What it says.
    Imported { document: String }
    /// Shows what is held.
    List { repository: Option<RepositoryName> }
    /// What is held.
    Repositories { repositories: Vec<Repository> }
}

impl Fetch {
    /// Where the repository is, in the order in which its servers are asked.
    pub fn addresses(&self) -> impl Iterator<Item = &RepositoryUrl> {
        [&self.url].into_iter().chain(self.mirrors.iter().flat_map(Mirrors::as_slice))
    }
}

errors! {
    NoSuchRepository { repository: RepositoryName } = "nothing is held of the repository {repository}"
    NoSuchRevision { repository: RepositoryName, revision: Revision } = "{revision} of {repository} was never fetched"
    RepositoryUnreachable { repository: RepositoryName, reason: String, silent: bool } = "the repository {repository} cannot be reached: {reason}"
    NoSuchReference { repository: RepositoryName, reference: Reference } = "the repository {repository} has no {reference}"
    NotTrusted { repository: RepositoryName, revision: Revision, reason: String } = "{revision} of {repository} is not trusted: {reason}"
    HistoryRewritten { repository: RepositoryName, revision: Revision, floor: Revision } = "the history of {revision} of {repository} does not contain {floor}, the last commit that held"
    RefusedContent { repository: RepositoryName, path: String, reason: String } = "{repository}:{path}: {reason}"
    NotPushed { repository: RepositoryName, reason: String } = "the push mirror of {repository} refuses it: {reason}"
    RefusedBundle { reason: String } = "the bundle is refused: {reason}"
    Failed { action: String, reason: String } = "cannot {action}: {reason}"
}

contract! { "io.bitbuilder.GitSync", "io.bitbuilder.GitSync.varlink", Error,
    Fetch => Fetched, Mutate, Ignored;
    Look => Sight, Mutate, Required;
    Checkout => CheckedOut, Mutate, Ignored;
    Prune => Changed, Mutate, Ignored;
    Forget => Changed, Mutate, Ignored;
    Record => Changed, Mutate, Ignored;
    Push => Changed, Mutate, Ignored;
    Export => Exported, Administer, Ignored;
    Import => Imported, Administer, Ignored;
    List => Repositories, Read, Supported;
}
