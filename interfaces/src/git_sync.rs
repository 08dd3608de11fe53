//! Twins of io.bitbuilder.GitSync.

use crate::macros::{contract, errors, object};
use model::{Reference, RepositoryUrl, Revision, names::RepositoryName};

object! {
    /// What is held of one repository.
    Repository { repository: RepositoryName, url: Option<RepositoryUrl>, reference: Option<Reference>, revision: Option<Revision>, checkouts: Vec<Revision> }
    /// Fetches one reference.
    Fetch { repository: RepositoryName, url: RepositoryUrl, reference: Reference }
    /// What the reference names.
    Fetched { revision: Revision, changed: bool }
    /// Makes a directory of a commit's files.
    Checkout { repository: RepositoryName, revision: Revision }
    /// Where the files are.
    CheckedOut { path: String, changed: bool }
    /// Removes checkouts but some.
    Prune { repository: RepositoryName, keep: Vec<Revision> }
    /// Whether anything was changed.
    Changed { changed: bool }
    /// Shows what is held.
    List { repository: Option<RepositoryName> }
    /// What is held.
    Repositories { repositories: Vec<Repository> }
}

errors! {
    NoSuchRepository { repository: RepositoryName } = "nothing is held of the repository {repository}"
    NoSuchRevision { repository: RepositoryName, revision: Revision } = "{revision} of {repository} was never fetched"
    RepositoryUnreachable { repository: RepositoryName, reason: String } = "the repository {repository} cannot be reached: {reason}"
    NoSuchReference { repository: RepositoryName, reference: Reference } = "the repository {repository} has no {reference}"
    RefusedContent { repository: RepositoryName, path: String, reason: String } = "{repository}:{path}: {reason}"
    Failed { action: String, reason: String } = "cannot {action}: {reason}"
}

contract! { "io.bitbuilder.GitSync", "io.bitbuilder.GitSync.varlink", Error,
    Fetch => Fetched, Mutate, Ignored;
    Checkout => CheckedOut, Mutate, Ignored;
    Prune => Changed, Mutate, Ignored;
    List => Repositories, Read, Supported;
}
