//! The view of a tenant's checkout in its tree on the host, `/var/lib/tenants/NAME/config`: a link, so that what it shows is
//! replaced at once and cannot be written by way of it.

use host::files::{self, FileError};
use std::{
    fs::{self, File},
    io,
    os::unix::fs::symlink,
    path::Path,
};

/// Makes `link` lead to the checkout. True if it led elsewhere before.
pub(crate) fn ensure(link: &Path, checkout: &Path) -> Result<bool, FileError> {
    if fs::read_link(link).is_ok_and(|target| target == checkout) {
        return Ok(false);
    }
    let spare = link.with_file_name(".config.new");
    // A kill may have left one.
    files::remove(&spare)?;
    let put = || -> io::Result<()> {
        symlink(checkout, &spare)?;
        match fs::rename(&spare, link) {
            Err(cause) if cause.kind() == io::ErrorKind::IsADirectory => {
                // An empty one only: nobody's files are thrown away.
                fs::remove_dir(link)?;
                fs::rename(&spare, link)?;
            }
            other => other?,
        }
        File::open(link.parent().unwrap_or(Path::new("/")))?.sync_all()
    };
    put().map_err(FileError::new("link", link)).map(|()| true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_link_follows_the_checkout() {
        let directory = tempfile::tempdir().unwrap();
        let link = directory.path().join("config");
        let (one, two) = (Path::new("/checkouts/one"), Path::new("/checkouts/two"));
        assert!(ensure(&link, one).unwrap());
        assert!(!ensure(&link, one).unwrap());
        symlink("left by a kill", directory.path().join(".config.new")).unwrap();
        assert!(ensure(&link, two).unwrap());
        assert_eq!(fs::read_link(&link).unwrap(), two);
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    }

    #[test]
    fn an_empty_directory_gives_way_and_a_full_one_does_not() {
        let directory = tempfile::tempdir().unwrap();
        let link = directory.path().join("config");
        fs::create_dir(&link).unwrap();
        assert!(ensure(&link, Path::new("/checkout")).unwrap());
        fs::remove_file(&link).unwrap();
        fs::create_dir(&link).unwrap();
        fs::write(link.join("kept"), "").unwrap();
        assert!(ensure(&link, Path::new("/checkout")).is_err());
        assert!(link.join("kept").exists());
        assert!(ensure(&directory.path().join("absent/config"), Path::new("/checkout")).is_err());
    }
}
