//! Tidying a mirror: the packs of many pushes become few, and what nothing names any more goes, so that a branch that is
//! rewritten again and again does not fill the disk.

use crate::{
    git::{git, said},
    mirror::{open_mirror, remove_stale},
    place::{Place, Record, names_in},
    record,
};
use gix::{ObjectId, Repository, refs::transaction::PreviousValue};
use host::files::{self, FileError};
use model::Revision;
use std::fs;
use thiserror::Error;

/// How many packs a mirror may have before they are joined.
const FEW_PACKS: usize = 10;
/// How much a mirror may grow beyond twice what it had when it was last made anew, in bytes.
const GROWTH: u64 = 16 << 20;
/// More packs than this make looking objects up slow.
const MANY_PACKS: usize = 100;
/// Below the largest file that a child may write: what is larger becomes several packs.
const LARGEST_PACK: &str = "pack.packSizeLimit=900m";
/// Where commits that are checked out are named, so that they stay.
const KEPT: &str = "refs/kept/";

/// Why a mirror was not tidied.
#[derive(Debug, Error)]
pub(crate) enum TidyError {
    #[error("cannot read the mirror")]
    Mirror(#[source] Box<gix::Error>),
    #[error("git repack {0}")]
    Repack(String),
    #[error(transparent)]
    File(#[from] FileError),
}

/// What is untidy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Untidy {
    /// There are many packs.
    Packs,
    /// Much has come since it was known how much is needed: some of it may not be.
    Size,
}

/// Whether there is something to be tidied. It costs one listing.
pub(crate) fn is_untidy(place: &Place, budget: u64) -> bool {
    matches!(judge(place, budget), Ok(Some(_)))
}

/// Whether that should not be put off any more.
pub(crate) fn is_pressing(place: &Place, budget: u64) -> bool {
    let much = |Packs { count, size }: Packs| count > MANY_PACKS || size > budget - budget / 8;
    Packs::of(place).is_ok_and(much) && is_untidy(place, budget)
}

fn judge(place: &Place, budget: u64) -> Result<Option<Untidy>, FileError> {
    let Packs { count, size } = Packs::of(place)?;
    let needed = tidy_size(place);
    let much = size > needed.saturating_mul(2).saturating_add(GROWTH);
    // Twice may be more than there is room for.
    if much || (size > budget / 2 && size > needed.saturating_add(budget / 16)) {
        return Ok(Some(Untidy::Size));
    }
    Ok((count > FEW_PACKS).then_some(Untidy::Packs))
}

/// What the packs of the mirror have together, in bytes.
pub(crate) fn packed_size(place: &Place) -> Result<u64, FileError> {
    Packs::of(place).map(|packs| packs.size)
}

/// The packs of a mirror.
struct Packs {
    count: usize,
    /// With their indices, in bytes.
    size: u64,
}

impl Packs {
    fn of(place: &Place) -> Result<Self, FileError> {
        let packs = place.mirror().join("objects/pack");
        let names = names_in(&packs)?;
        let sizes = names.iter().filter_map(|name| fs::metadata(packs.join(name)).ok()).map(|data| data.len());
        Ok(Self { count: names.iter().filter(|name| name.ends_with(".pack")).count(), size: sizes.sum() })
    }
}

/// Remembers that the mirror holds nothing but what is needed.
pub(crate) fn note_size(place: &Place) -> Result<(), FileError> {
    let size = Packs::of(place)?.size.to_string();
    files::write_unflushed(&place.tidy_size(), size.as_bytes(), 0o640).map(drop)
}

/// How large the packs were when they held nothing but what is needed; 0 if that is not known.
fn tidy_size(place: &Place) -> u64 {
    fs::read_to_string(place.tidy_size()).ok().and_then(|text| text.trim().parse().ok()).unwrap_or(0)
}

/// Tidies the mirror if there is need. Returns whether there was.
pub(crate) fn tidy(place: &Place, budget: u64) -> Result<bool, TidyError> {
    if !place.exists() {
        return Ok(false);
    }
    let _alone = place.lock()?;
    place.sweep()?;
    remove_stale(&place.mirror())?;
    let Some(untidy) = judge(place, budget)? else { return Ok(false) };
    match untidy {
        Untidy::Packs => repack(place, &["--geometric=2"])?,
        Untidy::Size => {
            let mirror = open_mirror(&place.mirror()).map_err(TidyError::Mirror)?;
            name_what_stays(&mirror, place).map_err(|cause| TidyError::Mirror(Box::new(cause)))??;
            drop(mirror);
            repack(place, &["-a"])?;
            note_size(place)?;
        }
    }
    Ok(true)
}

/// Lets the mirror name what was fetched last, by the reference that it had, and what is checked out; nothing else.
fn name_what_stays(mirror: &Repository, place: &Place) -> Result<Result<(), FileError>, gix::Error> {
    let reference = place.record().map(|Record { reference, .. }| reference);
    let checked_out = match place.revisions() {
        Ok(revisions) => revisions,
        Err(cause) => return Ok(Err(cause)),
    };
    for held in mirror.references()?.all()?.flatten() {
        let name = held.name().as_bstr().to_string();
        let is_needed = record::wrote(&name)
            || reference.as_ref().is_some_and(|reference| reference.as_str() == name)
            || name.strip_prefix(KEPT).is_some_and(|kept| checked_out.iter().any(|revision| revision.as_str() == kept));
        if !is_needed {
            held.delete()?;
        }
    }
    let id = |revision: &Revision| ObjectId::from_hex(revision.as_str().as_bytes()).ok();
    for revision in &checked_out {
        // A mirror that was made anew may lack what was checked out of the one before.
        if let Some(id) = id(revision).filter(|id| mirror.has_object(*id)) {
            mirror.reference(format!("{KEPT}{revision}"), id, PreviousValue::Any, "")?;
        }
    }
    Ok(Ok(()))
}

fn repack(place: &Place, how: &[&str]) -> Result<(), TidyError> {
    let ended = git(&place.mirror()).args(["-c", LARGEST_PACK, "repack", "-q", "-d", "-n"]).args(how).output();
    let ended = ended.map_err(|cause| TidyError::Repack(format!("does not start: {cause}")))?;
    if ended.status.success() {
        return Ok(());
    }
    Err(TidyError::Repack(format!("failed ({}) {}", ended.status, said(&ended.stderr))))
}
