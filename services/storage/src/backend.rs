//! Making and removing roots: subvolumes and snapshots on Btrfs, directories and copies elsewhere.

use crate::tree;
use host::{
    command::{Command, CommandError},
    files::FileError,
};
use std::{path::Path, time::Duration};
use thiserror::Error;

/// A copy of a large image from a slow disk ends; one that hangs does too.
const PATIENCE: Duration = Duration::from_secs(3600);

/// What failed with a volume.
#[derive(Debug, Error)]
pub enum BackendError {
    /// A program.
    #[error("cannot {action} {path}")]
    Command {
        /// In words: make, remove.
        action: &'static str,
        /// Which volume.
        path: String,
        /// What the program said.
        #[source]
        cause: CommandError,
    },
    /// A file operation.
    #[error(transparent)]
    File(#[from] FileError),
}

impl BackendError {
    pub(crate) fn command(action: &'static str, path: &Path) -> impl FnOnce(CommandError) -> Self {
        move |cause| Self::Command { action, path: path.display().to_string(), cause }
    }
}

/// Makes `new` hold what `image` holds. It is not there before.
pub(crate) async fn make_root(image: &Path, new: &Path) -> Result<(), BackendError> {
    let parent = new.parent().unwrap_or(Path::new("/"));
    let snapshot = tree::is_subvolume(image)
        .and_then(|subvolume| Ok(subvolume && tree::on_one_file_system(image, parent)?))
        .map_err(FileError::new("look at", image))?;
    if snapshot {
        let failed = BackendError::command("make", new);
        return btrfs(["snapshot"]).arg(image).arg(new).run().await.map(drop).map_err(failed);
    }
    // A subvolume on Btrfs, even if it has to be filled by copying: a tenant can make subvolumes below its root, which only
    // go with a subvolume.
    make_volume(new).await?;
    let copy =
        Command::new("cp").args(["--archive", "--reflink=auto", "--one-file-system", "--no-target-directory", "--"]);
    copy.arg(image)
        .arg(new)
        .within(PATIENCE)
        .run()
        .await
        .map(drop)
        .map_err(BackendError::command("copy the image to", new))
}

/// Makes an empty volume.
pub(crate) async fn make_volume(new: &Path) -> Result<(), BackendError> {
    let parent = new.parent().unwrap_or(Path::new("/"));
    if tree::is_btrfs(parent).map_err(FileError::new("look at", parent))? {
        btrfs(["create"]).arg(new).run().await.map_err(BackendError::command("make", new))?;
        return Ok(tree::set_mode(new, 0o755)?);
    }
    Ok(tree::make_directory(new)?)
}

/// Removes a volume with everything in it, if it is there.
pub(crate) async fn remove(path: &Path) -> Result<(), BackendError> {
    if !tree::exists(path)? {
        return Ok(());
    }
    let subvolume = tree::is_subvolume(path).map_err(FileError::new("look at", path))?;
    let remove = if subvolume {
        btrfs(["delete", "--recursive"])
    } else {
        Command::new("rm").args(["--recursive", "--force", "--one-file-system", "--"])
    };
    remove.arg(path).within(PATIENCE).run().await.map(drop).map_err(BackendError::command("remove", path))
}

fn btrfs<const N: usize>(arguments: [&str; N]) -> Command {
    Command::new("btrfs").arg("subvolume").args(arguments)
}
