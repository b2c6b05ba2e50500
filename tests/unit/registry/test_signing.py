"""Signed packages: what verifies, and every way in which one does not."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

pytest.importorskip("model_signing")

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from heliograph.core.errors import Code, HeliographError
from heliograph.registry.importing.bringing import decide, look
from heliograph.registry.importing.draft import Answers
from heliograph.registry.importing.package import discard, publish
from heliograph.registry.signing import SIGNATURE, sign, trusted_keys, verify
from support import foreign, models


def pair(folder: Path, name: str, curve: ec.EllipticCurve | None = None) -> tuple[Path, Path]:
    """A private key and its public key as PEM files."""
    made = ec.generate_private_key(curve or ec.SECP256R1())
    private, public = folder / f"{name}.key", folder / f"{name}.pem"
    private.write_bytes(
        made.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    public.write_bytes(
        made.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
    )
    return private, public


@pytest.fixture
def package(tmp_path: Path) -> Path:
    return Path(models.colour_package(tmp_path / "home").folder)


def refused(folder: Path, *keys: Path) -> str:
    with pytest.raises(HeliographError) as failed:
        verify(folder, keys)
    assert failed.value.code is Code.MODEL_SIGNATURE
    assert str(folder) not in failed.value.detail
    return failed.value.detail


@pytest.mark.parametrize("curve", [ec.SECP256R1(), ec.SECP384R1(), ec.SECP521R1()])
def test_the_right_key_is_found(tmp_path: Path, package: Path, curve: ec.EllipticCurve) -> None:
    private, public = pair(tmp_path, "ours", curve)
    _, other = pair(tmp_path, "theirs")
    sign(package, private)
    assert verify(package, [other, public]) == public


def _append(folder: Path) -> None:
    with (folder / "model.onnx").open("ab") as file:
        file.write(b"\0")


def _flip(folder: Path) -> None:
    """One byte, with the file's size and times kept."""
    path = folder / "model.onnx"
    stat, data = path.stat(), bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))


def _labels(folder: Path) -> None:
    (folder / "labels.txt").write_text("blue\ngreen\nred\n", "utf-8")


def _more(folder: Path) -> None:
    (folder / "more.txt").write_text("hello", "utf-8")


def _hidden(folder: Path) -> None:
    (folder / ".git").mkdir()
    (folder / ".git" / "hook").write_text("hello", "utf-8")


def _gone(folder: Path) -> None:
    (folder / "labels.txt").unlink()


def _renamed(folder: Path) -> None:
    (folder / "labels.txt").rename(folder / "label.txt")


def _link(folder: Path) -> None:
    shutil.copy(folder / "labels.txt", folder.parent / "elsewhere")
    (folder / "labels.txt").unlink()
    (folder / "labels.txt").symlink_to(folder.parent / "elsewhere")


def _cut(folder: Path) -> None:
    path = folder / SIGNATURE
    path.write_bytes(path.read_bytes()[:-40])


def _empty(folder: Path) -> None:
    (folder / SIGNATURE).write_bytes(b"{}")


def _missing(folder: Path) -> None:
    (folder / SIGNATURE).unlink()


def _huge(folder: Path) -> None:
    os.truncate(folder / SIGNATURE, 5 << 20)


@pytest.mark.parametrize(
    "tamper",
    [
        _append,
        _flip,
        _labels,
        _more,
        _hidden,
        _gone,
        _renamed,
        _link,
        _cut,
        _empty,
        _missing,
        _huge,
    ],
)
def test_any_change_is_found(tmp_path: Path, package: Path, tamper: Callable[[Path], None]) -> None:
    private, public = pair(tmp_path, "ours")
    sign(package, private)
    verify(package, [public])
    tamper(package)
    refused(package, public)


def test_a_foreign_signature_and_a_missing_one(tmp_path: Path, package: Path) -> None:
    private, public = pair(tmp_path, "ours")
    theirs, _ = pair(tmp_path, "theirs")
    assert "no signature" in refused(package, public)
    sign(package, theirs)
    assert "none of the 1 trusted keys" in refused(package, public)
    assert "no public key is trusted" in refused(package)
    sign(package, private)
    verify(package, [public])


def test_a_signature_of_another_model(tmp_path: Path, package: Path) -> None:
    private, public = pair(tmp_path, "ours")
    other = Path(models.colour_package(tmp_path / "other", "other").folder)
    sign(other, private)
    shutil.copy(other / SIGNATURE, package / SIGNATURE)
    refused(package, public)


def test_keys_that_are_none(tmp_path: Path, package: Path) -> None:
    private, _ = pair(tmp_path, "ours")
    (tmp_path / "bad.pem").write_text("no key", "utf-8")
    for bad in (tmp_path / "bad.pem", tmp_path / "missing.key"):
        with pytest.raises(HeliographError) as failed:
            sign(package, bad)
        assert failed.value.code is Code.VALIDATION
    sign(package, private)
    refused(package, tmp_path / "bad.pem")


def test_trusted_keys_are_the_files_in_a_folder(tmp_path: Path) -> None:
    assert trusted_keys(tmp_path) == []
    (tmp_path / "trust").mkdir()
    _, public = pair(tmp_path / "trust", "ours")
    assert trusted_keys(tmp_path) == [public]


def test_an_import_is_signed_as_the_version_that_it_becomes(tmp_path: Path) -> None:
    home = tmp_path / "home"
    private, public = pair(tmp_path, "ours")
    for version in (1, 2):
        brought = look(foreign.add(tmp_path / "add.onnx"), home)
        brought = decide(brought, Answers(), name="add", source="add.onnx", about={})
        made = publish(brought.staged.folder, home, again=True, seal=lambda one: sign(one, private))
        discard(brought.home)
        assert made.package.version == version
        assert verify(Path(made.package.folder), [public]) == public
