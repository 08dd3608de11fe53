//! Mounting layers for the whole host. This service is confined, and what it mounts itself nobody else would see; so PID 1
//! mounts, by units without files, which need no reload and leave nothing.

use host::{
    files::FileError,
    systemd::{Systemd, SystemdError},
};
use std::{
    collections::BTreeSet,
    fs, io,
    path::{Path, PathBuf},
};
use thiserror::Error;

use crate::images::Image;

/// Never more than to read: images are shared by tenants that must not reach the host through them.
const OPTIONS: &str = "loop,ro,nosuid,nodev";
/// systemd's UNIT_NAME_MAX.
const LONGEST_UNIT: usize = 255;

/// Why a layer could not be mounted or unmounted.
#[derive(Debug, Error)]
pub enum MountError {
    /// The image is not what its superblock promises.
    #[error("the kernel does not take it: see the journal of {unit}")]
    Refused {
        /// The mount unit.
        unit: String,
    },
    /// A unit's name has a limit, and needs four characters for a '-'.
    #[error("its name is too long for a mount unit")]
    NameTooLong,
    /// The service manager.
    #[error(transparent)]
    Systemd(Box<SystemdError>),
    /// The place of a mount.
    #[error(transparent)]
    File(#[from] FileError),
}

/// Who mounts.
pub trait Mounts: Clone + Send + Sync + 'static {
    /// The layers that are mounted.
    ///
    /// # Errors
    /// Nobody says.
    fn mounted(&self) -> Result<BTreeSet<String>, FileError>;
    /// Mounts an image as its layer, which is not mounted yet.
    fn mount(&self, image: &Image) -> impl Future<Output = Result<(), MountError>> + Send;
    /// Unmounts a layer.
    fn unmount(&self, layer: &str) -> impl Future<Output = Result<(), MountError>> + Send;
}

/// PID 1.
#[derive(Debug, Clone)]
pub struct MountUnits {
    below: PathBuf,
}

impl MountUnits {
    /// Mounts below a directory.
    #[must_use]
    pub fn below(directory: &Path) -> Self {
        Self { below: directory.to_owned() }
    }

    fn unit(&self, layer: &str) -> Result<String, MountError> {
        let unit = mount_unit(&format!("{}/{layer}", self.below.display()));
        if unit.len() > LONGEST_UNIT { Err(MountError::NameTooLong) } else { Ok(unit) }
    }

    /// Removes the directory that PID 1 made to mount on.
    fn remove_place(&self, layer: &str) -> Result<(), FileError> {
        let place = self.below.join(layer);
        match fs::remove_dir(&place) {
            Err(cause) if cause.kind() != io::ErrorKind::NotFound => Err(FileError::new("remove", &place)(cause)),
            Ok(()) | Err(_) => Ok(()),
        }
    }
}

impl Mounts for MountUnits {
    fn mounted(&self) -> Result<BTreeSet<String>, FileError> {
        let path = Path::new("/proc/self/mountinfo");
        let mounts = fs::read_to_string(path).map_err(FileError::new("read", path))?;
        Ok(mounted_below(&self.below, &mounts))
    }

    async fn mount(&self, image: &Image) -> Result<(), MountError> {
        let unit = self.unit(&image.layer)?;
        let what = image.path.display().to_string();
        let kind = image.kind.to_string();
        let properties = [
            ("Description", format!("BitBuilder extension {}", image.layer).into()),
            ("What", what.as_str().into()),
            ("Type", kind.as_str().into()),
            ("Options", OPTIONS.into()),
            ("CollectMode", "inactive-or-failed".into()),
        ];
        let systemd = Systemd::connect().await.map_err(from_systemd)?;
        match systemd.start_transient(&unit, &properties).await {
            Err(SystemdError::Job { .. }) => {
                self.remove_place(&image.layer)?;
                Err(MountError::Refused { unit })
            }
            other => other.map_err(from_systemd),
        }
    }

    async fn unmount(&self, layer: &str) -> Result<(), MountError> {
        let systemd = Systemd::connect().await.map_err(from_systemd)?;
        systemd.stop(&self.unit(layer)?).await.map_err(from_systemd)?;
        Ok(self.remove_place(layer)?)
    }
}

fn from_systemd(cause: SystemdError) -> MountError {
    MountError::Systemd(Box::new(cause))
}

/// What is mounted directly below a directory, as mountinfo (proc_pid_mountinfo(5)) says: "ID PARENT DEVICE ROOT PLACE …".
fn mounted_below(directory: &Path, mounts: &str) -> BTreeSet<String> {
    let places = mounts.lines().filter_map(|line| line.split(' ').nth(4));
    let names = places.filter_map(|place| Path::new(place).strip_prefix(directory).ok()?.to_str());
    names.filter(|name| !name.is_empty() && !name.contains('/')).map(str::to_owned).collect()
}

/// The name of the unit that mounts an absolute path (systemd.unit(5), "String escaping for inclusion in unit names").
fn mount_unit(path: &str) -> String {
    let mut unit = String::new();
    for byte in path.trim_matches('/').bytes() {
        match byte {
            b'/' => unit.push('-'),
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b':' | b'_' => unit.push(char::from(byte)),
            b'.' if !unit.is_empty() => unit.push('.'),
            other => unit.push_str(&format!("\\x{other:02x}")),
        }
    }
    unit.push_str(".mount");
    unit
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_named_as_systemd_escape_does() {
        // systemd-escape --path --suffix=mount
        assert_eq!(mount_unit("/run/a-b/c.d_e"), "run-a\\x2db-c.d_e.mount");
        assert_eq!(mount_unit("/.a/é"), "\\x2ea-\\xc3\\xa9.mount");
        let units = MountUnits::below(Path::new("/run/bitbuilder/extensions"));
        assert!(units.unit(&format!("a{}-0123456789abcdef", "-".repeat(63))).is_err());
    }

    #[test]
    fn mounts_are_found_by_their_place() {
        let mounts = "36 35 98:0 / /run/x rw,noatime master:1 - ext3 /dev/root rw\n\
                      37 35 7:0 / /run/x/tools-1 ro shared:2 - squashfs /dev/loop0 ro\n\
                      38 35 7:0 / /run/x/tools-1 ro shared:2 - squashfs /dev/loop0 ro\n\
                      39 35 7:1 / /run/x/deep/er ro - erofs /dev/loop1 ro\n\
                      40 35 7:1 / /run/xy/other ro - erofs /dev/loop1 ro\n";
        assert_eq!(mounted_below(Path::new("/run/x"), mounts), BTreeSet::from(["tools-1".to_owned()]));
    }
}
