//! Programs that pack and unpack what a tenant chose: tar(1) and zstd(1), each with no more of the file system than it needs
//! (landlock(7)), so that whatever they are made to do stays in one directory. A kernel without that does without.

use host::command::{Command, CommandError};
use landlock::{
    ABI, Access, AccessFs, CompatLevel, Compatible, Ruleset, RulesetAttr, RulesetCreatedAttr, RulesetError,
    path_beneath_rules,
};
use std::{
    io::{self, PipeWriter, Read, Write},
    path::{Path, PathBuf},
    time::Duration,
};
use thiserror::Error;

/// The newest of Landlock's interfaces that is asked for; an older kernel gives what it has.
const NEWEST: ABI = ABI::V5;
/// What programs are made of.
const SYSTEM: [&str; 6] = ["/usr", "/bin", "/lib", "/lib64", "/etc", "/proc"];
/// A large volume on a slow disk ends; a program that hangs does too.
const PATIENCE: Duration = Duration::from_secs(6 * 3600);
/// What is kept of a file besides its content: what a tenant can set itself, and capabilities that it can give.
const ATTRIBUTES: [&str; 6] = [
    "--numeric-owner",
    "--acls",
    "--xattrs",
    "--xattrs-include=user.*",
    "--xattrs-include=security.capability",
    "--warning=no-file-ignored",
];

/// Why nothing was packed or unpacked.
#[derive(Debug, Error)]
pub enum PackError {
    /// A program failed.
    #[error(transparent)]
    Command(#[from] CommandError),
    /// What connects them failed.
    #[error("cannot pass on what is packed")]
    Pipe(#[from] io::Error),
    /// The kernel confines, and did not.
    #[error("cannot confine what packs")]
    Confine(#[from] RulesetError),
    /// There is more in it than there is room for.
    #[error("it holds more than {0} bytes")]
    TooMuch(u64),
    /// A thread of this process failed.
    #[error("a task failed")]
    Task,
}

/// Packs `beside`, a file in `notes`, and the directory `name` of `top` into the file that is open as `into`.
pub(crate) fn pack(notes: &Path, beside: &str, top: &Path, name: &str, into: std::fs::File) -> Result<(), PackError> {
    let (reader, writer) = io::pipe()?;
    let tar = Command::new("tar").args(["--create", "--file=-", "--sparse"]).args(ATTRIBUTES);
    let tar = tar.arg("--directory").arg(notes).arg(beside).arg("--directory").arg(top).arg(name);
    let tar = tar.output_into(writer.into()).within(PATIENCE);
    let zstd = Command::new("zstd").args(["--quiet", "--compress", "--stdout"]);
    let zstd = zstd.input_from(reader.into()).output_into(into.into()).within(PATIENCE);
    confined(&[notes.to_owned(), top.to_owned()], &[], async move {
        let (tar, zstd) = tokio::join!(tar.run(), zstd.run());
        tar?;
        zstd?;
        Ok(())
    })
}

/// Unpacks the member `name` of an archive below `into`, which is this call's alone, and at most so many bytes.
pub(crate) fn unpack(from: std::fs::File, into: &Path, name: &str, most: u64) -> Result<(), PackError> {
    let ((unpacked, writer), (reader, bounded)) = (io::pipe()?, io::pipe()?);
    let zstd = Command::new("zstd").args(["--quiet", "--decompress", "--stdout", "--memory=128MB"]);
    let zstd = zstd.input_from(from.into()).output_into(writer.into()).within(PATIENCE);
    let tar = Command::new("tar").args(["--extract", "--file=-", "--preserve-permissions", "--same-owner"]);
    let tar = tar.args(["--delay-directory-restore", "--keep-old-files"]).args(ATTRIBUTES);
    let tar = tar.arg("--directory").arg(into).arg(name).input_from(reader.into()).within(PATIENCE);
    confined(&[], &[into.to_owned()], async move {
        let passed = tokio::task::spawn_blocking(move || pass_on(unpacked, bounded, most));
        let (zstd, tar, passed) = tokio::join!(zstd.run(), tar.run(), passed);
        // What is too much makes the programs fail, too.
        passed.map_err(|_| PackError::Task)??;
        zstd?;
        tar.map(drop).map_err(PackError::from)
    })
}

/// Reads one small member of an archive.
pub(crate) fn read(from: std::fs::File, name: &str) -> Result<Vec<u8>, PackError> {
    let (reader, writer) = io::pipe()?;
    let zstd = Command::new("zstd").args(["--quiet", "--decompress", "--stdout", "--memory=128MB"]);
    let zstd = zstd.input_from(from.into()).output_into(writer.into()).within(PATIENCE);
    // It is the first one: the rest is not looked at.
    let tar = Command::new("tar").args(["--extract", "--file=-", "--to-stdout", "--occurrence=1"]).arg(name);
    let tar = tar.input_from(reader.into()).within(PATIENCE);
    confined(&[], &[], async move {
        let (_cut_short, found) = tokio::join!(zstd.run(), tar.bytes());
        Ok(found?)
    })
}

fn pass_on(mut from: impl Read, mut into: PipeWriter, most: u64) -> Result<(), PackError> {
    let mut passed = 0_u64;
    let mut buffer = vec![0; 1 << 18];
    loop {
        let length = from.read(&mut buffer)?;
        passed += u64::try_from(length).unwrap_or(u64::MAX);
        match length {
            0 => return Ok(()),
            _ if passed > most => return Err(PackError::TooMuch(most)),
            // A program that does not read to the end says so itself.
            _ if into.write_all(&buffer[..length]).is_err() => return Ok(()),
            _ => {}
        }
    }
}

/// Does work in a thread of its own, which ends with it, and which reaches no other files.
fn confined<T: Send>(
    read: &[PathBuf],
    write: &[PathBuf],
    work: impl Future<Output = Result<T, PackError>> + Send,
) -> Result<T, PackError> {
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            restrict(read, write)?;
            tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(work)
        });
        thread.join().unwrap_or(Err(PackError::Task))
    })
}

