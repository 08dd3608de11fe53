//! `bitbuilder cp`: files and trees into a tenant and out of it. Paths in a tenant are the tenant's: a link there leads
//! nowhere on the host.

use crate::{
    inside::{Container, Way, copies},
    output::Failure,
};
use model::{TenantName, text::printable};
use std::{
    fs::{self, File},
    io,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    str::FromStr,
};

/// Where what streams is kept until it is whole: it may be large.
const SPOOL: &str = "/var/tmp/.";

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// A path, TENANT:/PATH, or - for standard input.
    #[arg(value_name = "FROM")]
    from: Place,
    /// The same; a path that ends in / is the directory to copy into, and - is standard output.
    #[arg(value_name = "TO")]
    to: Place,
    /// Replace what is there.
    #[arg(long, short)]
    force: bool,
}

/// One end of a copy.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Place {
    Tenant(TenantName, PathBuf),
    Here(PathBuf),
    Stream,
}

impl FromStr for Place {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "-" {
            return Ok(Self::Stream);
        }
        match text.split_once(':') {
            Some((before, _)) if before.contains('/') => Ok(Self::Here(PathBuf::from(text))),
            None => Ok(Self::Here(PathBuf::from(text))),
            Some((tenant, path)) => {
                let tenant = tenant.parse().map_err(|cause| format!("{cause}; a path with ':' begins with ./"))?;
                if !path.starts_with('/') {
                    return Err("a path in a tenant begins with /".to_owned());
                }
                Ok(Self::Tenant(tenant, PathBuf::from(path)))
            }
        }
    }
}

pub(crate) async fn run(words: Arguments) -> Result<u8, Failure> {
    let Arguments { from, to, force } = words;
    match (from, to) {
        (Place::Tenant(tenant, path), Place::Here(to)) => {
            let to = named(to, &path)?;
            out(&Container(tenant), &path, &to, force).await
        }
        (Place::Tenant(tenant, path), Place::Stream) => stream_out(&Container(tenant), &path).await,
        (Place::Here(path), Place::Tenant(tenant, to)) => {
            let to = named(to, &path)?;
            let path = std::path::absolute(&path)?;
            Container(tenant).copy_in(&path, &to, force).await?;
            Ok(0)
        }
        (Place::Stream, Place::Tenant(tenant, to)) => stream_in(&Container(tenant), &to, force).await,
        (Place::Here(_) | Place::Stream, Place::Here(_) | Place::Stream) | (Place::Tenant(..), Place::Tenant(..)) => {
            Err("one of the two is in a tenant, as web:/etc/hostname, and the other is not".into())
        }
    }
}

/// Where a copy is put. What is copied into a directory keeps its name.
fn named(to: PathBuf, from: &Path) -> Result<PathBuf, Failure> {
    if !to.to_string_lossy().ends_with('/') {
        return Ok(to);
    }
    Ok(to.join(from.file_name().ok_or("what is copied into a directory has to have a name")?))
}

async fn out(way: &impl Way, from: &Path, to: &Path, replace: bool) -> Result<u8, Failure> {
    let to = std::path::absolute(to)?;
    let staging = copies::staging(&to)?;
    let tree = staging.path().join("copy");
    way.copy_out(from, &tree).await?;
    for left_out in copies::disarm(&tree)? {
        let relative = left_out.strip_prefix(&tree).unwrap_or(&left_out).to_string_lossy().into_owned();
        eprintln!("bitbuilder: left out, because it is no file, directory or link: {}", printable(&relative));
    }
    copies::put(&tree, &to, replace)?;
    Ok(0)
}

async fn stream_out(way: &impl Way, from: &Path) -> Result<u8, Failure> {
    let staging = copies::staging(Path::new(SPOOL))?;
    let file = staging.path().join("copy");
    way.copy_out(from, &file).await?;
    if !fs::symlink_metadata(&file)?.is_file() {
        return Err("it is no file".into());
    }
    io::copy(&mut File::open(&file)?, &mut io::stdout().lock())?;
    Ok(0)
}

async fn stream_in(way: &impl Way, to: &Path, replace: bool) -> Result<u8, Failure> {
    let staging = copies::staging(Path::new(SPOOL))?;
    let path = staging.path().join("copy");
    let mut file = File::create(&path)?;
    io::copy(&mut io::stdin().lock(), &mut file)?;
    file.set_permissions(fs::Permissions::from_mode(0o644))?;
    way.copy_in(&path, to, replace).await?;
    Ok(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tenants_path_is_told_from_one_here() {
        let tenant = |name: &str, path: &str| Place::Tenant(name.parse().unwrap(), PathBuf::from(path));
        assert_eq!("web:/etc/x:y".parse(), Ok(tenant("web", "/etc/x:y")));
        assert_eq!("-".parse(), Ok(Place::Stream));
        for here in ["/a:b", "./web:/etc", "plain", "../x"] {
            assert_eq!(here.parse(), Ok(Place::Here(PathBuf::from(here))), "{here}");
        }
        for wrong in ["web:etc", "WEB:/etc", ":/x", "web:", "system:/etc"] {
            assert!(wrong.parse::<Place>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn into_a_directory_a_name_is_kept() {
        assert_eq!(named(PathBuf::from("/srv/"), Path::new("a/b")).unwrap(), Path::new("/srv/b"));
        assert_eq!(named(PathBuf::from("/srv"), Path::new("a/b")).unwrap(), Path::new("/srv"));
        assert!(named(PathBuf::from("/srv/"), Path::new("/")).is_err());
    }
}
