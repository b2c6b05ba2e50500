from __future__ import annotations

import ast
import hashlib
import sys
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from heliograph.audit import signing, verifier
from heliograph.audit.merkle import Tree
from heliograph.audit.verifier import BadNote, Frontier, extends, includes, leaf_hash

# RFC 8032, section 7.1: public key, message, signature.
RFC8032 = [
    (
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        "",
        (
            "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701c"
            "f9b46bd25bf5f0595bbe24655141438e7a100b"
        ),
    ),
    (
        "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
        "72",
        (
            "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0"
            "f11d8c387b2eaeb4302aeeb00d291612bb0c00"
        ),
    ),
    (
        "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
        "af82",
        (
            "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f76098"
            "4dc6594a7c15e9716ed28dc027beceea1ec40a"
        ),
    ),
    (
        "ec172b93ad5e563bf4932c70e1245034c35467ef2efd4d64ebf819683467e2bf",
        (
            "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a2192992a274fc1a836ba3c23a3"
            "feebbd454d4423643ce80e2a9ac94fa54ca49f"
        ),
        (
            "dc2a4459e7369633a52b1bf277839a00201009a3efbf3ecb69bea2186c26b58909351fc9ac90b3ecfdfbc7c664"
            "31e0303dca179c138ac17ad9bef1177331a704"
        ),
    ),
]
ORDER = 2**252 + 27742317777372353535851937790883648493

# The example of the signed-note format's first implementation (Go's sumdb/note).
NOTE_KEY = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
NOTE_SIGNER = "PRIVATE+KEY+PeterNeumann+c74f20a3+AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz"
NOTE_TEXT = (
    "If you think cryptography is the answer to your problem,\n"
    "then you don't know what your problem is.\n"
)
NOTE = (
    NOTE_TEXT + "\n\N{EM DASH} PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FF"
    "YC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n"
)

# The tree of certificate-transparency's own tests: eight leaves, a root for each size.
CT_LEAVES = [
    leaf_hash(bytes.fromhex(one))
    for one in (
        *("", "00", "10", "2021", "3031", "40414243", "5051525354555657"),
        "606162636465666768696a6b6c6d6e6f",
    )
]
CT_ROOTS = [
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]
_A = "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e"
_B = "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4"
_C = "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b"
_D = "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0"
_E = "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7"
CT_INCLUSION = [
    (0, 1, []),
    (0, 8, [_E, _A, _B]),
    (5, 8, [_C, _D, CT_ROOTS[4]]),
    (2, 3, [CT_ROOTS[2]]),
    (1, 5, [CT_ROOTS[1], _A, _C]),
]
CT_CONSISTENCY = [
    (1, 1, []),
    (1, 8, [_E, _A, _B]),
    (2, 8, [_A, _B]),
    (6, 8, ["0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a", _D, CT_ROOTS[4]]),
    (2, 5, [_A, _C]),
]


def tree_of(leaves: list[bytes]) -> Tree:
    return Tree(lambda start, end: leaves[start:end])


def hexed(path: list[bytes]) -> list[str]:
    return [one.hex() for one in path]


@pytest.mark.parametrize("check", [verifier.signed_by, signing.signed])
@pytest.mark.parametrize(("public", "message", "signature"), RFC8032)
def test_signatures_of_rfc_8032(
    check: verifier.Signed, public: str, message: str, signature: str
) -> None:
    key, text, good = bytes.fromhex(public), bytes.fromhex(message), bytes.fromhex(signature)
    assert check(key, text, good)
    assert not check(key, text + b"!", good)
    assert not check(CT_LEAVES[0], text, good)
    for place in (0, 31, 32, 63):
        wrong = bytearray(good)
        wrong[place] ^= 1
        assert not check(key, text, bytes(wrong))


def test_a_signature_has_one_form() -> None:
    public, message, signature = (bytes.fromhex(one) for one in RFC8032[1])
    s = int.from_bytes(signature[32:], "little") + ORDER
    again = signature[:32] + s.to_bytes(32, "little")
    assert not verifier.signed_by(public, message, again)
    assert not verifier.signed_by(public, message, signature + b"\0")
    assert not verifier.signed_by(public[:-1], message, signature)


@given(st.binary(min_size=32, max_size=32), st.binary(max_size=200), st.binary(max_size=4))
def test_both_checks_of_signatures_agree(seed: bytes, message: bytes, noise: bytes) -> None:
    private = Ed25519PrivateKey.from_private_bytes(seed)
    public, signature = private.public_key().public_bytes_raw(), private.sign(message)
    assert verifier.signed_by(public, message, signature)
    said = verifier.signed_by(public, message + noise, signature)
    assert said == signing.signed(public, message + noise, signature) == (noise == b"")


def test_the_published_note_opens() -> None:
    key = verifier.read_key(NOTE_KEY)
    assert verifier.open_note(NOTE, key) == NOTE_TEXT
    with pytest.raises(BadNote, match="changed"):
        verifier.open_note(NOTE.replace("answer", "Answer"), key)
    with pytest.raises(BadNote, match="no checkpoint"):
        verifier.read_checkpoint(NOTE, key)


