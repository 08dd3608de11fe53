//! Makes a directory with the files of a commit: read whole and judged before the first byte is written, then written
//! beside its place and renamed there. Nothing that the repository says is run: no filter, no attribute, no hook.

use crate::{
    damage::mark,
    mirror::open_mirror,
    place::{Place, sync_directory},
    prune::remove_tree,
    tree::{Bounds, LONGEST_TARGET, Names, Refused, Tally, entry_kind, entry_name, is_lfs_pointer, link_target},
};
use gix::{
    ObjectId, Repository,
    objs::{Kind, TreeRefIter, tree::EntryKind},
};
use host::files::FileError;
use model::Revision;
use std::{
    fs::{self, File, OpenOptions, Permissions},
    io::Write,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt, symlink},
    path::Path,
};
use thiserror::Error;

/// The largest tree object that is read: one directory's names.
const LARGEST_TREE: u64 = 16 << 20;

/// Why there is no checkout.
#[derive(Debug, Error)]
pub(crate) enum CheckoutError {
    #[error("nothing was fetched")]
    NoRepository,
    #[error("the commit was not fetched")]
    NoRevision,
    #[error("{path}: {reason}")]
    Refused { path: String, reason: Refused },
    #[error("the mirror lacks {path} of the commit; the next fetch makes it anew")]
    Damaged {
        path: String,
        #[source]
        cause: Box<gix::Error>,
    },
    #[error(transparent)]
    File(#[from] FileError),
}

/// What is written for an entry of a tree.
enum Node {
    Directory,
    File { id: ObjectId, executable: bool },
    Link { target: String },
}

/// Checks a commit out. Returns whether it was not there before.
pub(crate) fn checkout(place: &Place, revision: &Revision) -> Result<bool, CheckoutError> {
    if !place.exists() {
        return Err(CheckoutError::NoRepository);
    }
    let _alone = place.lock()?;
    place.sweep()?;
    let wanted = place.checkout(revision);
    if wanted.is_dir() {
        return Ok(false);
    }
    let made = make(place, revision, &wanted);
    if let Err(CheckoutError::Damaged { .. }) = made {
        // What the server has is fetched anew, and what was written here is carried over.
        mark(place)?;
    }
    made.map(|()| true)
}

fn make(place: &Place, revision: &Revision, wanted: &Path) -> Result<(), CheckoutError> {
    let repository = open_mirror(&place.mirror()).map_err(|_| CheckoutError::NoRevision)?;
    let tree = tree_of(&repository, revision)?;
    let mut reading = Reading { repository: &repository, tally: Tally::new(Bounds::default()), nodes: Vec::new() };
    reading.directory(tree, "", 0)?;
    let growing = place.growing_checkout(revision);
    let parent = place.checkouts();
    fs::DirBuilder::new().recursive(true).mode(0o750).create(&parent).map_err(FileError::new("create", &parent))?;
    if let Err(cause) = write(&repository, &growing, &reading.nodes) {
        remove_tree(&growing)?;
        return Err(cause);
    }
    fs::rename(&growing, wanted).map_err(FileError::new("rename", &growing))?;
    Ok(sync_directory(&parent)?)
}

/// The tree of a commit that was fetched. Whatever else has this name, is no commit here.
fn tree_of(repository: &Repository, revision: &Revision) -> Result<ObjectId, CheckoutError> {
    let id = ObjectId::from_hex(revision.as_str().as_bytes()).map_err(|_| CheckoutError::NoRevision)?;
    match repository.try_find_header(id) {
        Ok(Some(header)) if header.kind() == Kind::Commit => {}
        Ok(_) => return Err(CheckoutError::NoRevision),
        Err(cause) => return Err(damaged("the commit", cause)),
    }
    let commit = repository.find_object(id).map_err(|cause| damaged("the commit", cause))?;
    let malformed = |_| CheckoutError::Refused { path: ".".to_owned(), reason: Refused::Malformed };
    gix::objs::CommitRefIter::from_bytes(&commit.data, repository.object_hash()).tree_id().map_err(malformed)
}

fn damaged(path: &str, cause: gix::Error) -> CheckoutError {
    CheckoutError::Damaged { path: path.to_owned(), cause: Box::new(cause) }
}

/// A commit's tree as it is read: directories before what is in them.
struct Reading<'a> {
    repository: &'a Repository,
    tally: Tally,
    nodes: Vec<(String, Node)>,
}

/// An entry of a directory that was judged by itself.
struct Entry {
    name: String,
    kind: EntryKind,
    id: ObjectId,
}

