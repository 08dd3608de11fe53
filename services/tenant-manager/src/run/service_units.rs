//! The directory that a tenant's service manager finds its repository's units in: copies, because what is loaded must be
//! what was checked, with a link for each that multi-user.target wants.

use super::RunError;
use crate::repository_units::{self, Shipped};
use host::files::FileError;
use model::UnitName;
use std::{fs, io, os::unix::fs::symlink, path::Path};

/// Fills `directory`, which is created.
pub(super) fn assemble<'a>(
    checkout: &Path,
    services: impl IntoIterator<Item = &'a UnitName>,
    directory: &Path,
) -> Result<(), RunError> {
    for unit in services {
        let shipped = repository_units::read(checkout, unit)?;
        write(directory, &shipped).map_err(FileError::new("write units in", directory))?;
    }
    fs::create_dir_all(directory).map_err(FileError::new("create", directory))?;
    Ok(())
}

fn write(directory: &Path, shipped: &Shipped) -> io::Result<()> {
    let wants = directory.join("multi-user.target.wants");
    fs::create_dir_all(&wants)?;
    fs::write(directory.join(&shipped.file), &shipped.content)?;
    for (path, content) in &shipped.drop_ins {
        let path = directory.join(path);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        fs::write(path, content)?;
    }
    match symlink(format!("../{}", shipped.file), wants.join(shipped.unit.as_str())) {
        // The repository named the unit twice.
        Err(cause) if cause.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_service_is_wanted() {
        let directory = tempfile::tempdir().unwrap();
        let (checkout, units) = (directory.path().join("checkout"), directory.path().join("new/units"));
        fs::create_dir_all(checkout.join("units/a.service.d")).unwrap();
        fs::write(checkout.join("units/a.service"), "[Service]").unwrap();
        fs::write(checkout.join("units/a.service.d/10.conf"), "[Unit]").unwrap();
        fs::write(checkout.join("units/b@.service"), "[Service]").unwrap();
        let services: Vec<UnitName> =
            ["a.service", "b@1.service", "b@2.service", "a.service"].map(|name| name.parse().unwrap()).into();
        assemble(&checkout, &services, &units).unwrap();
        assert_eq!(fs::read_to_string(units.join("a.service.d/10.conf")).unwrap(), "[Unit]");
        for wanted in ["a.service", "b@1.service", "b@2.service"] {
            assert_eq!(fs::read_to_string(units.join("multi-user.target.wants").join(wanted)).unwrap(), "[Service]");
        }
        let none = directory.path().join("none");
        assemble(&checkout, &[], &none).unwrap();
        assert!(none.is_dir());
    }
}
