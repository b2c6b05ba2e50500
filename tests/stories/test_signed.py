"""Where only signed models are served, a model without the right signature is not, and says why."""

from __future__ import annotations

from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from heliograph.app import build
from heliograph.core.errors import Code, HeliographError
from heliograph.registry.signing import sign
from heliograph.settings import RegistrySettings, Settings
from support import models


def keys(folder: Path, name: str) -> Path:
    """A fresh pair: the private key's file; the public one lies in `folder/trust`."""
    key = ec.generate_private_key(ec.SECP256R1())
    private = folder / f"{name}.pem"
    private.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    (folder / "trust").mkdir(exist_ok=True)
    (folder / "trust" / f"{name}.pub").write_bytes(
        key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
    )
    return private


def refusal(home: Path) -> HeliographError | None:
    """Why `colour` does not load in a house that serves signed models only."""
    app = build(Settings(home=home, registry=RegistrySettings(trust="signed")), only=["colour"])
    try:
        app.catalog.load("colour")
    except HeliographError as error:
        return error
    finally:
        app.close()
    return None


def test_only_what_a_trusted_key_signed_is_loaded(tmp_path: Path) -> None:
    private = keys(tmp_path, "ours")
    package = models.colour_package(tmp_path)
    folder = Path(package.folder)

    error = refusal(tmp_path)
    assert error is not None, "nobody has signed it"
    assert error.code is Code.MODEL_SIGNATURE

    signature = sign(folder, private)
    assert refusal(tmp_path) is None

    labels = folder / "labels.txt"
    labels.write_text(labels.read_text("utf-8").replace("red", "rad"), "utf-8")
    error = refusal(tmp_path)
    assert error is not None, "a byte has changed since"
    assert error.code is Code.MODEL_SIGNATURE

    signature.unlink()
    sign(folder, private)
    (tmp_path / "trust" / "ours.pub").unlink()
    keys(tmp_path, "others")
    error = refusal(tmp_path)
    assert error is not None, "a stranger's signature is none"
    assert error.code is Code.MODEL_SIGNATURE


@pytest.mark.parametrize("word", ["", "yes"])
def test_trust_is_one_of_two_words(tmp_path: Path, word: str) -> None:
    from heliograph.settings import read_settings

    with pytest.raises(HeliographError, match="trust"):
        read_settings(tmp_path, {"registry": {"trust": word}})
