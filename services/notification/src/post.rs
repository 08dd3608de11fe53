//! Takes in what is to be told, and tells each target at its own pace and in order. What is taken in is on disk; a kill between
//! an answer and its being noted tells the same once more.

use crate::{
    courier::{Courier, Outcome},
    message::{self, Message, compose},
    now_usec,
    outbox::Outbox,
    progress::{Book, Progress},
    taken::Taken,
};
use host::files::{self, FileError};
use interfaces::notification::{self as shown, Notify};
use model::{names::TargetName, notification::Target};
use std::{
    collections::{BTreeSet, HashMap},
    fs,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::{sync::watch, task::AbortHandle, time::sleep};
use tracing::{info, warn};

/// What is told to whom. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Post(Arc<Common>);

#[derive(Debug)]
struct Common {
    courier: Courier,
    state: Mutex<State>,
    busy: watch::Sender<bool>,
}

#[derive(Debug)]
struct State {
    configuration: PathBuf,
    targets: Vec<Target>,
    outbox: Outbox,
    book: Book,
    taken: Taken,
    progress: HashMap<TargetName, Progress>,
    workers: HashMap<TargetName, Worker>,
}

/// Who tells one target.
#[derive(Debug)]
struct Worker {
    wake: Arc<tokio::sync::Notify>,
    task: AbortHandle,
}

impl Post {
    /// What is kept in `root`, and goes on being told.
    ///
    /// # Errors
    /// It cannot be read.
    pub(crate) fn open(root: &Path, courier: Courier) -> Result<Self, FileError> {
        for name in ["progress", "taken"] {
            let path = root.join(name);
            fs::create_dir_all(&path).map_err(FileError::new("create", &path))?;
        }
        let configuration = root.join("targets.json");
        // Who is told is handed over again, should the file be spoiled.
        let known: Option<Vec<Target>> =
            fs::read(&configuration).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok());
        let mut outbox = Outbox::open(&root.join("outbox"))?;
        if let Some(known) = &known {
            outbox.keep(known)?;
        }
        let state = State {
            configuration,
            targets: known.unwrap_or_default(),
            outbox,
            book: Book::in_directory(&root.join("progress")),
            taken: Taken::in_directory(&root.join("taken")),
            progress: HashMap::new(),
            workers: HashMap::new(),
        };
        let post = Self(Arc::new(Common { courier, state: Mutex::new(state), busy: watch::Sender::new(false) }));
        {
            let mut state = post.state();
            for target in state.targets.clone() {
                post.begin(&mut state, target);
            }
            post.say_whether_busy(&state);
        }
        Ok(post)
    }

    /// Whether something waits to be told.
    pub(crate) fn busy(&self) -> watch::Receiver<bool> {
        self.0.busy.subscribe()
    }

    /// Takes in what became of a repository. Returns whether anything was new.
    ///
    /// # Errors
    /// It cannot be written; what was not is new again with the next call.
    pub(crate) fn take(&self, told: &Notify) -> Result<bool, FileError> {
        let mut state = self.state();
        let mut changed = self.configure(&mut state, &told.targets)?;
        let held = state.taken.of(&told.repository);
        let ids: BTreeSet<String> = told.events.iter().map(|event| message::id(&told.repository, event)).collect();
        let is_new = |index: &usize| {
            told.events.get(*index).is_some_and(|event| !held.contains(&message::id(&told.repository, event)))
        };
        for index in (0..told.events.len()).filter(is_new) {
            for target in &told.targets {
                let Some(message) = compose(target, told, index) else { continue };
                let (_, lost) = state.outbox.add(&target.name, &message)?;
                if lost > 0 {
                    warn!(to = %target.name, lost, "too much waits for it: the oldest is not told");
                    state.note(&target.name, |progress| progress.lost += lost);
                }
                if let Some(worker) = state.workers.get(&target.name) {
                    worker.wake.notify_one();
                }
            }
        }
        if held != ids && !told.events.is_empty() {
            state.taken.remember(&told.repository, &ids)?;
            changed = true;
        }
        self.say_whether_busy(&state);
        Ok(changed)
    }

    /// How far one target or all have been told.
    pub(crate) fn progress(&self, only: Option<&TargetName>) -> Vec<shown::Progress> {
        let state = self.state();
        let wanted = state.targets.iter().filter(|target| only.is_none_or(|only| *only == target.name));
        let show = |target: &Target| {
            let progress = state.progress.get(&target.name).cloned().unwrap_or_default();
            let waiting = state.outbox.count(&target.name);
            shown::Progress {
                target: target.name.clone(),
                kind: target.kind,
                address: target.address.clone(),
                waiting: u32::try_from(waiting).unwrap_or(u32::MAX),
                failing: progress.failing,
                last_success_u_sec: progress.last_success_usec,
                last_error: progress.last_error,
                last_error_u_sec: progress.last_error_usec,
                next_try_u_sec: progress.next_try_usec.filter(|_| waiting > 0),
                lost: progress.lost,
            }
        };
        wanted.map(show).collect()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn say_whether_busy(&self, state: &State) {
        let busy = !state.outbox.is_empty();
        self.0.busy.send_if_modified(|said| std::mem::replace(said, busy) != busy);
    }

    /// Tells these targets from now on and no others. One that is somewhere else now starts anew.
    fn configure(&self, state: &mut State, targets: &[Target]) -> Result<bool, FileError> {
        if state.targets == targets {
            return Ok(false);
        }
        state.outbox.keep(targets)?;
        let path = state.configuration.clone();
        let bytes = serde_json::to_vec(targets).map_err(|cause| FileError::new("serialise", &path)(cause.into()))?;
        files::write_atomically(&path, &bytes, 0o600)?;
        let before = std::mem::replace(&mut state.targets, targets.to_vec());
        for old in before.iter().filter(|old| !targets.contains(old)) {
            if let Some(worker) = state.workers.remove(&old.name) {
                worker.task.abort();
            }
            let same =
                targets.iter().any(|new| (&new.name, &new.address, new.kind) == (&old.name, &old.address, old.kind));
            if !same {
                state.progress.remove(&old.name);
                state.book.forget(&old.name)?;
            }
        }
        for target in targets.iter().filter(|target| !before.contains(target)) {
            info!(to = %target.name, address = %target.address, "it is told what becomes of commits");
            self.begin(state, target.clone());
        }
        Ok(true)
    }

    /// Begins to tell a target.
    fn begin(&self, state: &mut State, target: Target) {
        let name = target.name.clone();
        let known = state.book.read(&name);
        let left_alone = known.left_alone(now_usec());
        state.progress.entry(name.clone()).or_insert(known);
        let wake = Arc::new(tokio::sync::Notify::new());
        let task = tokio::spawn(self.clone().tell_forever(target, wake.clone(), left_alone));
        if let Some(before) = state.workers.insert(name, Worker { wake, task: task.abort_handle() }) {
            before.task.abort();
        }
    }

    /// One message after the other, for as long as the process lives or the target is the same.
    async fn tell_forever(self, target: Target, wake: Arc<tokio::sync::Notify>, left_alone: Duration) {
        sleep(left_alone).await;
        let mut client = None;
        loop {
            let head = self.state().outbox.head(&target.name);
            let Some((number, message)) = head else {
                self.say_whether_busy(&self.state());
                wake.notified().await;
                continue;
            };
            let outcome = self.0.courier.deliver(&mut client, &target, &message).await;
            sleep(self.settle(&target.name, number, &message, outcome)).await;
        }
    }

    /// Notes what became of a message. Returns how long to wait before the next.
    fn settle(&self, target: &TargetName, number: u64, message: &Message, outcome: Outcome) -> Duration {
        let (event, id) = (message.occasion, message.id.as_str());
        let mut state = self.state();
        let (pause, done) = match outcome {
            Outcome::Told => {
                info!(to = %target, %event, id, "told");
                state.note(target, |progress| progress.told(now_usec()));
                (Duration::ZERO, true)
            }
            Outcome::Refused(reason) => {
                warn!(to = %target, %event, id, "not told: {reason}");
                state.note(target, |progress| progress.refused(reason, now_usec()));
                (Duration::ZERO, true)
            }
            Outcome::Later(reason, said) => {
                let chance = fastrand::u64(..);
                let (pause, given_up) =
                    state.note(target, |progress| progress.failed(reason.clone(), said, now_usec(), chance));
                let next = if given_up { "given up" } else { "told again later" };
                warn!(to = %target, %event, id, seconds = pause.as_secs(), "{next}: {reason}");
                (pause, given_up)
            }
        };
        if done && let Err(error) = state.outbox.remove(target, number) {
            warn!(to = %target, "{}", runtime::chain(&error));
        }
        self.say_whether_busy(&state);
        pause
    }
}

impl State {
    fn note<R>(&mut self, target: &TargetName, change: impl FnOnce(&mut Progress) -> R) -> R {
        let progress = self.progress.entry(target.clone()).or_default();
        let result = change(progress);
        if let Err(error) = self.book.write(target, progress) {
            warn!(to = %target, "{}", runtime::chain(&error));
        }
        result
    }
}

#[cfg(test)]
mod tests;
