//! Puts what is held of many repositories into one file that plain Git reads (git-bundle(1)). Nothing is copied on disk: the
//! mirrors lend their objects to a repository that has only references.

use crate::{git::git, mirror::open_mirror, place::Place, prune::remove_tree, record::author, seed::mirror_of};
use gix::{
    ObjectId,
    objs::{
        Commit, Tree,
        tree::{Entry, EntryKind},
    },
};
use host::files::FileError;
use model::{
    Reference, Revision,
    export::{BRANCH, Export, PATH, Repository},
    names::RepositoryName,
};
use std::{
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    time::{SystemTime, UNIX_EPOCH},
};
use thiserror::Error;

/// Why there is no bundle.
#[derive(Debug, Error)]
pub(crate) enum ExportError {
    #[error("nothing is held of the system repository")]
    NoSystem,
    #[error("cannot make a repository of references: {0}")]
    Git(#[from] Box<gix::Error>),
    #[error("cannot write down what is exported")]
    Text(#[from] serde_json::Error),
    #[error("git bundle ended ({0})")]
    Bundle(String),
    #[error(transparent)]
    File(#[from] FileError),
}

impl From<gix::Error> for ExportError {
    fn from(cause: gix::Error) -> Self {
        Self::Git(Box::new(cause))
    }
}

fn directory(root: &Path) -> PathBuf {
    root.join(".new-export")
}

/// Makes the repository of references. Returns the repositories of which nothing is held.
pub(crate) fn gather(root: &Path, export: &Export) -> Result<Vec<RepositoryName>, ExportError> {
    let at = directory(root);
    remove(root)?;
    let of = |one: &Repository| held(&Place::new(root, &one.name), &one.reference, &one.revision);
    let kept: Vec<(&Repository, ObjectId)> =
        export.repositories.iter().filter_map(|repository| Some((repository, of(repository)?))).collect();
    if kept.iter().all(|(repository, _)| repository.name != RepositoryName::system()) {
        return Err(ExportError::NoSystem);
    }
    let missing = export.repositories.iter().filter(|one| kept.iter().all(|(kept, _)| kept.name != one.name));
    let missing = missing.map(|one| one.name.clone()).collect();
    let bare = gix::init_bare(&at)?;
    let lenders: String = kept
        .iter()
        .filter_map(|(repository, _)| mirror_of(root, &repository.name))
        .fold(String::new(), |list, mirror| list + &format!("{}\n", mirror.join("objects").display()));
    write(&at.join("objects/info/alternates"), &lenders)?;
    let said = Export::of(export.trust.clone(), kept.iter().map(|(repository, _)| (*repository).clone()).collect());
    let mut references = vec![(BRANCH.to_owned(), commit(&bare, &said.text()?)?)];
    references.extend(kept.iter().map(|(repository, id)| (repository.exported_as(), *id)));
    references.sort();
    let packed = references.iter().fold(String::new(), |mut list, (name, id)| {
        // Writing to a String cannot fail.
        let _infallible = writeln!(list, "{id} {name}");
        list
    });
    write(&at.join("packed-refs"), &packed)?;
    write(&at.join("HEAD"), &format!("ref: {BRANCH}\n"))?;
    Ok(missing)
}

/// Writes the bundle to standard output.
pub(crate) fn stream(root: &Path) -> Result<(), ExportError> {
    let at = directory(root);
    // What the servers packed is taken as it is.
    let ended = git(&at).args(["-c", "pack.window=0", "bundle", "create", "--quiet", "-", "--all"]).status();
    remove(root)?;
    match ended {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(ExportError::Bundle(status.to_string())),
        Err(cause) => Err(ExportError::Bundle(cause.to_string())),
    }
}

/// What an earlier one left, and this one leaves.
fn remove(root: &Path) -> Result<(), FileError> {
    let at = directory(root);
    if at.exists() { remove_tree(&at) } else { Ok(()) }
}

/// What stands for a commit that was fetched: the tag that names it, because that may be what is signed, or itself.
pub(crate) fn held(place: &Place, reference: &Reference, revision: &Revision) -> Option<ObjectId> {
    let mirror = open_mirror(&place.mirror()).ok()?;
    let commit = ObjectId::from_hex(revision.as_str().as_bytes()).ok()?;
    let named = mirror.try_find_reference(reference.as_str()).ok().flatten();
    let tag = named.and_then(|named| {
        let target = named.try_id()?.detach();
        let peeled = mirror.find_object(target).ok()?.peel_tags_to_end().ok()?.id;
        (peeled == commit).then_some(target)
    });
    tag.or_else(|| mirror.has_object(commit).then_some(commit))
}

/// A commit that holds what is said.
fn commit(bare: &gix::Repository, text: &str) -> Result<ObjectId, gix::Error> {
    let oid = bare.write_blob(text)?.detach();
    let entry = Entry { mode: EntryKind::Blob.into(), filename: PATH.into(), oid };
    let tree = bare.write_object(Tree { entries: vec![entry] })?.detach();
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let author = author(seconds);
    let commit = Commit {
        tree,
        parents: std::iter::empty().collect(),
        committer: author.clone(),
        author,
        encoding: None,
        message: "What this host follows\n".into(),
        extra_headers: Vec::new(),
    };
    Ok(bare.write_object(commit)?.detach())
}

fn write(path: &Path, text: &str) -> Result<(), FileError> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).map_err(FileError::new("create", parent))?;
    }
    fs::write(path, text).map_err(FileError::new("write", path))
}
