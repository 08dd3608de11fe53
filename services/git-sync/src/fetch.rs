//! Fetches one reference into the bare mirror. One that proves damaged, or has no room left, is replaced by a new one that was
//! filled beside it, and to which what was written here about commits is carried over.

use crate::{
    confine::{LARGEST_FILE, limit_files},
    credentials::Credentials,
    damage::{carry, is_damaged, is_marked},
    login::Login,
    mirror::{fetching, holds, open_mirror, remove_in_the_way, remove_stale},
    place::{Place, Record, Signed},
    prune::discard,
    several::{Attempt, Tried},
    tidy::packed_size,
    trust::{self, TrustError},
};
use gix::{
    ObjectId, Repository,
    objs::Kind,
    progress::Discard,
    refs::transaction::PreviousValue,
    remote::{Direction, fetch::Tags},
};
use host::files::FileError;
use interfaces::git_sync::{Fetch, Fetched};
use model::{Revision, text::printable};
use std::{cell::Cell, fs, io, sync::atomic::AtomicBool};
use thiserror::Error;

/// Less room than this is none: a push brings a pack of a few KiB at least.
const LEAST_ROOM: u64 = 64 << 10;

/// The largest commit or annotated tag in bytes: a message and a signature, which are held whole more than once.
const MOST_SAID: u64 = 1 << 20;

/// What `git upload-pack` is told for file:// addresses. It refuses the repositories of other users otherwise; that one
/// may be read here is the decision of whoever named its address.
const GIT_CONFIG: &str = "[safe]\n\tdirectory = *\n";

/// What is said of a server that wants to know who asks.
const ASKED: &str = "it asks for a user and password, and this host has none for it";

/// Why nothing was fetched.
#[derive(Debug, Error)]
pub(crate) enum FetchError {
    #[error("{0}")]
    Unreachable(String),
    #[error("it sends something too large for this host: {0}")]
    TooLarge(String),
    #[error("it has something too large for this host: a mirror may have {0} MiB")]
    NoRoom(u64),
    #[error("the server does not have the reference")]
    NoReference,
    #[error("the reference names a {0}, not a commit")]
    NotACommit(Kind),
    #[error("{reason}")]
    Untrusted { revision: Revision, reason: String },
    #[error("its history does not contain {floor}")]
    Rewritten { revision: Revision, floor: Revision },
    #[error("cannot judge what was fetched: {0}")]
    Judge(String),
    #[error("cannot write to the mirror: {0}")]
    Full(String),
    #[error("cannot make a mirror: {0}")]
    Init(String),
    #[error(transparent)]
    File(#[from] FileError),
}

/// Why one attempt fetched nothing.
enum Fault {
    /// Another mirror would not help.
    Final(FetchError),
    /// What came does not fit: the server's fault, unless the mirror is damaged.
    Perhaps(FetchError),
    /// The mirror's: another is needed.
    Mirror(FetchError),
}

/// What a server is shown, and how much it may send.
#[derive(Clone, Copy)]
pub(crate) struct Access<'a> {
    pub(crate) credentials: &'a Credentials<'a>,
    pub(crate) login: Option<&'a Login>,
    /// What the packs of a mirror may have together, in bytes.
    pub(crate) budget: u64,
}

impl Access<'_> {
    /// The largest file that an empty mirror has room for.
    fn most_at_once(self) -> u64 {
        LARGEST_FILE.min(self.budget / 2)
    }
}

/// What a reference names.
struct Tip {
    /// The object itself: a commit or an annotated tag.
    object: ObjectId,
    /// The commit that it is or names.
    revision: Revision,
}

/// Fetches a reference and judges what it names.
pub(crate) fn fetch(place: &Place, attempt: &Attempt, access: Access<'_>) -> Result<Tried, FetchError> {
    let call = &attempt.call;
    let reference = &call.reference;
    place.make()?;
    let _alone = place.lock()?;
    place.sweep()?;
    host::files::write_unflushed(&place.git_config(), GIT_CONFIG.as_bytes(), 0o640)?;
    let tip = match update(place, attempt, access) {
        Ok(tip) => tip,
        Err(Fault::Final(cause)) => return Err(cause),
        Err(Fault::Mirror(_)) => replace(place, attempt, access)?,
        Err(Fault::Perhaps(cause)) => return Err(cause),
    };
    let held = place.record();
    let held_here = held.as_ref().filter(|held| held.reference == *reference);
    if let Some(held) = held_here.filter(|_| attempt.stands_in())
        && is_behind(place, &tip.revision, &held.revision)?
    {
        return stay(place, call, tip.revision, Some(held));
    }
    let signed = match judge(place, call, &tip, held_here.and_then(|held| held.signed.as_ref())) {
        Err(FetchError::Rewritten { revision, floor }) if is_behind(place, &revision, &floor)? => {
            return stay(place, call, revision, held_here);
        }
        judged => judged?,
    };
    let Tip { revision, object } = tip;
    let changed = held.as_ref().is_none_or(|held| held.reference != *reference || held.revision != revision);
    let signer = signed.as_ref().map(|signed| signed.signer.clone());
    // Not flushed: a mirror is a cache. After a power failure it is fetched again if it lacks what its record says.
    place.write_record(&Record {
        url: attempt.url().clone(),
        reference: reference.clone(),
        revision: revision.clone(),
        object: Some(object.to_string()),
        floor: call.floor.clone(),
        signed,
    })?;
    Ok(Tried::Fetched(Fetched { revision, changed, signer, remotes: Vec::new() }))
}