fn restrict(read: &[PathBuf], write: &[PathBuf]) -> Result<(), RulesetError> {
    let (all, reads) = (AccessFs::from_all(NEWEST), AccessFs::from_read(NEWEST));
    Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(all)?
        .create()?
        .add_rules(path_beneath_rules(SYSTEM, reads))?
        .add_rules(path_beneath_rules(["/dev/null"], AccessFs::ReadFile | AccessFs::WriteFile))?
        .add_rules(path_beneath_rules(read, reads))?
        .add_rules(path_beneath_rules(write, all))?
        .restrict_self()
        .map(drop)
}

/// Whether this kernel confines at all.
#[must_use]
pub fn is_confined() -> bool {
    let asked =
        Ruleset::default().set_compatibility(CompatLevel::HardRequirement).handle_access(AccessFs::from_all(ABI::V1));
    asked.and_then(Ruleset::create).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_packs_reaches_nothing_else() {
        if !is_confined() {
            eprintln!("SKIP: this kernel has no Landlock");
            return;
        }
        let directory = tempfile::tempdir().unwrap();
        let [inside, outside] = ["inside", "outside"].map(|name| directory.path().join(name));
        [&inside, &outside].into_iter().for_each(|path| std::fs::create_dir(path).unwrap());
        let touch = |at: &Path| {
            let touch = Command::new("touch").arg(at.join("file"));
            confined(&[], std::slice::from_ref(&inside), async { Ok(touch.run().await.map(drop)?) })
        };
        touch(&inside).unwrap();
        assert!(matches!(touch(&outside), Err(PackError::Command(CommandError::Failed { .. }))));
        assert!(inside.join("file").exists() && !outside.join("file").exists());
        // Only that thread was confined.
        std::fs::write(outside.join("file"), "").unwrap();
    }
}
