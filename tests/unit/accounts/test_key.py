"""The administrator key: made once, kept from others, compared in constant time."""

from __future__ import annotations

import hmac
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from heliograph.accounts import key
from heliograph.accounts.key import KeyGate, OpenGate, admin_key
from heliograph.core.call import Credentials
from heliograph.core.errors import Code, HeliographError
from heliograph.core.permissions import Permission

CALL = Permission.MODELS_CALL


def test_the_key_is_made_once_and_read_after_that(tmp_path: Path) -> None:
    made, fresh = admin_key(tmp_path)
    assert fresh
    assert admin_key(tmp_path) == (made, False)
    assert made.startswith("hg_admin_")
    assert len(made) >= len("hg_admin_") + 43, "256 bits"
    assert made.isascii()
    assert [one.name for one in tmp_path.iterdir()] == ["admin.key"]


def test_each_home_has_a_key_of_its_own(tmp_path: Path) -> None:
    homes = [tmp_path / name for name in ("a", "b")]
    for home in homes:
        home.mkdir()
    assert len({admin_key(home)[0] for home in homes}) == 2


def test_nobody_else_may_read_it(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        admin_key(tmp_path)
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "admin.key").stat().st_mode) == 0o600


def test_processes_that_start_at_once_have_one_key_between_them(tmp_path: Path) -> None:
    script = (
        "import sys, pathlib, time; from heliograph.accounts.key import admin_key;"
        "home = pathlib.Path(sys.argv[1]);"
        "print('here', flush=True); sys.stdin.readline();"
        "print(*admin_key(home))"
    )
    started = [
        subprocess.Popen(
            [sys.executable, "-c", script, str(tmp_path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(4)
    ]
    for one in started:
        assert one.stdout is not None
        assert one.stdout.readline() == "here\n"
    said = [one.communicate("go\n", timeout=30)[0].split() for one in started]
    assert len({made for made, _ in said}) == 1
    assert sorted(fresh for _, fresh in said) == ["False", "False", "False", "True"]
    assert (tmp_path / "admin.key").read_text().strip() == said[0][0]
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("content", [b"", b"\n", b"hg_admin_", b"k" * 15, "schlüssel".encode() * 4])
def test_an_empty_or_shortened_file_is_not_a_key(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "admin.key").write_bytes(content)
    with pytest.raises(HeliographError) as failed:
        admin_key(tmp_path)
    assert failed.value.code is Code.VALIDATION
    assert "admin.key" in failed.value.detail


def test_the_right_key_opens(tmp_path: Path) -> None:
    made, _ = admin_key(tmp_path)
    assert KeyGate(made).check(Credentials(made), CALL).name == "admin"


@pytest.mark.parametrize(
    "sent",
    ["", "hg_admin_", "HG_ADMIN_RIGHT", "hg_admin_right ", "hg_admin_righ", "\0", "ключ", "\udcff"],
)
def test_any_other_is_refused_with_what_to_send(sent: str) -> None:
    with pytest.raises(HeliographError) as failed:
        KeyGate("hg_admin_right").check(Credentials(sent), CALL)
    assert failed.value.code is Code.UNAUTHENTICATED
    assert "hg_admin_right" not in failed.value.detail
    assert "Authorization: Bearer" in failed.value.detail


def test_keys_are_compared_in_constant_time(monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[tuple[bytes, bytes]] = []

    def compare(one: bytes, other: bytes) -> bool:
        compared.append((one, other))
        return hmac.compare_digest(one, other)

    monkeypatch.setattr(key, "hmac", type("hmac", (), {"compare_digest": staticmethod(compare)}))
    KeyGate("hg_admin_right").check(Credentials("hg_admin_right"), CALL)
    assert compared == [(b"hg_admin_right", b"hg_admin_right")]


def test_the_open_gate_asks_for_nothing() -> None:
    for one in (Credentials(), Credentials("whatever")):
        assert OpenGate().check(one, CALL).name == "anyone"