/// Whether a server shows an older state than `newest`, which the mirror has from another time or server.
fn is_behind(place: &Place, revision: &Revision, newest: &Revision) -> Result<bool, FetchError> {
    let fault = |cause: &gix::Error| FetchError::Judge(reason(cause));
    let mirror = open_mirror(&place.mirror()).map_err(|cause| fault(&cause))?;
    // What it does not have it cannot compare.
    let other = revision != newest && holds(&mirror, newest);
    Ok(other && contains(&mirror, newest, revision).map_err(|cause| fault(&cause))?)
}

/// Leaves what is held as it is, if it still may be used, and its reference with it.
fn stay(place: &Place, call: &Fetch, revision: Revision, held: Option<&Record>) -> Result<Tried, FetchError> {
    let Some(held) = held else { return Ok(Tried::Behind { revision, held: None }) };
    let fault = |cause: &gix::Error| FetchError::Judge(reason(cause));
    let object = held.object.as_deref().unwrap_or(held.revision.as_str());
    let object = ObjectId::from_hex(object.as_bytes()).map_err(|cause| fault(&gix::Error::from_error(cause)))?;
    let mirror = open_mirror(&place.mirror()).map_err(|cause| fault(&cause))?;
    if !mirror.has_object(object) {
        return Ok(Tried::Behind { revision, held: None });
    }
    mirror.reference(call.reference.as_str(), object, PreviousValue::Any, "").map_err(|cause| fault(&cause))?;
    let signer = match judge(place, call, &Tip { object, revision: held.revision.clone() }, held.signed.as_ref()) {
        Err(FetchError::Rewritten { .. }) => return Ok(Tried::Behind { revision, held: None }),
        judged => judged?.map(|signed| signed.signer),
    };
    let held = Fetched { revision: held.revision.clone(), changed: false, signer, remotes: Vec::new() };
    Ok(Tried::Behind { revision, held: Some(held) })
}

/// Whether what was fetched may be used: it goes on from the floor, and somebody signed it who may.
fn judge(place: &Place, call: &Fetch, tip: &Tip, before: Option<&Signed>) -> Result<Option<Signed>, FetchError> {
    if call.floor.is_none() && call.trust.is_none() {
        return Ok(None);
    }
    let fault = |cause: &gix::Error| FetchError::Judge(reason(cause));
    let mirror = open_mirror(&place.mirror()).map_err(|cause| fault(&cause))?;
    if let Some(floor) = call.floor.as_ref().filter(|floor| **floor != tip.revision) {
        let contained = contains(&mirror, &tip.revision, floor).map_err(|cause| fault(&cause))?;
        if !contained {
            return Err(FetchError::Rewritten { revision: tip.revision.clone(), floor: floor.clone() });
        }
    }
    let Some(trust) = &call.trust else { return Ok(None) };
    let object = tip.object.to_string();
    if let Some(before) = before.filter(|before| before.object == object && before.trust == *trust) {
        return Ok(Some(before.clone()));
    }
    match trust::signer(&mirror, tip.object, &call.reference, trust, place) {
        Ok(signer) => Ok(Some(Signed { object, trust: trust.clone(), signer })),
        Err(TrustError::Untrusted(reason)) => Err(FetchError::Untrusted { revision: tip.revision.clone(), reason }),
        Err(TrustError::Judge(reason)) => Err(FetchError::Judge(reason)),
        Err(TrustError::File(cause)) => Err(FetchError::File(cause)),
    }
}

