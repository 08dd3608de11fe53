//! Whether a mirror is damaged, which a server that sends nonsense does not make it, and what is saved of one that is
//! replaced: the history of what became of commits is on no server.

use crate::{
    fetch::FetchError,
    git::git,
    mirror::open_mirror,
    place::{Place, names_in},
    record::{COUNT, NOTES},
};
use gix::{ObjectId, Repository, objs::Kind, odb::pack::Bundle, progress::Discard, refs::transaction::PreviousValue};
use host::files::{self, FileError};
use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    sync::atomic::AtomicBool,
};

/// How much is read through, byte by byte, after each failure that may be the mirror's, in bytes.
const MOST_READ: u64 = 256 << 20;

/// Remembers that the mirror lacks something that it should have.
pub(crate) fn mark(place: &Place) -> Result<(), FileError> {
    if !place.mirror().is_dir() {
        return Ok(());
    }
    files::write_unflushed(&place.damaged(), b"", 0o640).map(drop)
}

/// Whether that was remembered.
pub(crate) fn is_marked(place: &Place) -> bool {
    place.damaged().exists()
}

/// Whether what is in the mirror is not what was put there.
pub(crate) fn is_damaged(place: &Place) -> bool {
    let mirror = place.mirror();
    match open_mirror(&mirror) {
        Ok(repository) => !names_what_it_has(&repository).unwrap_or(false) || !packs_are_whole(&repository, &mirror),
        Err(_) => true,
    }
}

/// Whether each reference names an object that is there, and each commit a tree.
fn names_what_it_has(repository: &Repository) -> Result<bool, gix::Error> {
    for reference in repository.references()?.all()? {
        let Some(id) = reference.ok().and_then(|reference| reference.try_id().map(gix::Id::detach)) else {
            return Ok(false);
        };
        let Ok(object) = repository.find_header(id) else { return Ok(false) };
        if object.kind() != Kind::Commit {
            continue;
        }
        let tree = repository.find_commit(id).ok().and_then(|commit| commit.tree_id().ok().map(gix::Id::detach));
        if !tree.is_some_and(|tree| repository.has_object(tree)) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Whether each pack is the one that its index is for; and what is in them, if that is not much.
fn packs_are_whole(repository: &Repository, mirror: &Path) -> bool {
    let directory = mirror.join("objects/pack");
    let Ok(names) = names_in(&directory) else { return false };
    let (indices, packs): (Vec<&String>, Vec<&String>) = names
        .iter()
        .filter(|name| name.ends_with(".idx") || name.ends_with(".pack"))
        .partition(|name| name.ends_with(".idx"));
    let indices: Vec<PathBuf> = indices.into_iter().map(|name| directory.join(name)).collect();
    let size: u64 =
        packs.iter().filter_map(|name| fs::metadata(directory.join(name)).ok()).map(|data| data.len()).sum();
    let fits = |index: &PathBuf| {
        let Ok(bundle) = Bundle::at(index, repository.object_hash()) else { return false };
        // What is read is added up, and not unpacked: that could take a server's packs as long as it likes.
        let is_read = size > MOST_READ || bundle.pack.verify_checksum(&mut Discard, &AtomicBool::new(false)).is_ok();
        bundle.index.pack_checksum() == bundle.pack.checksum() && is_read
    };
    packs.len() == indices.len() && indices.iter().all(fits)
}

/// Carries over what became of commits, with the objects of it, as far as the former mirror can be read.
pub(crate) fn carry(former: &Path, fresh: &Repository, tip: ObjectId) -> Result<(), FetchError> {
    for (name, id) in written(former)? {
        let input = fresh.path().join("carried");
        fs::write(&input, format!("{id}\n--not\n{tip}\n")).map_err(FileError::new("write", &input))?;
        let lines = File::open(&input).map_err(FileError::new("open", &input))?;
        // Neither its settings nor its HEAD have to be good for that.
        let ended = git(fresh.path())
            .args(["pack-objects", "--quiet", "--revs", "--delta-base-offset"])
            .arg(fresh.path().join("objects/pack/pack"))
            .env("GIT_ALTERNATE_OBJECT_DIRECTORIES", former.join("objects"))
            .stdin(lines)
            .output();
        fs::remove_file(&input).map_err(FileError::new("remove", &input))?;
        if !ended.is_ok_and(|ended| ended.status.success()) {
            continue;
        }
        // Opened anew, it knows of the pack.
        let named = open_mirror(fresh.path()).map(|fresh| fresh.reference(name, id, PreviousValue::Any, "").map(drop));
        match named {
            Ok(Ok(())) => {}
            Ok(Err(cause)) => return Err(FetchError::Init(cause.to_string())),
            Err(cause) => return Err(FetchError::Init(cause.to_string())),
        }
    }
    Ok(())
}

/// The references that were written here. They are files, whatever else of the mirror is damaged.
fn written(mirror: &Path) -> Result<Vec<(String, ObjectId)>, FileError> {
    let counting = names_in(&mirror.join(COUNT))?.into_iter().map(|name| format!("{COUNT}{name}"));
    let read = |name: String| {
        let text = fs::read_to_string(mirror.join(&name)).ok()?;
        Some((name, ObjectId::from_hex(text.trim().as_bytes()).ok()?))
    };
    Ok(counting.chain([NOTES.to_owned()]).filter_map(read).collect())
}
