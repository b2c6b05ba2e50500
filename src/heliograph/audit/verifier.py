"""Holds an audit log against its own hashes and against signed checkpoints; one file, no library.

    python audit_verify.py EXPORT --key PUBLIC [--checkpoint NOTE …]
    python audit_verify.py --proof PROOF.json --key PUBLIC

This file needs Python 3.11 and nothing else: copy it to a machine that never saw the server. The
server's own `heliograph audit verify` feeds the same `Checker` from the database.

Covered: an event edited, removed, repeated, moved, exchanged or cut off at the end; a chain that
was written anew from some event on, if a checkpoint from before is at hand; checkpoints edited,
missing in between, signed by another key or at odds with each other. Not covered: events after the
newest checkpoint that are cut off or written anew, and whoever holds the signing key and every copy
of the checkpoints. So keep the public key and some checkpoints where the server cannot reach them.

The length of this file is the price of its being one file.
"""

# ruff: noqa: T201 - it is a script, too

from __future__ import annotations

import argparse
import base64
import binascii
import hashlib
import json
import re
import sys
import zipfile
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

GENESIS = "0" * 64
"""What stands as `prev` in the first event."""
FIELDS = ("act", "actor", "at_ms", "facts", "seq", "subject", "v", "workspace")
"""The fields of every event's body."""
EVENTS, NOTES = "audit.jsonl", "checkpoints"
"""What an export holds: the events, one a line, and the folder of signed notes."""
_MOST_FAULTS = 50
_LONGEST_LINE = 1 << 16
_DASH = "\N{EM DASH} "
_ACT = re.compile(r"[a-z]+(_[a-z]+)*(:[a-z]+(_[a-z]+)*){1,2}")
_HASH = re.compile(r"[0-9a-f]{64}")


# -- Ed25519 (RFC 8032, section 5.1.7) --

