"""Settings: the order of sources, and nothing wrong that is not named."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import msgspec
import pytest

from heliograph.core.errors import Code, HeliographError
from heliograph.core.settings import Branch, load
from heliograph.settings import read_settings


class Tea(Branch, frozen=True):
    cups: Annotated[int, msgspec.Meta(ge=1, le=12)] = 2
    strong: bool = False
    minutes: Annotated[float, msgspec.Meta(gt=0)] = 3.0
    with_milk: str = ""


class Tree(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    home: Path
    tea: Tea = Tea()


def brew(
    tmp_path: Path,
    file: str = "",
    environ: dict[str, str] | None = None,
    given: dict[str, dict[str, Any]] | None = None,
) -> Tree:
    path = tmp_path / "heliograph.toml"
    if file:
        path.write_text(file, "utf-8")
    return load(Tree, home=tmp_path, file=path, environ=environ or {}, given=given or {})


def refusal(tmp_path: Path, **sources: Any) -> str:
    with pytest.raises(HeliographError) as failed:
        brew(tmp_path, **sources)
    assert failed.value.code is Code.VALIDATION
    return failed.value.detail


def test_without_any_source_the_defaults_stand(tmp_path: Path) -> None:
    assert brew(tmp_path) == Tree(home=tmp_path)


def test_the_command_line_goes_before_the_environment_before_the_file(tmp_path: Path) -> None:
    file = "[tea]\ncups = 3\nminutes = 4.5\nstrong = true\n"
    environ = {"HELIOGRAPH_TEA_CUPS": "5", "HELIOGRAPH_TEA_MINUTES": "2"}
    assert brew(tmp_path, file).tea == Tea(cups=3, minutes=4.5, strong=True)
    assert brew(tmp_path, file, environ).tea == Tea(cups=5, minutes=2.0, strong=True)
    given = {"tea": {"cups": 7}}
    assert brew(tmp_path, file, environ, given).tea == Tea(cups=7, minutes=2.0, strong=True)


def test_a_field_of_several_words_and_other_programs_variables(tmp_path: Path) -> None:
    environ = {
        "HELIOGRAPH_TEA_WITH_MILK": "oat",
        "HELIOGRAPH_HOME": "/elsewhere",
        "HELIOGRAPH_KEY": "hg_admin_x",
        "TEA_CUPS": "9",
        "PATH": "/bin",
    }
    assert brew(tmp_path, environ=environ).tea == Tea(with_milk="oat")


@pytest.mark.parametrize(
    ("sources", "says"),
    [
        ({"file": "[tea]\nsugar = 1\n"}, "sugar"),
        ({"file": "[coffee]\ncups = 1\n"}, "coffee"),
        ({"file": "[tea]\ncups = 0\n"}, "$.tea.cups"),
        ({"file": "[tea]\ncups = 13\n"}, "<= 12"),
        ({"file": "[tea]\ncups = 'some'\n"}, "$.tea.cups"),
        ({"file": "tea = 5\n"}, "'tea'"),
        ({"file": "cups = 5\n"}, "'cups'"),
        ({"file": "home = '/elsewhere'\n"}, "'home'"),
        ({"file": "[tea\n"}, "Settings:"),
        ({"environ": {"HELIOGRAPH_TEA_SUGAR": "1"}}, "sugar"),
        ({"environ": {"HELIOGRAPH_TEA_CUPS": "1.5"}}, "$.tea.cups"),
        ({"environ": {"HELIOGRAPH_TEA_CUPS": ""}}, "$.tea.cups"),
        ({"environ": {"HELIOGRAPH_TEA_STRONG": "perhaps"}}, "$.tea.strong"),
        ({"environ": {"HELIOGRAPH_TEA_MINUTES": "nan"}}, "$.tea.minutes"),
        ({"environ": {"HELIOGRAPH_TEA_MINUTES": "0"}}, "$.tea.minutes"),
        ({"given": {"tea": {"cups": 99}}}, "$.tea.cups"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, sources: dict[str, Any], says: str) -> None:
    assert says in refusal(tmp_path, **sources)


@pytest.mark.parametrize("said", ["1", "true", "True"])
def test_a_switch_may_be_written_as_people_write_it(tmp_path: Path, said: str) -> None:
    assert brew(tmp_path, environ={"HELIOGRAPH_TEA_STRONG": said}).tea.strong


def test_settings_cannot_be_changed_after_the_start(tmp_path: Path) -> None:
    settings: Any = brew(tmp_path)
    with pytest.raises(AttributeError):
        settings.tea.cups = 3


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "", "192.0.2.1", "example.org"])
def test_open_is_for_loopback_only(tmp_path: Path, host: str) -> None:
    given = {"server": {"open": True, "host": host}}
    with pytest.raises(HeliographError, match="loopback only"):
        read_settings(tmp_path, given)


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost"])
def test_open_on_loopback(tmp_path: Path, host: str) -> None:
    assert read_settings(tmp_path, {"server": {"open": True, "host": host}}).server.open