impl Reading<'_> {
    /// All of a directory is judged before what is in its entries is read: of each directory above there are then its
    /// entries, of which so many are counted, and not the whole of its tree object.
    fn directory(&mut self, tree: ObjectId, path: &str, depth: usize) -> Result<(), CheckoutError> {
        for Entry { name, kind, id } in self.entries(tree, path, depth)? {
            let path = join(path, &name);
            let refused = |reason| refuse(&path, reason);
            match kind {
                EntryKind::Commit => return Err(refused(Refused::Submodule)),
                EntryKind::Tree => {
                    self.nodes.push((path.clone(), Node::Directory));
                    self.directory(id, &path, depth + 1)?;
                }
                EntryKind::Link => {
                    let target = self.read(id, &path, Kind::Blob, LONGEST_TARGET)?;
                    let target = link_target(&target, depth).map_err(refused)?.to_owned();
                    self.nodes.push((path, Node::Link { target }));
                }
                EntryKind::Blob | EntryKind::BlobExecutable => {
                    let size = self.size(id, &path, Kind::Blob)?;
                    self.tally.bytes(size).map_err(refused)?;
                    self.nodes.push((path, Node::File { id, executable: kind == EntryKind::BlobExecutable }));
                }
            }
        }
        Ok(())
    }

    fn entries(&mut self, tree: ObjectId, path: &str, depth: usize) -> Result<Vec<Entry>, CheckoutError> {
        let bytes = self.read(tree, path, Kind::Tree, LARGEST_TREE)?;
        let mut names = Names::default();
        let (mut before, mut entries) = (None, Vec::new());
        for entry in TreeRefIter::from_bytes(&bytes, self.repository.object_hash()) {
            let here = if path.is_empty() { "." } else { path };
            let entry = entry.map_err(|_| refuse(here, Refused::Malformed))?;
            let shown = join(path, &String::from_utf8_lossy(entry.filename));
            let refused = |reason| refuse(&shown, reason);
            let kind = entry_kind(entry.mode).map_err(refused)?;
            let name = entry_name(entry.filename, kind == EntryKind::Link).map_err(refused)?;
            names.add(name).map_err(refused)?;
            if before.replace(entry).is_some_and(|before| before > entry) {
                return Err(refused(Refused::Malformed));
            }
            self.tally.entry(&join(path, name), depth).map_err(refused)?;
            entries.push(Entry { name: name.to_owned(), kind, id: entry.oid.to_owned() });
        }
        Ok(entries)
    }

    fn size(&self, id: ObjectId, path: &str, kind: Kind) -> Result<u64, CheckoutError> {
        let header = self.repository.find_header(id).map_err(|cause| damaged(path, cause))?;
        if header.kind() == kind { Ok(header.size()) } else { Err(refuse(path, Refused::Malformed)) }
    }

    fn read(&self, id: ObjectId, path: &str, kind: Kind, most: u64) -> Result<Vec<u8>, CheckoutError> {
        if self.size(id, path, kind)? > most {
            return Err(refuse(path, Refused::TooLarge(most)));
        }
        self.repository
            .find_object(id)
            .map(|mut object| std::mem::take(&mut object.data))
            .map_err(|cause| damaged(path, cause))
    }
}

fn refuse(path: &str, reason: Refused) -> CheckoutError {
    // Names of a tree end in logs and on terminals.
    let path = model::text::printable(path).chars().take(200).collect();
    CheckoutError::Refused { path, reason }
}

fn join(directory: &str, name: &str) -> String {
    if directory.is_empty() { name.to_owned() } else { format!("{directory}/{name}") }
}

/// Writes a tree that was judged into a new directory, and flushes it. Links come last: nothing is written through one.
fn write(repository: &Repository, root: &Path, nodes: &[(String, Node)]) -> Result<(), CheckoutError> {
    let directory =
        |path: &Path| fs::DirBuilder::new().mode(0o700).create(path).map_err(FileError::new("create", path));
    directory(root)?;
    for (name, node) in nodes {
        let path = root.join(name);
        match node {
            Node::Directory => directory(&path)?,
            Node::File { id, executable } => {
                let blob = repository.find_object(*id).map_err(|cause| damaged(name, cause))?;
                if is_lfs_pointer(&blob.data) {
                    return Err(refuse(name, Refused::LfsPointer));
                }
                file(&path, &blob.data, if *executable { 0o555 } else { 0o444 })?;
            }
            Node::Link { .. } => {}
        }
    }
    for (name, node) in nodes {
        if let Node::Link { target } = node {
            let path = root.join(name);
            symlink(target, &path).map_err(FileError::new("create", &path))?;
        }
    }
    let directories = nodes.iter().filter(|(_, node)| matches!(node, Node::Directory));
    for path in directories.map(|(name, _)| root.join(name)).chain([root.to_owned()]) {
        fs::set_permissions(&path, Permissions::from_mode(0o555)).map_err(FileError::new("protect", &path))?;
    }
    let flush = || nix::unistd::syncfs(File::open(root)?).map_err(std::io::Error::from);
    Ok(flush().map_err(FileError::new("flush", root))?)
}

fn file(path: &Path, content: &[u8], mode: u32) -> Result<(), FileError> {
    let write = || {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
        file.write_all(content)?;
        file.set_permissions(Permissions::from_mode(mode))
    };
    write().map_err(FileError::new("write", path))
}
