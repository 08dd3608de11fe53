//! The beginning of a bundle (gitformat-bundle(5)): which references it has. What follows is a pack.

use gix::ObjectId;
use model::{
    export::{BRANCH, REPOSITORIES},
    names::RepositoryName,
};
use std::io::{self, BufRead, Read};
use thiserror::Error;

const SIGNATURE: &[u8] = b"# v2 git bundle\n";
/// Longest line: an object's name and a reference's.
const LONGEST_LINE: u64 = 512;
/// Most references, with the branch that says what they are, and HEAD.
const MOST: usize = 8193 + 2;

/// Why a file is no bundle of a host.
#[derive(Debug, Error)]
pub(crate) enum BundleError {
    #[error("it is no bundle of Git's version 2")]
    Signature,
    #[error("it lacks commits that its maker took for granted")]
    Incomplete,
    #[error("it has a line that no bundle has")]
    Line,
    #[error("it has a reference that no host exports: {0:?}")]
    Reference(String),
    #[error("it names more than {MOST} references")]
    TooMany,
    #[error(transparent)]
    Read(#[from] io::Error),
}

/// The references of a bundle, but for HEAD.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) references: Vec<(String, ObjectId)>,
    /// Where the pack begins.
    pub(crate) length: u64,
}

/// Reads up to the pack.
pub(crate) fn header(mut from: impl BufRead) -> Result<Header, BundleError> {
    let mut signature = [0; SIGNATURE.len()];
    match from.read_exact(&mut signature) {
        Ok(()) if signature == SIGNATURE => {}
        Err(cause) if cause.kind() != io::ErrorKind::UnexpectedEof => return Err(cause.into()),
        Ok(()) | Err(_) => return Err(BundleError::Signature),
    }
    let (mut references, mut length) = (Vec::new(), SIGNATURE.len() as u64);
    loop {
        let mut line = Vec::new();
        length += from.by_ref().take(LONGEST_LINE).read_until(b'\n', &mut line)? as u64;
        let Some(text) = line.strip_suffix(b"\n") else { return Err(BundleError::Line) };
        if text.is_empty() {
            return Ok(Header { references, length });
        }
        if text.starts_with(b"-") {
            return Err(BundleError::Incomplete);
        }
        let text = std::str::from_utf8(text).map_err(|_| BundleError::Line)?;
        let (id, name) = text.split_once(' ').ok_or(BundleError::Line)?;
        let id = ObjectId::from_hex(id.as_bytes()).map_err(|_| BundleError::Line)?;
        let exported = |name: &str| name.parse::<RepositoryName>().is_ok();
        if name == BRANCH || name.strip_prefix(REPOSITORIES).is_some_and(exported) {
            references.push((name.to_owned(), id));
        } else if name != "HEAD" {
            return Err(BundleError::Reference(name.to_owned()));
        }
        if references.len() > MOST {
            return Err(BundleError::TooMany);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_a_host_exports_is_read_and_nothing_else() {
        let id = "a".repeat(40);
        let read = |lines: &str| header(format!("# v2 git bundle\n{lines}").as_bytes());
        let good = format!("{id} refs/bitbuilder/export/web\n{id} refs/heads/export\n{id} HEAD\n\n");
        let found = read(&format!("{good}PACK\n")).unwrap();
        assert_eq!(found.length, 16 + good.len() as u64);
        assert_eq!(
            found.references.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(),
            ["refs/bitbuilder/export/web", BRANCH]
        );
        for (bad, reason) in [
            (format!("-{id} before\n\n"), "took for granted"),
            (format!("{id} refs/heads/main\n\n"), "no host exports"),
            (format!("{id} refs/bitbuilder/export/../../x\n\n"), "no host exports"),
            (format!("{id} refs/bitbuilder/export/web"), "no bundle has"),
            (format!("{id}\n\n"), "no bundle has"),
            ("xx refs/heads/export\n\n".to_owned(), "no bundle has"),
            (format!("{id} {}\n\n", "x".repeat(600)), "no bundle has"),
            (String::new(), "no bundle has"),
        ] {
            assert!(read(&bad).unwrap_err().to_string().contains(reason), "{bad:?}");
        }
        for other in ["", "# v2", "# v3 git bundle\n@filter=blob:none\n\n", "PACK"] {
            assert!(matches!(header(other.as_bytes()), Err(BundleError::Signature)), "{other:?}");
        }
    }

    proptest! {
        #[test]
        fn nothing_that_is_no_bundle_does_harm(bytes in proptest::collection::vec(any::<u8>(), 0..300), signed: bool) {
            let bytes = if signed { [SIGNATURE, &bytes].concat() } else { bytes };
            if let Ok(found) = header(bytes.as_slice()) {
                prop_assert!(found.length <= bytes.len() as u64);
            }
        }
    }
}
