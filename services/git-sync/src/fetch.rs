//! Fetches one reference into the bare mirror. The mirror is a cache: one that does not work, or has too many packs, is
//! replaced by a new one that was filled beside it.

use crate::{
    credentials::Credentials,
    login::Login,
    place::{Place, Record, Signed, names_in},
    prune::discard,
    several::{Attempt, Tried},
    trust::{self, TrustError},
};
use gix::{
    ObjectId, Repository,
    objs::Kind,
    open::Options,
    progress::Discard,
    refs::transaction::PreviousValue,
    remote::{Direction, fetch::Tags},
    sec::Trust,
};
use host::files::FileError;
use interfaces::git_sync::{Fetch, Fetched};
use model::{Reference, RepositoryUrl, Revision, text::printable};
use std::{cell::Cell, fs, io, path::Path, sync::atomic::AtomicBool};
use thiserror::Error;

/// How many packs a mirror may have: each push brings one, each makes looking objects up slower.
const MOST_PACKS: usize = 100;

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
    /// Another mirror might.
    Perhaps(FetchError),
}

/// What a server may be shown.
#[derive(Clone, Copy)]
pub(crate) struct Access<'a> {
    pub(crate) credentials: &'a Credentials<'a>,
    pub(crate) login: Option<&'a Login>,
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
        Err(Fault::Perhaps(_)) => replace(place, attempt, access)?,
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
    let absent = || Fault::Perhaps(FetchError::Init("there is none yet".to_owned()));
    let mirror = place.mirror();
    remove_stale(&mirror).map_err(|cause| Fault::Final(cause.into()))?;
    let packs = names_in(&mirror.join("objects/pack")).map_err(|_| absent())?;
    if packs.iter().filter(|name| name.ends_with(".pack")).count() > MOST_PACKS {
        return Err(absent());
    }
    let options = fetching(attempt.url(), access).map_err(Fault::Final)?;
    let repository = gix::open_opts(&mirror, options).map_err(|_| absent())?;
    receive(&repository, attempt, access)
}

/// Fetches into a new mirror and puts it in the place of the other one.
fn replace(place: &Place, attempt: &Attempt, access: Access<'_>) -> Result<Tip, FetchError> {
    let fresh = place.fresh_mirror();
    let repository = gix::ThreadSafeRepository::init_opts(
        &fresh,
        gix::create::Kind::Bare,
        gix::create::Options::default(),
        fetching(attempt.url(), access)?,
    )
    .map_err(|cause| FetchError::Init(reason(&cause)))?
    .to_thread_local();
    let tip = receive(&repository, attempt, access).map_err(|fault| match fault {
        Fault::Final(cause) | Fault::Perhaps(cause) => cause,
    })?;
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
    drop(repository);
    discard(&place.mirror())?;
    fs::rename(&fresh, place.mirror()).map_err(FileError::new("rename", &fresh))?;
    crate::tidy::note_size(place)?;
    Ok(tip)
}

/// Opens a mirror. Only its own configuration counts, which nobody but us writes.
pub(crate) fn open_mirror(mirror: &Path) -> Result<Repository, Box<gix::Error>> {
    gix::open_opts(mirror, options()).map_err(Box::new)
}

/// How a mirror is opened to fetch into it.
fn fetching(url: &RepositoryUrl, access: Access<'_>) -> Result<Options, FetchError> {
    if !url.as_str().starts_with("ssh://") {
        return Ok(options());
    }
    let ssh = access.credentials.ssh_command().map_err(FetchError::Unreachable)?;
    Ok(options().cli_overrides([format!("core.sshCommand={ssh}"), "ssh.variant=ssh".to_owned()]))
}

fn options() -> Options {
    Options::isolated().with(Trust::Full).open_path_as_is(true).config_overrides([
        // The child's memory is bounded, and other fetches go on beside this one.
        "pack.threads=2",
        // A file of 64 MiB that is stored as a difference of up to 16 MiB to one like it.
        "gitoxide.objects.allocLimit=150994944",
        "gc.auto=0",
        "core.logAllRefUpdates=false",
    ])
}

/// Whether a mirror has a commit.
fn holds(mirror: &Repository, revision: &Revision) -> bool {
    ObjectId::from_hex(revision.as_str().as_bytes()).is_ok_and(|id| mirror.has_object(id))
}

fn receive(mirror: &Repository, attempt: &Attempt, access: Access<'_>) -> Result<Tip, Fault> {
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
    let Some(mapping) = prepared.ref_map().mappings.first() else { return Err(Fault::Final(FetchError::NoReference)) };
    let tip = mapping.remote.as_id().map(ToOwned::to_owned).ok_or(Fault::Final(FetchError::NoReference))?;
    prepared.receive(Discard, &AtomicBool::new(false)).map_err(|cause| {
        let reason = reason(&cause);
        if is_full(&cause) {
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

/// Removes references that a file of the wanted one's name, or a directory of it, would collide with.
fn remove_in_the_way(mirror: &Repository, reference: &Reference) -> Result<(), gix::Error> {
    let below = |one: &str, other: &str| one.strip_prefix(other).is_some_and(|rest| rest.starts_with('/'));
    for held in mirror.references()?.all()?.flatten() {
        let name = held.name().as_bstr().to_string();
        if below(&name, reference.as_str()) || below(reference.as_str(), &name) {
            held.delete()?;
        }
    }
    Ok(())
}

/// Removes what a killed fetch or tidying leaves in a mirror: locks of references and half-received packs. The lock of the place is
/// held, so that nobody else's are met.
pub(crate) fn remove_stale(directory: &Path) -> Result<(), FileError> {
    for name in names_in(directory)? {
        let path = directory.join(&name);
        if name.ends_with(".lock") || [".tmp", "tmp_"].iter().any(|begins| name.starts_with(begins)) {
            crate::prune::remove_tree(&path)?;
        } else if path.is_dir() {
            remove_stale(&path)?;
        }
    }
    Ok(())
}

/// Whether this host had no room.
fn is_full(error: &gix::Error) -> bool {
    let full = [
        io::ErrorKind::StorageFull,
        io::ErrorKind::QuotaExceeded,
        io::ErrorKind::FileTooLarge,
        io::ErrorKind::ReadOnlyFilesystem,
    ];
    error.iter_errors().filter_map(|cause| cause.downcast_ref::<io::Error>()).any(|cause| full.contains(&cause.kind()))
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