/// Whether `floor` is `revision` or one of its ancestors.
fn contains(mirror: &Repository, revision: &Revision, floor: &Revision) -> Result<bool, gix::Error> {
    let id = |revision: &Revision| ObjectId::from_hex(revision.as_str().as_bytes()).map_err(gix::Error::from_error);
    let (revision, floor) = (id(revision)?, id(floor)?);
    // Without its floor a mirror cannot hold a history that contains it.
    if !mirror.has_object(floor) {
        return Ok(false);
    }
    match mirror.merge_bases_many(revision, &[floor]) {
        Ok(bases) => Ok(bases.iter().any(|base| base.detach() == floor)),
        Err(cause) => Err(cause),
    }
}

/// Fetches into the mirror that is there.
fn update(place: &Place, attempt: &Attempt, access: Access<'_>) -> Result<Tip, Fault> {
    let unusable = |reason: &str| Fault::Mirror(FetchError::Init(reason.to_owned()));
    let mirror = place.mirror();
    remove_stale(&mirror).map_err(|cause| Fault::Final(cause.into()))?;
    // Git's own program takes a directory without a HEAD for no repository.
    let has_head = fs::read_to_string(mirror.join("HEAD")).is_ok_and(|head| head.starts_with("ref: refs/"));
    if is_marked(place) || !has_head {
        return Err(unusable("there is none, or it is damaged"));
    }
    let room = room(place, access.budget)?;
    let options = fetching(attempt.url(), access.credentials);
    let options = options.map_err(|reason| Fault::Final(FetchError::Unreachable(reason)))?;
    let repository = gix::open_opts(&mirror, options).map_err(|_| unusable("there is none that can be read"))?;
    limit_files(room).map_err(|cause| Fault::Final(FetchError::Init(cause.to_string())))?;
    match receive(place, &repository, attempt, access) {
        // A new one has more room.
        Err(Fault::Final(FetchError::NoRoom(most))) if room < access.most_at_once() => {
            Err(Fault::Mirror(FetchError::NoRoom(most)))
        }
        Err(Fault::Perhaps(cause)) if is_damaged(place) => Err(Fault::Mirror(cause)),
        received => received,
    }
}

/// How large the next file of a mirror may become: what comes is a pack and its index.
fn room(place: &Place, budget: u64) -> Result<u64, Fault> {
    let size = packed_size(place).map_err(|cause| Fault::Final(cause.into()))?;
    let left = budget.saturating_sub(size) / 2;
    if left < LEAST_ROOM { Err(Fault::Mirror(FetchError::NoRoom(budget >> 20))) } else { Ok(left) }
}

/// Fetches into a new mirror and puts it in the place of the other one, with what was written there about commits.
fn replace(place: &Place, attempt: &Attempt, access: Access<'_>) -> Result<Tip, FetchError> {
    let fresh = place.fresh_mirror();
    let limit = |bytes| limit_files(bytes).map_err(|cause| FetchError::Init(cause.to_string()));
    limit(access.most_at_once())?;
    let repository = gix::ThreadSafeRepository::init_opts(
        &fresh,
        gix::create::Kind::Bare,
        gix::create::Options::default(),
        fetching(attempt.url(), access.credentials).map_err(FetchError::Unreachable)?,
    )
    .map_err(|cause| FetchError::Init(reason(&cause)))?
    .to_thread_local();
    let tip = receive(place, &repository, attempt, access).map_err(|fault| match fault {
        Fault::Final(cause) | Fault::Perhaps(cause) | Fault::Mirror(cause) => cause,
    })?;
    limit(LARGEST_FILE)?;
    if let Some(floor) = &attempt.call.floor
        && !holds(&repository, floor)
        && let Ok(former) = open_mirror(&place.mirror())
        && holds(&former, floor)
    {
        // What is held is more than this server has, and is not given up for a copy of it.
        drop(repository);
        discard(&fresh)?;
        let Tip { revision, .. } = &tip;
        let lost = || FetchError::Rewritten { revision: revision.clone(), floor: floor.clone() };
        return if holds(&former, revision) { Ok(tip) } else { Err(lost()) };
    }
    carry(&place.mirror(), &repository, tip.object)?;
    drop(repository);
    discard(&place.mirror())?;
    fs::rename(&fresh, place.mirror()).map_err(FileError::new("rename", &fresh))?;
    crate::tidy::note_size(place)?;
    Ok(tip)
}

