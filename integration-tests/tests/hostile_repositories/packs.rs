//! What a server sends that is no pack, or one that is made to exhaust; and references that name no commit.

use crate::table::{Row, not_fetched, refused, runs};

/// The one that takes longest.
pub(crate) const LONG: &str = "10 GiB in a file";

pub(crate) const ROWS: &[Row] = &[
    // References.
    not_fetched("branch that is not there", r#""""#, "has no refs/heads/main"),
    not_fetched("branch that is a directory", r#""directory""#, "has no refs/heads/main"),
    not_fetched("branch that leads away", r#""ref: refs/../../../../etc/passwd""#, "has no refs/heads/main"),
    refused("branch that names a tree", r#"tree(file("a"))"#, "names a tree, not a commit"),
    refused("branch that names a file", r#"add("blob", b"x")"#, "names a blob, not a commit"),
    not_fetched("branch that names nothing", r#""1" * 40"#, "cannot be reached"),
    refused("tag of a tree", r#"tag(tree(file("a")), "tree")"#, "names a tree, not a commit"),
    refused("tag of a file", r#"tag(add("blob", b"x"), "blob")"#, "names a blob, not a commit"),
    not_fetched("tag of nothing", r#"tag("2" * 40)"#, "Failed to consume the pack"),
    not_fetched("tag that is none", r#"add("tag", b"nonsense")"#, "cannot be reached"),
    not_fetched("commit that is none", r#"add("commit", b"nonsense")"#, "cannot be reached"),
    not_fetched("commit of a tree that is missing", r#"commit("3" * 40)"#, "Failed to consume the pack"),
    not_fetched("commit of a file", r#"commit(add("blob", b"x"))"#, "Failed to consume the pack"),
    runs(
        "chain of 1,000 tags",
        r#"functools.reduce(lambda inner, _: tag(inner, "tag"), range(999), tag(evil(file("a", "1000 tags"))))"#,
    ),
    // Packs that are none.
    not_fetched("nothing at all", r#"served(lambda sent: b"")"#, "Failed to consume the pack"),
    not_fetched("garbage", r#"served(lambda sent: b"garbage" * 100)"#, "Pack data type not recognized"),
    not_fetched("half a header", r#"served(lambda sent: pack(*sent)[:7])"#, "Failed to consume the pack"),
    not_fetched("half a pack", r#"served(lambda sent: pack(*sent)[:-60])"#, "pack is incomplete"),
    not_fetched(
        "a pack of another version",
        r#"served(lambda sent: pack(*sent, version=9))"#,
        "Unsupported pack version: 9",
    ),
    not_fetched("another checksum", r#"served(lambda sent: pack(*sent)[:-1] + b"\0")"#, "pack checksum"),
    not_fetched(
        "a flipped bit",
        r#"served(lambda sent: pack(*sent)[:30] + b"\xff" + pack(*sent)[31:])"#,
        "Failed to consume the pack",
    ),
    not_fetched(
        "four thousand million objects announced",
        r#"served(lambda sent: pack(*sent, count=0xFFFFFFFF))"#,
        "too large for this host",
    ),
    not_fetched(
        "an object less than announced",
        r#"served(lambda sent: pack(*sent, count=5))"#,
        "Failed to consume the pack",
    ),
    not_fetched("an object more than announced", r#"served(lambda sent: pack(*sent, count=3))"#, "pack checksum"),
    not_fetched("no objects", r#"served(lambda sent: pack())"#, "did not send its commit"),
    not_fetched(
        "an object of no kind",
        r#"served(lambda sent: pack(*sent, bytes(head(0, 1)) + zlib.compress(b"x")))"#,
        "Object type",
    ),
    not_fetched(
        "an object of the reserved kind",
        r#"served(lambda sent: pack(*sent, bytes(head(5, 1)) + zlib.compress(b"x")))"#,
        "Object type",
    ),
    not_fetched("a pack without the commit", r#"served(lambda sent: pack(*sent[1:]))"#, "did not send its commit"),
    not_fetched("a pack without the tree", r#"served(lambda sent: pack(sent[0], *sent[2:]))"#, "lacks"),
    runs("what mends it, the tree", r#"evil(file("mended", "a pack without the tree"))"#),
    not_fetched("a pack without a file", r#"served(lambda sent: pack(*sent[:3]))"#, "lacks"),
    runs("what mends it, a file", r#"evil(file("mended", "a pack without a file"))"#),
    refused(
        "a tree that is a file",
        r#"served(lambda sent: pack(*sent, whole("blob", b"x")), raw("40000", "z", add("blob", b"x")))"#,
        "the tree is malformed",
    ),
    refused(
        "a file that is a tree",
        r#"served(lambda sent: pack(*sent, whole("tree", b"")), raw("100644", "z", add("tree", b"")))"#,
        "the tree is malformed",
    ),
    refused(
        "no name",
        r#"served(lambda sent: pack(*sent, whole("blob", b"x")), raw("100644", "", add("blob", b"x")))"#,
        "not allowed",
    ),
    // Deltas.
    not_fetched(
        "a delta of nothing",
        r#"served(lambda sent: pack(*sent, on_object("4" * 40, delta(1, 1, insert(b"x")))))"#,
        "base object 4444",
    ),
    not_fetched(
        "a delta of itself",
        r#"served(lambda sent: pack(*sent, on_offset(0, delta(1, 1, insert(b"x")))))"#,
        "not a valid offset",
    ),
    not_fetched(
        "a delta of what is before the pack",
        r#"served(lambda sent: pack(*sent, on_offset(1 << 40, delta(1, 1, insert(b"x")))))"#,
        "not a valid offset",
    ),
    not_fetched(
        "a delta of the middle of something",
        r#"served(lambda sent: pack(*sent, on_offset(1, delta(1, 1, insert(b"x")))))"#,
        "The base at",
    ),
    not_fetched(
        "deltas of each other",
        r#"served(lambda sent: pack(*sent, on_object(add("blob", b"right"), delta(5, 4, insert(b"left"))), on_object(add("blob", b"left"), delta(4, 5, insert(b"right")))))"#,
        "base object",
    ),
    not_fetched(
        "a delta that copies what its base has not",
        r#"served(lambda sent: pack(*sent, whole("blob", b"base"), on_offset(len(whole("blob", b"base")), delta(4, 100, copy(0, 100)))))"#,
        "Corrupt delta data",
    ),
    not_fetched(
        "a delta that announces a TiB",
        r#"served(lambda sent: pack(*sent, whole("blob", b"base"), on_offset(len(whole("blob", b"base")), delta(4, 1 << 40, insert(b"x")))))"#,
        "too large for this host",
    ),
    not_fetched(
        "10 GiB in a delta",
        r#"served(lambda sent: pack(*sent, head("blob", 1 << 24) + zeros(1 << 24), on_offset(len(head("blob", 1 << 24) + zeros(1 << 24)), delta(1 << 24, 0xFFFFFF * 640, copy(0, 0xFFFFFF) * 640))))"#,
        "too large for this host",
    ),
    runs(
        "10,000 deltas, each of the one before",
        r#"served(lambda sent: pack(*sent, *chain(10_000)[0]), file("z", chain(10_000)[1]))"#,
    ),
    runs(
        "60,000 deltas, each of the one before",
        r#"served(lambda sent: pack(*sent, *chain(60_000)[0]), file("z", chain(60_000)[1]))"#,
    ),
    // Bombs.
    not_fetched(
        "three files of 120 MiB, two of which are deltas of the other",
        r#"served(lambda sent: pack(*sent, head("blob", 120 << 20) + zeros(120 << 20), *siblings(2, 120 << 20)))"#,
        "too large for this host",
    ),
    not_fetched(
        LONG,
        r#"served(lambda sent: pack(*sent, head("blob", 10 << 30) + zeros(10 << 30)))"#,
        "too large for this host",
    ),
    not_fetched(
        "a GiB in a file of one byte",
        r#"served(lambda sent: pack(*sent, head("blob", 1) + zeros(1 << 30)))"#,
        "pack is incomplete",
    ),
    not_fetched(
        "one byte in a file of a TiB",
        r#"served(lambda sent: pack(*sent, head("blob", 1 << 40) + zeros(1)))"#,
        "pack is incomplete",
    ),
    not_fetched(
        "a commit of 2 MiB",
        r#"commit(tree(file("metadata.json", metadata)), bytes(2 << 20))"#,
        "a commit of 2097",
    ),
    not_fetched(
        "a tag of a tag of 2 MiB",
        r#"tag(add("tag", f"object {evil()}\ntype commit\ntag t\n\n".encode() + bytes(2 << 20)), "tag")"#,
        "a tag of 2097",
    ),
    not_fetched(
        "a commit of 160 MiB",
        r#"commit(tree(file("metadata.json", metadata)), bytes(160 << 20))"#,
        "too large for this host",
    ),
    not_fetched(
        "a tag of 160 MiB",
        r#"add("tag", f"object {evil()}\ntype commit\ntag t\n\n".encode() + bytes(160 << 20))"#,
        "too large for this host",
    ),
    not_fetched(
        "a directory of 160 MiB",
        r#"served(lambda sent: pack(*sent, head("tree", 160 << 20) + zeros(160 << 20)))"#,
        "too large for this host",
    ),
    runs(
        "half a million files of a byte that are sent one by one",
        r#"served(lambda sent: pack(*sent, *[whole("blob", b"x")] * 500_000))"#,
    ),
];
