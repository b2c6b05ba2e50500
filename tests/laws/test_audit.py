"""Laws of the audit log: its tree proves only what is true, and its chain hides no change."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from heliograph.audit.merkle import Tree
from heliograph.audit.signing import Signer, signed
from heliograph.audit.values import Entry, Head, follow
from heliograph.audit.verifier import Checker, Frontier, Row, extends, includes, leaf_hash
from heliograph.core.events import Act, Event

SIGNER = Signer("heliograph/audit/law", b"\5" * 32)
sizes = st.integers(1, 300)
facts = st.dictionaries(
    st.from_regex(r"[a-z]{1,8}", fullmatch=True),
    st.one_of(
        st.booleans(),
        st.integers(-(2**53) + 1, 2**53 - 1),
        st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=20),
    ),
    max_size=5,
)
events = st.builds(
    Event,
    st.sampled_from(list(Act)),
    st.just("system"),
    workspace=st.sampled_from(["", "space_1"]),
    facts=facts,
)


def leaves(count: int, salt: int = 0) -> list[bytes]:
    return [leaf_hash(bytes([salt]) + number.to_bytes(4)) for number in range(count)]


def tree_of(found: list[bytes]) -> Tree:
    return Tree(lambda start, end: found[start:end])


def definition(found: list[bytes]) -> bytes:
    """The root as RFC 9162, 2.1.1, defines it, in the words of the definition."""
    growing = Frontier()
    for one in found:
        growing.add(one)
    return growing.root()


@given(sizes, st.data())
def test_inclusion_proves_its_leaf_and_no_other(size: int, data: st.DataObject) -> None:
    found = leaves(size)
    index = data.draw(st.integers(0, size - 1))
    tree = tree_of(found)
    root, path = tree.root(size), tree.inclusion(index, size)
    assert root == definition(found)
    assert includes(root, size, index, found[index], path)
    other = data.draw(st.integers(0, size - 1).filter(lambda one: one != index or size == 1))
    if size > 1:
        assert not includes(root, size, other, found[index], path)
        assert not includes(root, size, index, found[other], path)
        assert not includes(root, size, index, found[index], path[1:])
    assert not includes(leaf_hash(b"other"), size, index, found[index], path)


@given(sizes, st.data())
def test_consistency_proves_growth_and_nothing_else(size: int, data: st.DataObject) -> None:
    old = data.draw(st.integers(0, size))
    found = leaves(size)
    tree = tree_of(found)
    before, root, path = tree.root(old), tree.root(size), tree.consistency(old, size)
    assert extends(before, old, root, size, path)
    if old > 0:
        changed = data.draw(st.integers(0, old - 1))
        found[changed] = leaf_hash(b"changed")
        after = tree_of(found)
        forged = after.consistency(old, size)
        assert not extends(before, old, after.root(size), size, forged)
        assert not extends(after.root(old), old, root, size, path)


def test_what_is_kept_of_large_trees_changes_no_root() -> None:
    found = leaves(5000)
    growing, tree = Frontier(), tree_of(found)
    asked: list[tuple[int, int]] = []

    def read(start: int, end: int) -> list[bytes]:
        asked.append((start, end))
        return found[start:end]

    counted = Tree(read)
    for size, one in enumerate(found, 1):
        growing.add(one)
        if size % 499 == 0 or size in {1023, 1024, 1025, 2048, 2049, 4096, 5000}:
            assert tree.root(size) == growing.root() == tree_of(found).root(size)
    counted.root(5000)
    before = sum(end - start for start, end in asked)
    assert before == 5000
    asked.clear()
    path = counted.inclusion(17, 5000)
    assert includes(growing.root(), 5000, 17, found[17], path)
    assert sum(end - start for start, end in asked) < 2100


def chain(written: list[Event]) -> list[Entry]:
    head, entries = Head(), list[Entry]()
    for number, event in enumerate(written):
        entries.append(follow(head, 1000 + number, event))
        head = entries[-1].head
    return entries


def rows(entries: list[Entry]) -> list[Row]:
    return [Row(one.seq, one.body, one.prev, one.hash) for one in entries]


def note(found: list[Row]) -> str:
    root = definition([leaf_hash(bytes.fromhex(one.hash)) for one in found])
    return SIGNER.sign(f"{SIGNER.key.name}\n{len(found)}\n{base64.b64encode(root).decode()}\n")


def faults(found: list[Row], notes: list[str]) -> list[str]:
    checker = Checker(SIGNER.key, list(enumerate(notes, 1)), signed=signed)
    for one in found:
        checker.add(one)
    return [one.kind for one in checker.finish()]


@given(st.lists(events, max_size=12), st.data())
def test_a_log_is_whole_at_every_size(written: list[Event], data: st.DataObject) -> None:
    found = rows(chain(written))
    cut = data.draw(st.integers(0, len(found)))
    assert faults(found, [note(found[:cut]), note(found)]) == []


def _drop(found: list[Row], at: int, other: int) -> list[Row]:
    del other
    return found[:at] + found[at + 1 :]


def _swap(found: list[Row], at: int, other: int) -> list[Row]:
    changed = list(found)
    changed[at], changed[other] = changed[other], changed[at]
    return changed


def _repeat(found: list[Row], at: int, other: int) -> list[Row]:
    return [*found[:other], found[at], *found[other:]]


def _cut(found: list[Row], at: int, other: int) -> list[Row]:
    del other
    return found[:at]


CHANGES: list[Callable[[list[Row], int, int], list[Row]]] = [_drop, _swap, _repeat, _cut]


@given(st.lists(events, min_size=2, max_size=12), st.sampled_from(CHANGES), st.data())
def test_no_move_goes_unseen(
    written: list[Event], change: Callable[..., list[Row]], data: st.DataObject
) -> None:
    found = rows(chain(written))
    places = st.integers(0, len(found) - 1)
    at = data.draw(places)
    other = data.draw(places.filter(lambda one: one != at))
    assert faults(change(found, at, other), [note(found)])


@given(st.lists(events, min_size=1, max_size=8), st.data())
def test_no_changed_byte_goes_unseen(written: list[Event], data: st.DataObject) -> None:
    found = rows(chain(written))
    at = data.draw(st.integers(0, len(found) - 1))
    field = data.draw(st.sampled_from(["body", "prev", "hash"]))
    text: str = getattr(found[at], field)
    place = data.draw(st.integers(0, len(text) - 1))
    letter = data.draw(st.characters(min_codepoint=32, max_codepoint=126))
    changed = text[:place] + letter + text[place + 1 :]
    new: Any = found[at]._replace(**{field: changed})
    wrong = faults([*found[:at], new, *found[at + 1 :]], [note(found)])
    assert bool(wrong) == (changed != text)


@given(st.lists(events, min_size=2, max_size=8), st.data())
def test_no_chain_written_anew_goes_unseen(written: list[Event], data: st.DataObject) -> None:
    entries = chain(written)
    at = data.draw(st.integers(0, len(written) - 1))
    other = data.draw(events.filter(lambda one: one != written[at]))
    forged = rows(chain([*written[:at], other, *written[at + 1 :]]))
    assert faults(forged, []) == []
    assert faults(forged, [note(rows(entries))]) == ["rewritten"]
    assert faults(forged, [note(rows(entries)[:at])]) == []
    assert json.loads(forged[at].body)["act"] == str(other.act)
