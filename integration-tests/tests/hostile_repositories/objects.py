"""Writes Git objects, packs and references exactly as they are told to be, also those that Git itself would not make."""

import functools
import hashlib
import os
import struct
import zlib

MODES = {"file": b"100644", "program": b"100755", "directory": b"40000", "link": b"120000", "submodule": b"160000"}
# What a payload leaves where it may write: as root, and as who fetches this repository, which reaches nothing else.
CANARIES = "/run/canary /var/lib/bitbuilder/git/web/canary /var/lib/bitbuilder/git/hooked/canary /var/lib/bitbuilder/git/promisor/canary"
TYPES = {"commit": 1, "tree": 2, "blob": 3, "tag": 4, "offset": 6, "reference": 7}


def as_bytes(text):
    return text.encode() if isinstance(text, str) else text


class Repository:
    """A bare repository's object store."""

    def __init__(self, path):
        self.path = path
        self.base = None
        self.row = None
        self.made = None
        self.metadata = b""

    def add(self, kind, content):
        """Writes a loose object, whatever it holds. Gives its name."""
        whole = b"%s %d\0" % (kind.encode(), len(content)) + content
        name = hashlib.sha1(whole).hexdigest()
        directory = f"{self.path}/objects/{name[:2]}"
        os.makedirs(directory, exist_ok=True)
        if not os.path.exists(f"{directory}/{name[2:]}"):
            with open(f"{directory}/{name[2:]}", "wb") as file:
                file.write(zlib.compress(whole, 1))
        return name

    def raw(self, mode, name, object):
        """An entry of a tree."""
        return as_bytes(mode), as_bytes(name), object

    def file(self, name, content=b"x\n"):
        return self.raw(MODES["file"], name, self.add("blob", as_bytes(content)))

    def program(self, name, content=f"#!/bin/sh\ntouch {CANARIES}\n"):
        return self.raw(MODES["program"], name, self.add("blob", as_bytes(content)))

    def link(self, name, target):
        return self.raw(MODES["link"], name, self.add("blob", as_bytes(target)))

    def directory(self, name, *entries):
        return self.raw(MODES["directory"], name, self.tree(*entries))

    def submodule(self, name):
        return self.raw(MODES["submodule"], name, self.base)

    def hooks(self):
        """What Git would run if it took this for its own."""
        config = f"[core]\n\tfsmonitor = touch {CANARIES}\n\tsshCommand = touch {CANARIES}\n"
        return self.directory("hooks", self.program("post-checkout")), self.file("config", config)

    def bytes_of(self, entries):
        return b"".join(b"%s %s\0%s" % (mode, name, bytes.fromhex(object)) for mode, name, object in entries)

    def tree(self, *entries):
        """A tree of these entries in Git's order."""
        ordered = sorted(entries, key=lambda entry: entry[1] + (b"/" if entry[0] == MODES["directory"] else b""))
        return self.unsorted(*ordered)

    def unsorted(self, *entries):
        return self.add("tree", self.bytes_of(entries))

    def commit(self, tree, message=b""):
        self.made = self.add("commit", self.commit_bytes(tree, message))
        return self.made

    def commit_bytes(self, tree, message=b""):
        who = "A <a@example.org> 1 +0000"
        return f"tree {tree}\nparent {self.base}\nauthor {who}\ncommitter {who}\n\nrow {self.row}\n".encode() + message

    def evil(self, *entries):
        """A commit that would run if it were not for these entries."""
        return self.commit(self.tree(self.file("metadata.json", self.metadata), *entries))

    def tag(self, object, kind="commit"):
        text = f"object {object}\ntype {kind}\ntag evil\ntagger A <a@example.org> 1 +0000\n\nevil\n"
        return self.add("tag", text.encode())

    def nested(self, depth, *entries, name="d"):
        """Directories in each other."""
        entry = self.directory(name, *entries)
        for _ in range(depth - 1):
            entry = self.directory(name, entry)
        return entry

    def bomb(self, levels, width=10):
        """A directory of ten directories that are the same, and so on: width to the power of levels files."""
        entry = self.raw(MODES["directory"], "b", self.tree(self.file("f")))
        for _ in range(levels):
            entry = self.directory("b", *((entry[0], b"%d" % number, entry[2]) for number in range(width)))
        return entry

    @functools.cache
    def bulky(self, levels):
        """Directories in each other, each the first of the entries of a tree object of 15 MiB; and the objects, as a pack has them."""
        filler = [self.raw(MODES["file"], f"f{number:0240}", "7" * 40) for number in range(58_000)]
        entry, sent = None, []
        for _ in range(levels):
            content = self.bytes_of(([entry] if entry else []) + filler)
            sent.append(whole("tree", content))
            entry = self.raw(MODES["directory"], "b", hashlib.sha1(b"tree %d\0" % len(content) + content).hexdigest())
        return entry, sent

    def reference(self, name, object):
        """Writes a reference without a look at what it names."""
        os.makedirs(os.path.dirname(f"{self.path}/{name}"), exist_ok=True)
        with open(f"{self.path}/{name}", "w") as file:
            file.write(f"{object}\n")


