"""Signed model packages: OpenSSF Model Signing (OMS) with elliptic-curve keys, by `model-signing`.

A signature lies in the package as `model.sig`: a Sigstore bundle whose statement lists the SHA-256
of every other file. Any tool that knows OMS can check it (`model_signing verify key …`), and what
such a tool signed is taken here.

Covered: a missing, broken or foreign signature, and any file changed, added, removed or linked
after signing; every verification reads every byte again. Not covered: who holds the private key,
and keys that were withdrawn (take the public key out of the trusted ones). The library is the
extra `signing` and loads on first use.
"""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from heliograph.core.errors import Code, HeliographError

SIGNATURE = "model.sig"
_LARGEST = 4 << 20


def sign(folder: Path, key: Path) -> Path:
    """Sign every file of a package.

    Args:
        folder: where the `model.toml` lies.
        key: a private key as PEM, without a password: NIST P-256, P-384 or P-521.

    Returns:
        The signature's file.

    Raises:
        HeliographError: `validation` if the key is none, `model_unavailable` without the extra,
            `model_signature` if the files cannot be signed.
    """
    _refuse_links(folder)
    signing, _, hashing = _library()
    made = folder / SIGNATURE
    made.unlink(missing_ok=True)
    try:
        signer = signing.Config().use_elliptic_key_signer(private_key=key)
    except (OSError, ValueError, TypeError) as error:
        raise HeliographError(
            Code.VALIDATION,
            f"{key.name!r} is no private key that signs models: expected a PEM of NIST P-256, "
            f"P-384 or P-521 without a password.",
        ) from error
    try:
        with _quiet():
            signer.set_hashing_config(_hashing(hashing, made)).sign(folder, made)
    except (OSError, ValueError) as error:
        raise HeliographError(
            Code.MODEL_SIGNATURE, f"The package {folder.parent.name!r} cannot be signed."
        ) from error
    return made


def verify(folder: Path, keys: Sequence[Path]) -> Path:
    """Check that one of the keys signed exactly these files.

    Args:
        folder: where the `model.toml` lies.
        keys: public keys as PEM.

    Returns:
        The key that did.

    Raises:
        HeliographError: `model_signature` with the reason, `model_unavailable` without the extra.
    """
    made = folder / SIGNATURE
    if not keys:
        raise _refused("no public key is trusted here: put PEM files into the folder trust")
    if not made.is_file() or made.is_symlink():
        raise _refused(f"it has no signature ({SIGNATURE})")
    if made.stat().st_size > _LARGEST:
        raise _refused("its signature is larger than any")
    _refuse_links(folder)
    _, verifying, hashing = _library()
    for key in keys:
        config = _verifier(verifying, key)
        try:
            with _quiet():
                config.set_hashing_config(_hashing(hashing, made)).verify(folder, made)
        except Exception:  # noqa: BLE001, S112 - the library raises many kinds; each means no
            continue
        return key
    raise _refused(
        f"its signature is of none of the {len(keys)} trusted keys, or a file was changed, added "
        f"or removed after signing"
    )


def trusted_keys(home: Path) -> list[Path]:
    """The public keys in `home/trust`, by name."""
    folder = home / "trust"
    return sorted(folder.glob("*.pem")) + sorted(folder.glob("*.pub"))


def _verifier(verifying: Any, key: Path) -> Any:
    try:
        return verifying.Config().use_elliptic_key_verifier(public_key=key)
    except (OSError, ValueError, TypeError) as error:
        raise HeliographError(
            Code.MODEL_SIGNATURE,
            f"The trusted key {key.name!r} is no public key: expected a PEM of NIST P-256, P-384 "
            f"or P-521.",
        ) from error


def _hashing(hashing: Any, signature: Path) -> Any:
    # Version-control folders count, too: nothing in a package is beside the point.
    return hashing.Config().set_ignored_paths(paths=[signature], ignore_git_paths=False)


def _refuse_links(folder: Path) -> None:
    for base, folders, names in os.walk(folder):
        for name in (*folders, *names):
            if Path(base, name).is_symlink():
                raise _refused(f"{name!r} in it is a link")


def _library() -> tuple[Any, Any, Any]:
    try:
        from model_signing import hashing, signing, verifying
    except ModuleNotFoundError as error:
        raise HeliographError(
            Code.MODEL_UNAVAILABLE,
            "Signatures need the library model-signing: pip install 'heliograph[signing]'.",
        ) from error
    return signing, verifying, hashing


def _quiet() -> contextlib.AbstractContextManager[Any]:
    """The library prints warnings; standard output is for answers."""
    return contextlib.redirect_stdout(io.StringIO())


def _refused(why: str) -> HeliographError:
    return HeliographError(Code.MODEL_SIGNATURE, f"The model is not served: {why}.")