_P = 2**255 - 19
_L = 2**252 + 27742317777372353535851937790883648493
_D = -121665 * pow(121666, -1, _P) % _P
_ROOT_OF_MINUS_ONE = pow(2, (_P - 1) // 4, _P)
_Point = tuple[int, int, int, int]
_NEUTRAL: _Point = (0, 1, 1, 0)


def signed_by(public: bytes, message: bytes, signature: bytes) -> bool:
    """Whether an Ed25519 signature is good."""
    if len(public) != 32 or len(signature) != 64:
        return False
    key = _decompress(public)
    s = int.from_bytes(signature[32:], "little")
    if key is None or s >= _L:
        return False
    k = int.from_bytes(hashlib.sha512(signature[:32] + public + message).digest(), "little") % _L
    x, y, z, t = key
    # What the signer must have begun with: s·B - k·A, compared as it is written.
    return _compress(_both(s, _BASE, k, (_P - x, y, z, _P - t))) == signature[:32]


def _decompress(written: bytes) -> _Point | None:
    y = int.from_bytes(written, "little")
    sign, y = y >> 255, y & ((1 << 255) - 1)
    if y >= _P:
        return None
    square = (y * y - 1) * pow(_D * y * y + 1, -1, _P) % _P
    x = pow(square, (_P + 3) // 8, _P)
    if (x * x - square) % _P:
        x = x * _ROOT_OF_MINUS_ONE % _P
    if (x * x - square) % _P or (x == 0 and sign):
        return None
    x = _P - x if x & 1 != sign else x
    return (x, y, 1, x * y % _P)


def _compress(point: _Point) -> bytes:
    inverse = pow(point[2], -1, _P)
    x, y = point[0] * inverse % _P, point[1] * inverse % _P
    return (y | (x & 1) << 255).to_bytes(32, "little")


def _sum(one: _Point, other: _Point) -> _Point:
    a = (one[1] - one[0]) * (other[1] - other[0]) % _P
    b = (one[1] + one[0]) * (other[1] + other[0]) % _P
    c = 2 * one[3] * other[3] * _D % _P
    d = 2 * one[2] * other[2] % _P
    e, f, g, h = b - a, d - c, d + c, b + a
    return (e * f % _P, g * h % _P, f * g % _P, e * h % _P)


def _both(m: int, one: _Point, n: int, other: _Point) -> _Point:
    """`m·one + n·other`."""
    choices = (None, one, other, _sum(one, other))
    at = _NEUTRAL
    for bit in range(max(m.bit_length(), n.bit_length()) - 1, -1, -1):
        at = _sum(at, at)
        choice = choices[(m >> bit & 1) | (n >> bit & 1) << 1]
        if choice is not None:
            at = _sum(at, choice)
    return at


def _base() -> _Point:
    point = _decompress((4 * pow(5, -1, _P) % _P).to_bytes(32, "little"))
    assert point is not None
    return point


_BASE = _base()
Signed = Callable[[bytes, bytes, bytes], bool]
"""Says whether `(public key, message, signature)` fit; `signed_by`, or a faster one."""


# -- Signed notes and checkpoints (C2SP signed-note and tlog-checkpoint) --


class BadNote(ValueError):  # noqa: N818 - it tells of the note, in the words of a person
    """A note or a key that cannot be believed; says why."""


class Key(NamedTuple):
    """A public key as it is handed on: `NAME+ID+BASE64`."""

    name: str
    mark: bytes
    public: bytes


class Checkpoint(NamedTuple):
    """What a log once said of itself: so many events, and the hash over all of them."""

    origin: str
    size: int
    root: bytes


def key_mark(name: str, public: bytes) -> bytes:
    """The four bytes by which a note names the key that signed it."""
    return hashlib.sha256(name.encode() + b"\n\x01" + public).digest()[:4]


def read_key(text: str) -> Key:
    """A public key.

    Raises:
        BadNote: it is none, or not of Ed25519.
    """
    name, _, rest = text.strip().partition("+")
    mark, _, told = rest.partition("+")
    public = _bytes_of(told)
    if not name or public[:1] != b"\x01" or len(public) != 33:
        raise BadNote("This is no public key; one looks like NAME+0123abcd+BASE64.")
    if mark != key_mark(name, public[1:]).hex():
        raise BadNote("The public key is damaged: its name and its bytes do not fit together.")
    return Key(name, bytes.fromhex(mark), public[1:])


def open_note(note: str, key: Key, signed: Signed = signed_by) -> str:
    """The text of a note that `key` has signed.

    Raises:
        BadNote: it is no note, or the key has not signed it.
    """
    text, gap, lines = note.rpartition("\n\n")
    text += "\n"
    if not gap or not lines.endswith("\n") or any(c < " " and c != "\n" for c in note):
        raise BadNote("is no signed note")
    for line in lines[:-1].split("\n"):
        name, _, told = line.removeprefix(_DASH).partition(" ")
        signature = _bytes_of(told)
        if not line.startswith(_DASH) or not name or len(signature) < 5:
            raise BadNote("is no signed note")
        if name == key.name and signature[:4] == key.mark:
            if signed(key.public, text.encode(), signature[4:]):
                return text
            raise BadNote("was changed after it was signed: the signature does not fit")
    raise BadNote("is not signed by the key that was given")


def read_checkpoint(note: str, key: Key, signed: Signed = signed_by) -> Checkpoint:
    """A checkpoint that `key` has signed.

    Raises:
        BadNote: as `open_note`; or the note is of something else.
    """
    lines = open_note(note, key, signed).split("\n")
    if len(lines) < 4 or not re.fullmatch(r"0|[1-9][0-9]{0,17}", lines[1]):
        raise BadNote("is signed, but is no checkpoint")
    root = _bytes_of(lines[2])
    if lines[0] != key.name or len(root) != 32:
        raise BadNote("is signed, but is no checkpoint of this log")
    return Checkpoint(lines[0], int(lines[1]), root)


def _bytes_of(text: str) -> bytes:
    try:
        found = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return b""
    return found if base64.b64encode(found).decode() == text else b""


# -- The Merkle tree (RFC 9162, section 2.1) --


def leaf_hash(data: bytes) -> bytes:
    """The hash of one entry."""
    return hashlib.sha256(b"\x00" + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """The hash of two neighbours."""
    return hashlib.sha256(b"\x01" + left + right).digest()


class Frontier:
    """The root of a tree that grows leaf by leaf; it keeps one hash a level."""

    def __init__(self) -> None:
        self.size = 0
        self._edge: list[bytes] = []

    def add(self, leaf: bytes) -> None:
        """Append the hash of a leaf."""
        self._edge.append(leaf)
        self.size += 1
        # As many pairs are complete now as the size ends in zero bits.
        for _ in range((self.size & -self.size).bit_length() - 1):
            right = self._edge.pop()
            self._edge[-1] = node_hash(self._edge[-1], right)

    def root(self) -> bytes:
        """The hash over all leaves so far."""
        if not self._edge:
            return hashlib.sha256().digest()
        at = self._edge[-1]
        for left in reversed(self._edge[:-1]):
            at = node_hash(left, at)
        return at


def includes(root: bytes, size: int, index: int, leaf: bytes, path: Sequence[bytes]) -> bool:
    """Whether `leaf` is number `index` (from 0) of the `size` leaves under `root`."""
    if not 0 <= index < size:
        return False
    at, last, hashed = index, size - 1, leaf
    for one in path:
        if last == 0:
            return False
        if at & 1 or at == last:
            hashed = node_hash(one, hashed)
            while not at & 1 and at:
                at, last = at >> 1, last >> 1
        else:
            hashed = node_hash(hashed, one)
        at, last = at >> 1, last >> 1
    return last == 0 and hashed == root


def extends(old_root: bytes, old_size: int, root: bytes, size: int, path: Sequence[bytes]) -> bool:
    """Whether the tree under `root` begins with the very leaves of the tree under `old_root`."""
    if old_size > size or old_size < 0:
        return False
    if old_size in {0, size}:
        return not path and (old_size == 0 or old_root == root)
    steps = list(path)
    if old_size & (old_size - 1) == 0:
        steps.insert(0, old_root)
    if not steps:
        return False
    at, last = old_size - 1, size - 1
    while at & 1:
        at, last = at >> 1, last >> 1
    old = new = steps[0]
    for one in steps[1:]:
        if last == 0:
            return False
        if at & 1 or at == last:
            old, new = node_hash(one, old), node_hash(one, new)
            while not at & 1 and at:
                at, last = at >> 1, last >> 1
        else:
            new = node_hash(new, one)
        at, last = at >> 1, last >> 1
    return last == 0 and old == old_root and new == root


# -- The chain --


class Row(NamedTuple):
    """One event as it lies in the log.

    Attributes:
        seq: its number, from 1.
        body: what happened, as canonical JSON (RFC 8785), of `FIELDS`, in ASCII.
        prev: the hash of the event before, in hex; `GENESIS` for the first.
        hash: SHA-256 of `prev`'s bytes and the body's, in hex.
    """

    seq: int
    body: str
    prev: str
    hash: str


def row_of(seq: Any, body: Any, prev: Any, given: Any, *, place: int) -> Row:
    """A row of values that anybody may have written; an empty one if they are of wrong types.

    Args:
        seq: as in `Row`.
        body: as in `Row`.
        prev: as in `Row`.
        given: its hash.
        place: the number to report if `seq` is none.
    """
    texts = all(isinstance(one, str) and one.isascii() for one in (body, prev, given))
    if type(seq) is not int:
        return Row(place, "", "", "")
    return Row(seq, body, prev, given) if texts else Row(seq, "", "", "")


class Fault(NamedTuple):
    """Something that is wrong with a log.

    Attributes:
        seq: the number of the event; 0 if it is not one event.
        kind: `edited`, `missing`, `order`, `unlinked`, `malformed`, `truncated`, `rewritten` or
            `checkpoint`.
        text: what is wrong.
    """

    seq: int
    kind: str
    text: str


ADVICE = {
    "edited": "Compare the event with a backup or an older export; these bytes are not the ones "
    "that were written.",
    "missing": "Look for the events in a backup or an older export: they were here once.",
    "order": "Compare with a backup or an older export: events were moved or copied.",
    "unlinked": "An event was exchanged here, or one before it was removed: compare both sides "
    "with a backup or an older export.",
    "malformed": "The row was not written by the server: find out who else can write to the "
    "database.",
    "truncated": "The end was cut off, or an older backup was put back: get the missing events "
    "from a newer backup or export.",
    "rewritten": "The chain fits within itself but is another one than was signed: believe the "
    "checkpoint, and compare with a backup or an older export.",
    "checkpoint": "Compare the checkpoints with the copies that are kept elsewhere.",
}
"""What to do, by kind of fault. Always first: keep database and checkpoints as they are."""


def chain_hash(prev: str, body: str) -> str:
    """The hash of an event that follows `prev`."""
    return hashlib.sha256(bytes.fromhex(prev) + body.encode()).hexdigest()


def read_body(body: str) -> dict[str, Any] | None:
    """The fields of a body; None if it is not one in canonical form.

    For whole numbers, and names of small Latin letters, Python's own JSON is canonical when it is
    sorted and without spaces.
    """
    try:
        found: Any = json.loads(body, parse_float=_refuse, parse_constant=_refuse)
        if not isinstance(found, dict) or not isinstance(found["facts"], dict):
            return None
        again = json.dumps(found, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    except (ValueError, KeyError, RecursionError):
        return None
    good = again == body and tuple(found) == FIELDS and found["v"] == 1
    return found if good and _ACT.fullmatch(str(found["act"])) else None


def _refuse(text: str) -> None:
    raise ValueError(text)


class Checker:
    """Takes a log's rows in their order and says what is wrong with it.

    Args:
        key: the public key whose checkpoints are believed.
        notes: the log's checkpoints: their numbers, which count up from 1, and the signed notes.
        kept: further signed notes, kept elsewhere.
        signed: checks signatures.

    Attributes:
        faults: what was found so far, at most fifty.
        events: how many were looked at.
        checkpoints: how many were believed.
        body: the fields of the event just looked at; None if they cannot be read.
    """

    def __init__(
        self,
        key: Key,
        notes: Sequence[tuple[int, str]] = (),
        kept: Sequence[str] = (),
        signed: Signed = signed_by,
    ) -> None:
        self.faults: list[Fault] = []
        self.events = 0
        self.checkpoints = 0
        self.body: dict[str, Any] | None = None
        self._tree = Frontier()
        self._last, self._hash = 0, GENESIS
        self._whole = True
        self._agreed = 0
        self._roots: dict[int, list[tuple[str, bytes]]] = {}
        self._take(key, notes, kept, signed)
        self._compare()

    def add(self, row: Row) -> None:
        """Look at the next row."""
        self.events += 1
        self._look_at_order(row)
        self._look_at_body(row)
        self._last, self._hash = max(row.seq, self._last), row.hash
        if _HASH.fullmatch(row.hash):
            self._tree.add(leaf_hash(bytes.fromhex(row.hash)))
            self._compare()

    def finish(self) -> list[Fault]:
        """Look at the end; every fault found, those of checkpoints first."""
        longest = max(self._roots, default=0)
        if longest > self._last:
            self.say(
                self._last + 1,
                "truncated",
                f"events {self._last + 1} to {longest} are missing at the end: "
                f"{self._roots[longest][0]} was signed over {longest} events",
            )
        return self.faults

    def _take(
        self, key: Key, notes: Sequence[tuple[int, str]], kept: Sequence[str], signed: Signed
    ) -> None:
        size = 0
        for expected, (number, note) in enumerate(notes, 1):
            name = f"checkpoint {number}"
            if number != expected:
                self.say(0, "checkpoint", f"checkpoint {expected} is missing before {name}")
                return self._take_kept(key, [*kept, *(note for _, note in notes)], signed)
            found = self._read(name, note, key, signed)
            if found and found.size < size:
                self.say(
                    0,
                    "checkpoint",
                    f"{name} is over {found.size} events, but the one before it over {size}",
                )
            size = max(size, found.size if found else 0)
        return self._take_kept(key, kept, signed)

    def _take_kept(self, key: Key, kept: Sequence[str], signed: Signed) -> None:
        for note in kept:
            self._read("the checkpoint kept elsewhere", note, key, signed)

    def _read(self, name: str, note: str, key: Key, signed: Signed) -> Checkpoint | None:
        try:
            found = read_checkpoint(note, key, signed)
        except BadNote as bad:
            self.say(0, "checkpoint", f"{name} {bad}")
            return None
        self.checkpoints += 1
        self._roots.setdefault(found.size, []).append((name, found.root))
        return found

    def _look_at_order(self, row: Row) -> None:
        if row.seq == self._last + 1:
            if row.prev != self._hash:
                self.say(row.seq, "unlinked", f"event {row.seq} does not follow the one before it")
            return
        self._whole = False
        if row.seq <= self._last:
            self.say(row.seq, "order", f"event {row.seq} comes after event {self._last}")
        else:
            gone = f"event {self._last + 1} is"
            if row.seq - 1 > self._last + 1:
                gone = f"events {self._last + 1} to {row.seq - 1} are"
            self.say(self._last + 1, "missing", f"{gone} missing")

    def _look_at_body(self, row: Row) -> None:
        self.body = read_body(row.body)
        if not _HASH.fullmatch(row.prev) or not _HASH.fullmatch(row.hash):
            self.say(row.seq, "malformed", f"event {row.seq} has no hashes")
        elif chain_hash(row.prev, row.body) != row.hash:
            self.say(row.seq, "edited", f"event {row.seq} was changed after it was written")
        elif self.body is None:
            self.say(row.seq, "malformed", f"event {row.seq} is not written as events are")
        elif self.body["seq"] != row.seq:
            there = self.body["seq"]
            self.say(row.seq, "order", f"in the place of event {row.seq} stands event {there}")

    def _compare(self) -> None:
        """Hold the tree against the checkpoints of its size, until one does not fit."""
        size = self._tree.size
        for name, root in self._roots.get(size, ()) if self._whole else ():
            if root != self._tree.root():
                self._whole = False
                self.say(
                    self._agreed + 1 if size else 0,
                    "rewritten",
                    f"events {self._agreed + 1} to {size} are not those that {name} was signed "
                    "over",
                )
                return
            self._agreed = size

    def say(self, seq: int, kind: str, text: str) -> None:
        """Note a fault; see `Fault`."""
        if len(self.faults) < _MOST_FAULTS:
            self.faults.append(Fault(seq, kind, text))


# -- Exports and proofs --


def check_export(
    path: Path, key: Key, kept: Sequence[str] = (), told: Callable[[int], None] | None = None
) -> Checker:
    """Check an export: a folder or a zip file.

    Args:
        path: where it lies.
        key: the public key, from elsewhere than the export.
        kept: signed notes kept elsewhere.
        told: is given the number of events so far, now and then.

    Raises:
        BadNote: there is no export at `path`.
    """
    with _opened(path) as (names, lines):
        notes = sorted(
            (int(name), _text(content))
            for name, content in names
            if re.fullmatch(r"[0-9]{8}", name)
        )
        checker = Checker(key, notes, kept)
        for count, line in enumerate(lines, 1):
            checker.add(_row(line, count))
            if told is not None and count % 1000 == 0:
                told(count)
    checker.finish()
    return checker


@contextmanager
def _opened(path: Path) -> Generator[tuple[list[tuple[str, bytes]], Iterator[bytes]]]:
    try:
        if path.is_dir():
            notes = [(one.name, _start(one.open("rb"))) for one in (path / NOTES).glob("*")]
            with (path / EVENTS).open("rb") as file:
                yield notes, _lines(file)
            return
        with zipfile.ZipFile(path) as archive:
            names = [name for name in archive.namelist() if name.startswith(NOTES + "/")]
            notes = [(name.partition("/")[2], _start(archive.open(name))) for name in names]
            with archive.open(EVENTS) as file:
                yield notes, _lines(file)
    except (OSError, KeyError, zipfile.BadZipFile) as error:
        raise BadNote(f"{path} is no export of an audit log: {error}") from error


def _start(file: Any) -> bytes:
    with file:
        return file.read(_LONGEST_LINE)


def _lines(file: Any) -> Iterator[bytes]:
    while line := file.readline(_LONGEST_LINE):
        yield line


def _text(content: bytes) -> str:
    return content.decode("utf-8", "replace")


def _row(line: bytes, count: int) -> Row:
    try:
        found = json.loads(line)
        return row_of(found["seq"], found["body"], found["prev"], found["hash"], place=count)
    except (ValueError, KeyError, TypeError, RecursionError):
        return Row(count, "", "", "")


def check_proof(proof: dict[str, Any], key: Key) -> str:
    """Check what `GET /api/v1/audit/{seq}/proof` answers.

    Returns:
        The event's body: the checkpoint in the proof was signed over it.

    Raises:
        BadNote: it was not; says why.
    """
    try:
        row = row_of(proof["seq"], proof["body"], proof["prev"], proof["hash"], place=0)
        path = [bytes.fromhex(one) for one in proof["path"]]
        found = read_checkpoint(proof["checkpoint"], key)
        alone = chain_hash(row.prev, row.body) == row.hash and read_body(row.body)
    except BadNote as bad:
        raise BadNote(f"the checkpoint {bad}") from bad
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise BadNote("this is no proof of an event") from error
    if not alone or alone["seq"] != row.seq:
        raise BadNote(f"event {row.seq} was changed after it was written")
    leaf = leaf_hash(bytes.fromhex(row.hash))
    if not includes(found.root, found.size, row.seq - 1, leaf, path):
        raise BadNote(f"the checkpoint was not signed over this event {row.seq}")
    return row.body


def main(words: Sequence[str] | None = None) -> int:
    """The script: 0 if all is well, 1 if something is wrong, 2 if it was called wrongly."""
    parser = argparse.ArgumentParser(description="Verify an export of a Heliograph audit log.")
    parser.add_argument("export", nargs="?", type=Path, help="the folder or zip file")
    parser.add_argument("--key", required=True, help="the public key, or a file that holds it")
    parser.add_argument(
        "--checkpoint",
        action="append",
        default=[],
        type=Path,
        help="a signed checkpoint that was kept elsewhere; may be given several times",
    )
    parser.add_argument("--proof", type=Path, help="check a proof of one event instead")
    asked = parser.parse_args(words)
    if (asked.export is None) == (asked.proof is None):
        parser.error("give an export, or --proof FILE")
    try:
        given = Path(asked.key)
        key = read_key(asked.key if "+" in asked.key else given.read_text("utf-8"))
        kept = [one.read_text("utf-8") for one in asked.checkpoint]
        if asked.proof is not None:
            print(f"proved: {check_proof(json.loads(asked.proof.read_bytes()), key)}")
            return 0
        return _report(check_export(asked.export, key, kept, _tell))
    except BadNote as bad:
        print(f"not proved: {bad}", file=sys.stderr)
        return 1
    except (OSError, ValueError) as error:
        print(f"cannot read: {error}", file=sys.stderr)
        return 2


def _tell(count: int) -> None:
    if sys.stderr.isatty():
        print(f"\r{count} events", end="", file=sys.stderr)


def _report(checker: Checker) -> int:
    print(f"{checker.events} events, {checker.checkpoints} signed checkpoints")
    for line in explain(checker.faults):
        print(line)
    if not checker.faults:
        alone = "" if checker.checkpoints else " No checkpoint vouches for it yet."
        print(f"The log is whole.{alone}")
    return 1 if checker.faults else 0


def explain(faults: Iterable[Fault]) -> Iterator[str]:
    """The faults as lines to read, each kind with what to do."""
    kinds: dict[str, None] = {}
    for fault in faults:
        kinds[fault.kind] = None
        yield f"WRONG {fault.kind}: {fault.text}."
    for kind in kinds:
        yield f"  {kind}: {ADVICE[kind]}"


if __name__ == "__main__":
    sys.exit(main())