fn receive(place: &Place, mirror: &Repository, attempt: &Attempt, access: Access<'_>) -> Result<Tip, Fault> {
    let (url, reference) = (attempt.url(), &attempt.call.reference);
    let unreachable = |cause: gix::Error| Fault::Final(FetchError::Unreachable(reason(&cause)));
    remove_in_the_way(mirror, reference).map_err(|cause| Fault::Perhaps(FetchError::Init(reason(&cause))))?;
    let remote = mirror
        .remote_at_without_url_rewrite(url.as_str())
        .and_then(|remote| {
            remote
                .with_fetch_tags(Tags::None)
                .with_refspecs(Some(format!("+{}:{reference}", attempt.reference()).as_str()), Direction::Fetch)
        })
        .map_err(unreachable)?;
    let asked = Cell::new(false);
    let connection = crate::transport::connect(&remote).map_err(unreachable)?.with_credentials(|action| {
        asked.set(true);
        Ok(crate::transport::identify(action, url.as_str(), access.login))
    });
    let prepared = connection.prepare_fetch(Discard, gix::remote::ref_map::Options::default()).map_err(|cause| {
        if asked.get() { Fault::Final(FetchError::Unreachable(ASKED.to_owned())) } else { unreachable(cause) }
    })?;
    // Whoever waits for this need not take a server that sends for long for one that is silent.
    let _unheard = fs::write(place.answered(), "");
    let Some(mapping) = prepared.ref_map().mappings.first() else { return Err(Fault::Final(FetchError::NoReference)) };
    let tip = mapping.remote.as_id().map(ToOwned::to_owned).ok_or(Fault::Final(FetchError::NoReference))?;
    prepared.receive(Discard, &AtomicBool::new(false)).map_err(|cause| {
        let reason = reason(&cause);
        if has_kind(&cause, &[io::ErrorKind::FileTooLarge]) {
            Fault::Final(FetchError::NoRoom(access.budget >> 20))
        } else if has_kind(&cause, &FULL) {
            Fault::Final(FetchError::Full(reason))
        } else if cause.is_resource_exhausted() {
            // It would be as large the second time.
            Fault::Final(FetchError::TooLarge(reason))
        } else {
            Fault::Perhaps(FetchError::Unreachable(reason))
        }
    })?;
    let peeled = peel(mirror, tip);
    if matches!(peeled, Err(Fault::Final(FetchError::TooLarge(_)))) {
        // The next fetch reads what the mirror's references name to tell the server what is here.
        if let Ok(Some(held)) = mirror.try_find_reference(reference.as_str()) {
            held.delete().map_err(|cause| Fault::Perhaps(FetchError::Init(reason(&cause))))?;
        }
    }
    peeled
}

/// The commit that a branch or tag names. A tag may name a tag.
fn peel(mirror: &Repository, tip: ObjectId) -> Result<Tip, Fault> {
    let lacking = |cause: gix::Error| {
        Fault::Perhaps(FetchError::Unreachable(format!("it did not send its commit: {}", reason(&cause))))
    };
    let mut object = tip;
    let (kind, object) = loop {
        let header = mirror.find_header(object).map_err(lacking)?;
        let kind = header.kind();
        if matches!(kind, Kind::Commit | Kind::Tag) && header.size() > MOST_SAID {
            return Err(Fault::Final(FetchError::TooLarge(format!("a {kind} of {} bytes", header.size()))));
        }
        if kind != Kind::Tag {
            break (kind, object);
        }
        let tag = mirror.find_object(object).map_err(lacking)?;
        let named = gix::objs::TagRefIter::from_bytes(&tag.data, mirror.object_hash()).target_id();
        object = named.map_err(|cause| lacking(gix::Error::from_error(cause)))?;
    };
    if kind != Kind::Commit {
        return Err(Fault::Final(FetchError::NotACommit(kind)));
    }
    // An object name in hexadecimal digits is what a revision is.
    let revision = object.to_string().parse().map_err(|_| Fault::Final(FetchError::NoReference))?;
    Ok(Tip { object: tip, revision })
}

/// What is said when this host has no room.
const FULL: [io::ErrorKind; 3] =
    [io::ErrorKind::StorageFull, io::ErrorKind::QuotaExceeded, io::ErrorKind::ReadOnlyFilesystem];

fn has_kind(error: &gix::Error, kinds: &[io::ErrorKind]) -> bool {
    error.iter_errors().filter_map(|cause| cause.downcast_ref::<io::Error>()).any(|cause| kinds.contains(&cause.kind()))
}

/// An error and its causes in one short line, which may hold what a server said.
fn reason(error: &gix::Error) -> String {
    let mut parts: Vec<String> = Vec::new();
    for cause in error.iter_errors() {
        let text = cause.to_string();
        if !text.is_empty() && !parts.iter().any(|part| part.contains(&text)) {
            parts.push(text);
        }
    }
    printable(&parts.join(": ")).chars().take(300).collect()
}