def test_we_sign_as_the_published_example() -> None:
    signer = signing.Signer.read(NOTE_SIGNER)
    assert signer.public == NOTE_KEY
    assert signer.sign(NOTE_TEXT) == NOTE


@pytest.mark.parametrize(
    "text",
    [
        *("", "PeterNeumann", "PeterNeumann+c74f20a3+", NOTE_KEY[:-4]),
        *(NOTE_KEY.replace("c74f", "c74e"), NOTE_KEY.replace("Peter", "Petra"), NOTE_SIGNER),
    ],
)
def test_a_damaged_key_is_none(text: str) -> None:
    with pytest.raises(BadNote):
        verifier.read_key(text)


def test_a_note_by_another_key_is_not_believed() -> None:
    other = signing.Signer("PeterNeumann", b"\1" * 32)
    with pytest.raises(BadNote, match="not signed by the key"):
        verifier.open_note(other.sign(NOTE_TEXT), verifier.read_key(NOTE_KEY))


def test_further_signatures_do_no_harm() -> None:
    other = signing.Signer("witness", b"\1" * 32).sign(NOTE_TEXT).rpartition("\n\n")[2]
    assert verifier.open_note(NOTE + other, verifier.read_key(NOTE_KEY)) == NOTE_TEXT


def test_roots_of_certificate_transparency() -> None:
    tree, growing = tree_of(CT_LEAVES), Frontier()
    for size, root in enumerate(CT_ROOTS):
        assert tree.root(size).hex() == root == growing.root().hex()
        if size < len(CT_LEAVES):
            growing.add(CT_LEAVES[size])


@pytest.mark.parametrize(("index", "size", "path"), CT_INCLUSION)
def test_inclusion_of_certificate_transparency(index: int, size: int, path: list[str]) -> None:
    proof = tree_of(CT_LEAVES).inclusion(index, size)
    assert hexed(proof) == path
    root = bytes.fromhex(CT_ROOTS[size])
    assert includes(root, size, index, CT_LEAVES[index], proof)
    assert not includes(root, size, index, CT_LEAVES[index - 1], proof) or size == 1
    assert not includes(root, size, index, CT_LEAVES[index], [*proof, root])
    assert not includes(root, size, size, CT_LEAVES[index], proof)


@pytest.mark.parametrize(("old", "size", "path"), CT_CONSISTENCY)
def test_consistency_of_certificate_transparency(old: int, size: int, path: list[str]) -> None:
    proof = tree_of(CT_LEAVES).consistency(old, size)
    assert hexed(proof) == path
    before, after = bytes.fromhex(CT_ROOTS[old]), bytes.fromhex(CT_ROOTS[size])
    assert extends(before, old, after, size, proof)
    assert not extends(CT_LEAVES[7], old, after, size, proof)
    assert not extends(before, old, after, size, [*proof, after])


def test_what_is_not_there_cannot_be_proved() -> None:
    with pytest.raises(ValueError, match="no leaf 8"):
        tree_of(CT_LEAVES).inclusion(8, 8)
    with pytest.raises(ValueError, match="cannot begin"):
        tree_of(CT_LEAVES).consistency(9, 8)


def test_the_verifier_needs_nothing_but_python() -> None:
    source = Path(verifier.__file__).read_text("utf-8")
    names: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names.update(one.name.partition(".")[0] for one in node.names)
        elif isinstance(node, ast.ImportFrom):
            names.add((node.module or "").partition(".")[0])
    assert names <= set(sys.stdlib_module_names) | {"__future__"}


@pytest.mark.parametrize(
    "body",
    [
        "",
        "[]",
        "{}",
        '{"v":1}',
        "NaN",
        "9" * 5000,
        "[" * 100_000,
        (
            '{"act":"key:created","actor":"a","at_ms":1.0,"facts":{},"seq":1,"subject":"","v":1,'
            '"workspace":""}'
        ),
        (
            '{"act":"key:created","actor":"a","at_ms":1,"facts":{},"seq":1,"subject":"","v":2,'
            '"workspace":""}'
        ),
        '{"act":"Key","actor":"a","at_ms":1,"facts":{},"seq":1,"subject":"","v":1,"workspace":""}',
        (
            '{"actor":"a","act":"key:created","at_ms":1,"facts":{},"seq":1,"subject":"","v":1,'
            '"workspace":""}'
        ),
        (
            '{"act":"key:created", "actor":"a","at_ms":1,"facts":{},"seq":1,"subject":"","v":1,'
            '"workspace":""}'
        ),
        (
            '{"act":"key:created","act":"key:created","actor":"a","at_ms":1,"facts":{},"seq":1,'
            '"subject":"","v":1,"workspace":""}'
        ),
        (
            '{"act":"key:created","actor":"a","at_ms":1,"extra":1,"facts":{},"seq":1,"subject":"",'
            '"v":1,"workspace":""}'
        ),
    ],
    ids=range(14),
)
def test_what_is_not_canonical_is_no_body(body: str) -> None:
    assert verifier.read_body(body) is None


def test_the_chain_is_what_the_page_says() -> None:
    body = '{"act":"key:created"}'
    expected = hashlib.sha256(bytes(32) + body.encode()).hexdigest()
    assert verifier.chain_hash(verifier.GENESIS, body) == expected
