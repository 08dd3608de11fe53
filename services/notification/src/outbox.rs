//! What is still to be told, a file each: TARGET.NUMBER.json in one directory, which is empty when everything is told. A file is
//! there as a whole or not at all; one that nobody can understand any more is said and removed.

use crate::message::Message;
use host::files::{self, FileError};
use model::{
    Revision,
    names::TargetName,
    notification::{Kind, ProjectPath, Target},
};
use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};
use tracing::warn;

/// So much waits for a target; of more the oldest is given up.
pub(crate) const MOST: usize = 256;

/// What has to be known of a message without reading it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Waiting {
    id: String,
    about: Option<(ProjectPath, Revision)>,
}

impl From<&Message> for Waiting {
    fn from(message: &Message) -> Self {
        Self { id: message.id.clone(), about: message.about() }
    }
}

/// The files, and what waits for whom in which order.
#[derive(Debug)]
pub(crate) struct Outbox {
    directory: PathBuf,
    waiting: BTreeMap<TargetName, BTreeMap<u64, Waiting>>,
    next: u64,
}

impl Outbox {
    /// Reads what is in `directory`.
    ///
    /// # Errors
    /// It cannot be read, or what does not belong there cannot be removed.
    pub(crate) fn open(directory: &Path) -> Result<Self, FileError> {
        fs::create_dir_all(directory).map_err(FileError::new("create", directory))?;
        let mut outbox = Self { directory: directory.to_owned(), waiting: BTreeMap::new(), next: 0 };
        for entry in fs::read_dir(directory).map_err(FileError::new("list", directory))? {
            let path = entry.map_err(FileError::new("list", directory))?.path();
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            let understood = place(name).and_then(|place| Some((place, read(&path).ok()??)));
            let Some(((target, number), message)) = understood else {
                // What a kill left while it was written was promised to nobody.
                if !name.starts_with('.') {
                    warn!("{} is spoiled and not told", path.display());
                }
                files::remove(&path)?;
                continue;
            };
            outbox.next = outbox.next.max(number + 1);
            outbox.waiting.entry(target).or_default().insert(number, Waiting::from(&message));
        }
        Ok(outbox)
    }

    /// Puts a message behind what waits for a target. The state of a commit takes the place of what was to be told of it before.
    /// Returns whether it was new, and how much was given up for it.
    ///
    /// # Errors
    /// It cannot be written, and is not in.
    pub(crate) fn add(&mut self, target: &TargetName, message: &Message) -> Result<(bool, u64), FileError> {
        let waiting = Waiting::from(message);
        if self.waiting.get(target).is_some_and(|held| held.values().any(|held| held.id == waiting.id)) {
            return Ok((false, 0));
        }
        let number = self.next;
        let path = self.path(target, number);
        let bytes = serde_json::to_vec(message).map_err(|cause| FileError::new("serialise", &path)(cause.into()))?;
        files::write_atomically(&path, &bytes, 0o600)?;
        self.next += 1;
        let held = self.waiting.entry(target.clone()).or_default();
        let superseded: Vec<u64> = match &waiting.about {
            Some(about) => {
                held.iter().filter(|(_, held)| held.about.as_ref() == Some(about)).map(|(at, _)| *at).collect()
            }
            None => Vec::new(),
        };
        held.insert(number, waiting);
        let oldest: Vec<u64> = held.keys().copied().filter(|at| !superseded.contains(at)).collect();
        let oldest = &oldest[..oldest.len().saturating_sub(MOST)];
        for number in superseded.iter().chain(oldest) {
            self.remove(target, *number)?;
        }
        Ok((true, oldest.len() as u64))
    }

    /// The number of what is to be told next to a target, and what it is.
    pub(crate) fn head(&mut self, target: &TargetName) -> Option<(u64, Message)> {
        loop {
            let number = *self.waiting.get(target)?.keys().next()?;
            let path = self.path(target, number);
            match read(&path) {
                Ok(Some(message)) => return Some((number, message)),
                Ok(None) => warn!("{} is spoiled and not told", path.display()),
                Err(error) => warn!("not told: {}", runtime::chain(&error)),
            }
            self.waiting.get_mut(target)?.remove(&number);
        }
    }

    /// It is told, or will not be. It may be gone already, for something newer.
    ///
    /// # Errors
    /// The file cannot be removed, and would be told again after a restart.
    pub(crate) fn remove(&mut self, target: &TargetName, number: u64) -> Result<bool, FileError> {
        if let Some(held) = self.waiting.get_mut(target) {
            held.remove(&number);
            if held.is_empty() {
                self.waiting.remove(target);
            }
        }
        files::remove(&self.path(target, number))
    }

    /// Forgets what waits for targets but these, and what is for a forge where a webhook has its name now, or the other way round.
    ///
    /// # Errors
    /// A file cannot be removed.
    pub(crate) fn keep(&mut self, targets: &[Target]) -> Result<(), FileError> {
        let is_meant = |name: &TargetName, waiting: &Waiting| {
            let takes = |target: &Target| (target.kind == Kind::Webhook) == waiting.about.is_none();
            targets.iter().any(|target| target.name == *name && takes(target))
        };
        let mut gone: BTreeMap<TargetName, Vec<u64>> = BTreeMap::new();
        for (name, held) in &self.waiting {
            for (number, _) in held.iter().filter(|(_, waiting)| !is_meant(name, waiting)) {
                gone.entry(name.clone()).or_default().push(*number);
            }
        }
        for (target, numbers) in gone {
            warn!(%target, waiting = numbers.len(), "it is not told what waits for it: nobody names it as it was any more");
            for number in numbers {
                self.remove(&target, number)?;
            }
        }
        Ok(())
    }

    /// How much waits for a target.
    pub(crate) fn count(&self, target: &TargetName) -> usize {
        self.waiting.get(target).map_or(0, BTreeMap::len)
    }

    /// Whether everything is told.
    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    fn path(&self, target: &TargetName, number: u64) -> PathBuf {
        self.directory.join(format!("{target}.{number:020}.json"))
    }
}

/// Whom a file is for and its number. A target's name has no dot.
fn place(name: &str) -> Option<(TargetName, u64)> {
    let (target, number) = name.strip_suffix(".json")?.split_once('.')?;
    Some((target.parse().ok()?, number.parse().ok().filter(|_| number.len() == 20)?))
}

/// Nothing if it is not understood.
fn read(path: &Path) -> Result<Option<Message>, FileError> {
    let bytes = fs::read(path).map_err(FileError::new("read", path))?;
    Ok(serde_json::from_slice(&bytes).ok())
}

#[cfg(test)]
mod tests;
