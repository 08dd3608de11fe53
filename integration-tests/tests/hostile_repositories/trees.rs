//! Trees that are not checked out: what Git's own advisories are about, what a file system would take for something else,
//! and what is too much.

use crate::table::{Row, refused, runs};

pub(crate) const ROWS: &[Row] = &[
    // What Git would take for its own directory.
    refused(".git", r#"evil(directory(".git", *hooks()))"#, "web:.git"),
    refused("CVE-2014-9390: .GIT", r#"evil(directory(".GIT", *hooks()))"#, "web:.GIT"),
    refused("CVE-2014-9390: .Git below", r#"evil(directory("a", directory(".Git", *hooks())))"#, "web:a/.Git"),
    refused("CVE-2014-9390: HFS+", r#"evil(directory(".g\u200cit", *hooks()))"#, "web:.g"),
    refused("CVE-2014-9390: byte order mark", r#"evil(directory("\ufeff.git", *hooks()))"#, ".git"),
    refused("CVE-2014-9390: NTFS short name", r#"evil(directory("git~1", *hooks()))"#, "web:git~1"),
    refused("CVE-2014-9390: short name in capitals", r#"evil(directory("GIT~1", *hooks()))"#, "web:GIT~1"),
    refused("CVE-2014-9390: trailing space", r#"evil(directory(".git ", *hooks()))"#, "web:.git"),
    refused("CVE-2014-9390: trailing dot", r#"evil(directory(".git.", *hooks()))"#, "web:.git."),
    refused(
        "CVE-2019-1352: NTFS stream",
        r#"evil(directory(".git::$INDEX_ALLOCATION", *hooks()))"#,
        "web:.git::$INDEX",
    ),
    refused("CVE-2019-1353: file named .git", r#"evil(file(".git", "gitdir: /srv/git/system\n"))"#, "web:.git"),
    refused("CVE-2019-1354: backslash", r#"evil(file("a\\.git\\config"))"#, r"web:a\.git\config"),
    refused(
        "CVE-2021-21300: link and directory",
        r#"evil(link("A", ".git/hooks"), directory("a", program("post-checkout")))"#,
        "another entry has this name",
    ),
    refused(
        "CVE-2024-32002: link and submodule",
        r#"evil(link("a", ".git"), directory("A", submodule("x")))"#,
        "another entry has this name",
    ),
    // Submodules are nobody's here, whatever .gitmodules says of them.
    refused("submodule", r#"evil(submodule("sub"))"#, "submodule"),
    refused(
        "CVE-2015-7545: ext:: in a submodule",
        r#"evil(file(".gitmodules", '[submodule "s"]\npath = s\nurl = ext::sh -c "touch /run/canary /var/lib/bitbuilder/git/web/canary"\n'), submodule("s"))"#,
        "web:s",
    ),
    refused(
        "CVE-2017-1000117: ssh option in a submodule",
        r#"evil(file(".gitmodules", '[submodule "s"]\npath = s\nurl = ssh://-oProxyCommand=touch%20/var/lib/bitbuilder/git/web/canary/x\n'), submodule("s"))"#,
        "web:s",
    ),
    refused(
        "CVE-2018-11235: submodule name",
        r#"evil(file(".gitmodules", '[submodule "../../x"]\npath = s\nurl = ./x\n'), submodule("s"))"#,
        "web:s",
    ),
    refused(
        "CVE-2018-17456: submodule URL",
        r#"evil(file(".gitmodules", '[submodule "s"]\npath = s\nurl = -u./payload\n'), submodule("s"))"#,
        "web:s",
    ),
    refused(
        "CVE-2019-19604: submodule update",
        r#"evil(file(".gitmodules", '[submodule "s"]\npath = s\nurl = ./x\nupdate = !touch /run/canary /var/lib/bitbuilder/git/web/canary\n'), submodule("s"))"#,
        "web:s",
    ),
    refused(
        "CVE-2025-48384: carriage return in a submodule",
        r#"evil(file(".gitmodules", '[submodule "s"]\npath = "s\r"\nurl = ./x\n'), submodule("s\r"))"#,
        "web:s",
    ),
    refused(
        "CVE-2018-11235: .gitmodules that is a link",
        r#"evil(link(".gitmodules", "modules"), file("modules"))"#,
        "web:.gitmodules",
    ),
    refused("CVE-2018-11233: .gitmodules by its short name", r#"evil(link("GITMOD~1", "modules"))"#, "web:GITMOD~1"),
    // Names.
    refused("..", r#"evil(directory("..", file("passwd")))"#, "web:.."),
    refused(".", r#"evil(directory(".", file("passwd")))"#, "web:."),
    refused("slash", r#"evil(file("a/../../../b"))"#, "web:a/../../../b"),
    refused("absolute", r#"evil(file("/etc/passwd"))"#, "web:/etc/passwd"),
    refused("newline", r#"evil(file("a\nb"))"#, "control characters"),
    refused("carriage return", r#"evil(file("a\r"))"#, "control characters"),
    refused("escape sequence", r#"evil(file("\x1b]0;x\x07"))"#, "control characters"),
    refused("delete", r#"evil(file("\x7f"))"#, "control characters"),
    refused("next line", r#"evil(file("\x85"))"#, "control characters"),
    refused("Latin-1", r#"evil(raw("100644", b"\xe9", add("blob", b"x")))"#, "not UTF-8"),
    refused("overlong UTF-8", r#"evil(raw("100644", b"\xc0\xaf", add("blob", b"x")))"#, "not UTF-8"),
    refused("half a surrogate", r#"evil(raw("100644", b"\xed\xa0\x80", add("blob", b"x")))"#, "not UTF-8"),
    refused("256 bytes", r#"evil(file("a" * 256))"#, "255 bytes"),
    refused("same name twice", r#"evil(file("a"), file("a", "y"))"#, "web:a"),
    refused("file and directory of a name", r#"evil(file("a"), directory("a", file("b")))"#, "web:a"),
    refused("case twins", r#"evil(file("README"), file("readme"))"#, "another entry has this name"),
    refused(
        "case twins of full folding",
        r#"evil(file("STRASSE"), file("stra\u00dfe"))"#,
        "another entry has this name",
    ),
    refused("Unicode twins", r#"evil(file("caf\u00e9"), file("cafe\u0301"))"#, "another entry has this name"),
    refused("twin of metadata.json", r#"evil(file("METADATA.JSON"))"#, "metadata.json"),
    // Shapes.
    refused(
        "unsorted",
        r#"commit(unsorted(file("b"), file("a"), file("metadata.json", metadata)))"#,
        "the tree is malformed",
    ),
    refused("setuid", r#"evil(raw("104755", "a", add("blob", b"x")))"#, "its mode is none that Git has"),
    refused("sticky directory", r#"evil(raw("41777", "a", tree(file("f"))))"#, "its mode is none that Git has"),
    refused("device", r#"evil(raw("20000", "a", add("blob", b"x")))"#, "its mode is none that Git has"),
    refused("pipe", r#"evil(raw("10000", "a", add("blob", b"x")))"#, "its mode is none that Git has"),
    refused("socket", r#"evil(raw("140000", "a", add("blob", b"x")))"#, "the tree is malformed"),
    refused("no mode", r#"evil(raw("0", "a", add("blob", b"x")))"#, "its mode is none that Git has"),
    refused("more than 1,024 bytes of path", r#"evil(nested(10, file("f"), name="d" * 120))"#, "1024 bytes"),
    refused("65 directories deep", r#"evil(nested(65, file("f")))"#, "64 directories deep"),
    refused("2,000 directories deep", r#"evil(nested(2000, file("f")))"#, "64 directories deep"),
    refused("100,000 files", r#"evil(*(file(f"f{number}") for number in range(100_000)))"#, "20000 files"),
    refused("10,000,000,000 files", r#"evil(bomb(9))"#, "20000 files"),
    refused(
        "a directory of 17 MiB",
        r#"evil(directory("d", *(file(f"{number:0250}") for number in range(66_000))))"#,
        "web:d",
    ),
    refused(
        "16 directories of 15 MiB in each other",
        r#"served(lambda sent: pack(*sent, *bulky(16)[1]), bulky(16)[0])"#,
        "20000 files",
    ),
    // Links.
    refused("absolute link", r#"evil(link("a", "/etc/shadow"))"#, "it links to"),
    refused("link that leaves", r#"evil(link("a", "../x"))"#, "it links to"),
    refused("link that leaves from below", r#"evil(directory("d", link("a", "../../x")))"#, "web:d/a"),
    refused("link through a name", r#"evil(link("a", "b/../../x"))"#, "it links to"),
    refused("link to nothing", r#"evil(link("a", ""))"#, "it links to"),
    refused("link with a zero byte", r#"evil(link("a", b"b\0c"))"#, "it links to"),
    refused("link with a newline", r#"evil(link("a", "b\nc"))"#, "it links to"),
    refused("link that is no text", r#"evil(link("a", b"\xff"))"#, "it links to"),
    refused("long link", r#"evil(link("a", "b" * 5000))"#, "it has more than 1024 bytes"),
    refused(
        "metadata.json that links to itself",
        r#"commit(tree(link("metadata.json", "metadata.json")))"#,
        "symbolic link",
    ),
    refused(
        "metadata.json that links away",
        r#"commit(tree(link("metadata.json", "m"), file("m", metadata)))"#,
        "symbolic link",
    ),
    refused(
        "metadata.json that is a directory",
        r#"commit(tree(directory("metadata.json", file("a"))))"#,
        "not a regular file",
    ),
    refused("no metadata.json", r#"commit(tree(file("a")))"#, "metadata.json"),
    refused("metadata.json of 32 MiB", r#"commit(tree(file("metadata.json", b" " * (32 << 20))))"#, "metadata.json"),
    // Sizes and pointers.
    refused(
        "Git LFS pointer",
        r#"evil(file("a", "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n"))"#,
        "LFS pointer",
    ),
    refused(
        "older LFS pointer",
        r#"evil(file("a", "version https://hawser.github.com/spec/v1\noid sha256:00\nsize 1\n"))"#,
        "LFS pointer",
    ),
    refused("a file of 65 MiB", r#"evil(file("a", bytes(65 << 20)))"#, "it has more than 67108864 bytes"),
    refused(
        "2,000 files of a MiB",
        r#"evil(*(file(f"f{number}", bytes(1 << 20)) for number in range(2000)))"#,
        "1073741824 bytes together",
    ),
    // What is in the tree is not what Git goes by: nothing of it is run, and it is there as a file like any other.
    runs(
        "a bare repository in the tree",
        r#"evil(*hooks(), file("HEAD", "ref: refs/heads/main\n"), directory("refs", file("x")), directory("objects", file("x")))"#,
    ),
    runs(
        "CVE-2022-23521: attributes",
        r#"evil(file(".gitattributes", "* filter=x diff=x merge=x\n" + "a" * 100_000 + "\n" + "x a\n" * 10_000), file(".lfsconfig", "[lfs]\nurl = file:///\n"))"#,
    ),
    runs(
        "settings for Git",
        r#"evil(file(".gitconfig", "[filter \"x\"]\nsmudge = touch /run/canary /var/lib/bitbuilder/git/web/canary\n"), file(".gitmodules", "[submodule]\nx\n"))"#,
    ),
    runs(
        "links that go round",
        r#"evil(link("a", "b"), link("b", "a"), link("c", "c"), link("d", "."), link("e", "absent"))"#,
    ),
];
