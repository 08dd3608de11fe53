//! Makes a seed of a bundle that another host exported. The bundle is hostile until every part of it was judged: nothing
//! of it has an effect before that, and what its commits say is judged later, as if a server had shown them.

use crate::{
    bundle::{BundleError, Header, header},
    fault::file_error,
    git::{git, said},
    mirror::open_mirror,
    prune::remove_tree,
    seed::Seed,
};
use gix::{ObjectId, objs::Kind};
use host::files::FileError;
use interfaces::git_sync::Error;
use model::{
    Revision,
    export::{BRANCH, Export, NotAnExport, PATH},
};
use std::{
    fs::{self, File},
    io::{self, BufReader, Read, Seek, SeekFrom},
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
};

/// The most that a host says of itself.
const LARGEST_TEXT: u64 = 8 << 20;

/// The largest file that a child of ours can write.
const LARGEST_BUNDLE: u64 = 1 << 30;

/// Why nothing was made of a bundle.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ImportError {
    #[error(transparent)]
    Bundle(#[from] BundleError),
    #[error("{0}")]
    Pack(String),
    #[error("it has no {PATH} on {BRANCH}")]
    NoExport,
    #[error(transparent)]
    Export(#[from] NotAnExport),
    #[error("{PATH} names {0}, which is not in it as {1}")]
    Differs(String, Revision),
    #[error("{0} is in it, and {PATH} does not name it")]
    Surplus(String),
    #[error(transparent)]
    File(#[from] FileError),
}

impl ImportError {
    /// Whether this host failed, and not the bundle.
    pub(crate) fn is_ours(&self) -> bool {
        matches!(self, Self::File(_))
    }
}

/// Where the bundle is put before.
fn bundle_in(growing: &Seed) -> PathBuf {
    growing.directory().join("bundle")
}

/// Puts a copy of the bundle there, so that nobody changes it while it is judged.
pub(crate) fn take(root: &Path, from: &mut File) -> Result<(), Error> {
    let refused = |reason: &str| Error::RefusedBundle { reason: reason.to_owned() };
    let ours = |cause: FileError| file_error("read the bundle", &cause);
    let growing = Seed::growing(root);
    let path = bundle_in(&growing);
    // A pipe might never end.
    let about = from.metadata().map_err(|cause| ours(FileError::new("read", &path)(cause)))?;
    if !about.is_file() {
        return Err(refused("it is no regular file"));
    }
    if about.len() > LARGEST_BUNDLE {
        return Err(refused(&format!("it has more than {LARGEST_BUNDLE} bytes")));
    }
    if growing.directory().exists() {
        remove_tree(growing.directory()).map_err(ours)?;
    }
    let mut copy = || {
        fs::DirBuilder::new().recursive(true).mode(0o750).create(growing.directory())?;
        io::copy(&mut from.take(LARGEST_BUNDLE), &mut File::create(&path)?)
    };
    copy().map(drop).map_err(|cause| ours(FileError::new("copy", &path)(cause)))
}

/// Makes the seed of the bundle beside it. Returns what the bundle says.
pub(crate) fn import(root: &Path) -> Result<String, ImportError> {
    let growing = Seed::growing(root);
    let made = grow(&growing).and_then(|(text, export)| {
        let bundle = bundle_in(&growing);
        fs::remove_file(&bundle).map_err(FileError::new("remove", &bundle))?;
        export.repositories.iter().try_for_each(|repository| growing.wait_for(repository))?;
        let flush = || nix::unistd::syncfs(File::open(growing.directory())?).map_err(std::io::Error::from);
        flush().map_err(FileError::new("flush", growing.directory()))?;
        Seed::below(root).replace_by(&growing)?;
        Ok(text)
    });
    if made.is_err() {
        remove_tree(growing.directory())?;
    }
    made
}

fn grow(growing: &Seed) -> Result<(String, Export), ImportError> {
    let (path, objects) = (bundle_in(growing), growing.objects());
    let mut file = File::open(&path).map_err(FileError::new("open", &path))?;
    let Header { references, length } = header(BufReader::new(&mut file))?;
    file.seek(SeekFrom::Start(length)).map_err(FileError::new("read", &path))?;
    gix::init_bare(&objects).map_err(|cause| ImportError::Pack(cause.to_string()))?;
    judge(&objects, &["index-pack", "--stdin", "--threads=1"], file)?;
    let packed: String = references.iter().map(|(name, id)| format!("{id} {name}\n")).collect();
    let path = objects.join("packed-refs");
    fs::write(&path, packed).map_err(FileError::new("write", &path))?;
    let connected = ["rev-list", "--objects", "--quiet", "--stdin"];
    let names: String = references.iter().map(|(_, id)| format!("{id}\n")).collect();
    let path = growing.directory().join("tips");
    fs::write(&path, names).map_err(FileError::new("write", &path))?;
    let tips = File::open(&path).map_err(FileError::new("open", &path))?;
    judge(&objects, &connected, tips)?;
    fs::remove_file(&path).map_err(FileError::new("remove", &path))?;
    let text = document(&objects, &references)?;
    let export = Export::parse(text.as_bytes())?;
    agrees(&objects, &references, &export)?;
    Ok((text, export))
}

fn judge(objects: &Path, words: &[&str], input: File) -> Result<(), ImportError> {
    let ended = git(objects).args(words).stdin(input).output();
    let ended = ended.map_err(|cause| ImportError::Pack(format!("git does not start: {cause}")))?;
    if ended.status.success() {
        return Ok(());
    }
    Err(ImportError::Pack(format!("its pack is damaged: {}", said(&ended.stderr))))
}

/// The text of export.json.
fn document(objects: &Path, references: &[(String, ObjectId)]) -> Result<String, ImportError> {
    let (_, tip) = references.iter().find(|(name, _)| name == BRANCH).ok_or(ImportError::NoExport)?;
    let read = || {
        let repository = open_mirror(objects).ok()?;
        let tree = repository.find_commit(*tip).ok()?.tree().ok()?;
        let id = tree.lookup_entry_by_path(PATH).ok()??.object_id();
        let header = repository.find_header(id).ok()?;
        if header.kind() != Kind::Blob || header.size() > LARGEST_TEXT {
            return None;
        }
        String::from_utf8(repository.find_object(id).ok()?.detach().data).ok()
    };
    read().ok_or(ImportError::NoExport)
}

/// Whether each repository that is named is there at the commit that is named, and no other.
fn agrees(objects: &Path, references: &[(String, ObjectId)], export: &Export) -> Result<(), ImportError> {
    let repository = open_mirror(objects).map_err(|cause| ImportError::Pack(cause.to_string()))?;
    for one in &export.repositories {
        let name = one.exported_as();
        let commit = references.iter().find(|(reference, _)| *reference == name).and_then(|(_, id)| {
            let object = repository.find_object(*id).ok()?.peel_tags_to_end().ok()?;
            (object.kind == Kind::Commit).then(|| object.id.to_string())
        });
        if commit.as_deref() != Some(one.revision.as_str()) {
            return Err(ImportError::Differs(one.name.to_string(), one.revision.clone()));
        }
    }
    let named = |reference: &str| export.repositories.iter().any(|one| one.exported_as() == reference);
    match references.iter().find(|(reference, _)| reference != BRANCH && !named(reference)) {
        Some((surplus, _)) => Err(ImportError::Surplus(surplus.clone())),
        None => Ok(()),
    }
}