def zeros(size):
    """`size` zero bytes as zlib shrinks them, made from a few and without holding them."""
    piece = 1 << 24
    shrinking = zlib.compressobj(9, zlib.DEFLATED, -15)
    block = shrinking.compress(bytes(piece)) + shrinking.flush(zlib.Z_FULL_FLUSH)
    last = zlib.compressobj(9, zlib.DEFLATED, -15)
    rest = last.compress(bytes(size % piece)) + last.flush()
    return b"\x78\x9c" + block * (size // piece) + rest + struct.pack(">I", (size % 65521) << 16 | 1)


def head(kind, size):
    """The head of a pack's entry (gitformat-pack(5))."""
    number = TYPES.get(kind, kind)
    first, size = number << 4 | size & 15, size >> 4
    bytes = bytearray()
    while size:
        bytes.append(first | 128)
        first, size = size & 127, size >> 7
    bytes.append(first)
    return bytes


def varint(number):
    bytes = bytearray()
    while number > 127:
        bytes.append(number & 127 | 128)
        number >>= 7
    bytes.append(number)
    return bytes


def distance(number):
    bytes = bytearray([number & 127])
    while number > 127:
        number = (number >> 7) - 1
        bytes.insert(0, number & 127 | 128)
    return bytes


def delta(base, result, commands):
    return bytes(varint(base) + varint(result)) + commands


def insert(text):
    return bytes([len(text)]) + text


def copy(offset, size):
    return bytes([0xFF]) + struct.pack("<I", offset) + struct.pack("<I", size)[:3]


def whole(kind, content):
    """An entry with this object."""
    return bytes(head(kind, len(content))) + zlib.compress(content, 1)


def on_offset(back, content):
    return bytes(head("offset", len(content)) + distance(back)) + zlib.compress(content, 1)


def on_object(base, content):
    return bytes(head("reference", len(content))) + bytes.fromhex(base) + zlib.compress(content, 1)


def pack(*entries, count=None, version=2, more=b""):
    body = b"PACK" + struct.pack(">II", version, len(entries) if count is None else count) + b"".join(entries)
    return body + hashlib.sha1(body).digest() + more


def chain(length, base=b"base"):
    """A blob, and so many deltas, each of the one before: entries, and the content of the last."""
    entries, content = [whole("blob", base)], base
    for number in range(length):
        added = b"%08d" % number
        entries.append(on_offset(len(entries[-1]), delta(len(content), len(base) + 8, copy(0, len(base)) + insert(added))))
        content = base + added
    return entries, content


def siblings(count, size):
    """Deltas that are almost as large as the blob of `size` zero bytes before them, and all of that one."""
    back = len(head("blob", size)) + len(zeros(size))
    pieces = size // 0xFFFFFF
    for _ in range(count):
        yield on_offset(back, delta(size, pieces * 0xFFFFFF, copy(0, 0xFFFFFF) * pieces))
        back += len(on_offset(back, delta(size, pieces * 0xFFFFFF, copy(0, 0xFFFFFF) * pieces)))


class Server(Repository):
    """A repository, and what its server sends in place of a pack that Git would make."""

    def served(self, make, *entries):
        """A commit, and what `make` makes of a pack's entries: of it, its tree, its metadata.json and a file of its own."""
        own = b"%d" % self.row
        ordered = self.file("metadata.json", self.metadata), self.file("row", own), *entries
        ordered = sorted(ordered, key=lambda entry: entry[1])
        tree = self.unsorted(*ordered)
        commit = self.commit_bytes(tree)
        sent = [whole("commit", commit), whole("tree", self.bytes_of(ordered)), whole("blob", self.metadata), whole("blob", own)]
        self.made = self.add("commit", commit)
        return self.made, make(sent)

    def write(self, row, make, runs):
        """Puts a row's tip, and its pack if it has one, where its turn finds them."""
        self.row = row
        what = make()
        tip, sent = what if isinstance(what, tuple) else (what, None)
        with open(f"/srv/rows/{row}.tip", "w") as file:
            file.write(f"{tip}\n")
        if sent is not None:
            with open(f"/srv/rows/{row}.pack", "wb") as file:
                file.write(sent)
        if runs:
            self.base = self.made
