//! Which paths and links are let into a checkout.

use super::*;
use proptest::prelude::*;
use std::path::{Path, PathBuf};

#[test]
fn names_that_git_or_a_terminal_would_misread_are_refused() {
    for good in [
        "metadata.json",
        ".gitops",
        ".gitignore",
        ".gitmodules",
        "a b",
        "ä",
        "dev-disk-by\\x2dlabel.mount",
        "git",
        "..a",
        "a~1",
        ".git-blame",
    ] {
        assert_eq!(entry_name(good.as_bytes(), false), Ok(good));
    }
    let bad: [&[u8]; 21] = [
        b"",
        b".",
        b"..",
        b"a/b",
        b"/",
        b"a\nb",
        b"a\0",
        b"\x1b[2J",
        b"\xff",
        b".git",
        b".GIT",
        b".Git",
        b"git~1",
        b"GIT~1",
        b".git ",
        b".git.",
        b".git::$INDEX_ALLOCATION",
        ".g\u{200c}it".as_bytes(),
        "\u{feff}.git".as_bytes(),
        b"a\\.git",
        "\u{85}".as_bytes(),
    ];
    for bad in bad {
        assert!(entry_name(bad, false).is_err(), "{bad:?} was accepted");
    }
    assert!(entry_name(b".gitmodules", true).is_err());
    assert!(entry_name(&[b'a'; 256], false).is_err());
}

#[test]
fn links_stay_within_the_tree() {
    for (good, depth) in [("a", 0), ("./a", 0), ("../a", 1), ("../../a/b", 2), ("..", 1), ("a//b/", 0), (".", 0)] {
        assert_eq!(link_target(good.as_bytes(), depth), Ok(good));
    }
    for (bad, depth) in [
        ("", 0),
        ("/", 5),
        ("/etc/passwd", 5),
        ("..", 0),
        ("../a", 0),
        ("../../a", 1),
        ("a/../b", 3),
        ("./../a", 0),
        ("a\n", 0),
        ("a\0b", 0),
    ] {
        assert!(link_target(bad.as_bytes(), depth).is_err(), "{bad:?} at {depth} was accepted");
    }
}

#[test]
fn twins_are_found_whatever_their_alphabet() {
    for (one, other) in
        [("a", "A"), ("Ä", "ä"), ("ς", "σ"), ("same", "same"), ("straße", "STRASSE"), ("caf\u{e9}", "CAFE\u{301}")]
    {
        let mut names = Names::default();
        assert_eq!(names.add(one), Ok(()));
        assert_eq!(names.add(other), Err(Refused::Twin), "{one} {other}");
    }
}

#[test]
fn bounds_are_kept() {
    let mut tally = Tally::new(Bounds { entries: 2, depth: 1, file: 10, total: 15 });
    assert_eq!(tally.entry("a", 0), Ok(()));
    assert_eq!(tally.entry("a/b/c", 2), Err(Refused::TooDeep(1)));
    assert_eq!(tally.entry("b", 0), Err(Refused::TooMany(2)));
    assert_eq!(tally.bytes(10), Ok(()));
    assert_eq!(tally.bytes(11), Err(Refused::TooLarge(10)));
    let mut tally = Tally::new(Bounds { total: 15, ..Bounds::default() });
    assert_eq!(tally.bytes(10), Ok(()));
    assert_eq!(tally.bytes(u64::MAX), Err(Refused::TooLarge(64 << 20)));
    assert_eq!(tally.bytes(1), Err(Refused::TooMuch(15)));
    assert_eq!(Tally::new(Bounds::default()).entry(&"a/".repeat(600), 3), Err(Refused::LongPath));
}

#[test]
fn pointers_are_told_from_files() {
    assert!(is_lfs_pointer(b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n"));
    assert!(!is_lfs_pointer(b"see: version https://git-lfs.github.com/spec/v1"));
    assert!(!is_lfs_pointer(&[b"version https://git-lfs.github.com/spec/v1".as_slice(), &[b' '; 1024]].concat()));
}

/// Makes links of all targets that are accepted, in a directory of two levels, and asks the kernel where each leads.
fn escapes(targets: &[String]) -> Option<(String, PathBuf)> {
    let outside = tempfile::tempdir().unwrap();
    let root = outside.path().canonicalize().unwrap().join("tree");
    std::fs::create_dir_all(root.join("a/b")).unwrap();
    let mut links = Vec::new();
    for (index, target) in targets.iter().enumerate() {
        let (directory, depth) = [("", 0), ("a", 1), ("a/b", 2)][index % 3];
        let link = root.join(directory).join(format!("l{index}"));
        if link_target(target.as_bytes(), depth).is_ok() {
            std::os::unix::fs::symlink(target, &link).unwrap();
            links.push((target.clone(), link));
        }
    }
    let leads = |link: &Path| link.canonicalize().ok().filter(|to| !to.starts_with(&root));
    links.into_iter().find_map(|(target, link)| leads(&link).map(|to| (target, to)))
}

proptest! {
    #[test]
    fn no_accepted_name_is_special_to_a_path(name in "\\PC{0,20}|[.\\\\/gitGIT~1: ]{0,8}") {
        if entry_name(name.as_bytes(), false).is_ok() {
            let path = Path::new(&name);
            prop_assert_eq!(path.components().count(), 1);
            prop_assert!(matches!(path.components().next(), Some(std::path::Component::Normal(_))));
            prop_assert!(!name.trim_end_matches([' ', '.']).eq_ignore_ascii_case(".git"));
        }
    }

    #[test]
    fn no_set_of_accepted_links_leads_out(targets in proptest::collection::vec("((\\.\\.|\\.|a|b|l[0-8])/){0,4}(\\.\\.|a|b|l[0-8])", 9)) {
        prop_assert_eq!(escapes(&targets), None);
    }
}
