"""The command line: pictures in, tables, JSON and CSV out, and exit codes that mean it."""

from __future__ import annotations

import csv
import io
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from support import models, pictures

Done = subprocess.CompletedProcess[str]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with a model of colours."""
    home = tmp_path_factory.mktemp("tiny")
    models.colour_package(home)
    models.moody_package(home)
    return home


@pytest.fixture
def album(tmp_path: Path) -> Path:
    """A folder of pictures: two good ones, one of them deeper; and a text."""
    folder = tmp_path / "album"
    (folder / "deep").mkdir(parents=True)
    (folder / "red.png").write_bytes(pictures.plain(pictures.RED))
    (folder / "deep" / "blue.JPG").write_bytes(pictures.plain(pictures.BLUE, (64, 48), "JPEG"))
    (folder / "notes.txt").write_text("no picture")
    return folder


def heliograph(*words: object, given: bytes = b"", cwd: Path | None = None, **environ: str) -> Done:
    """Run the command as a process of its own."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("HELIOGRAPH_")}
    done = subprocess.run(
        [sys.executable, "-m", "heliograph", *map(str, words)],
        input=given,
        capture_output=True,
        env={**env, **environ},
        cwd=cwd,
        timeout=100,
        check=False,
    )
    return Done(done.args, done.returncode, done.stdout.decode(), done.stderr.decode())


def ask(tiny: Path, *words: object, output: str = "json", **more: Any) -> Done:
    return heliograph("predict", "-m", "colour", "--home", tiny, "-o", output, *words, **more)


def labels(done: Done) -> dict[str, str]:
    """File name -> best label, of JSON output."""
    assert done.returncode == 0, done.stderr
    return {
        Path(one["file"]).name: one["predictions"][0]["label"] for one in json.loads(done.stdout)
    }


# --- predict -------------------------------------------------------------------------------------


def test_a_folder_to_any_depth(tiny: Path, album: Path) -> None:
    assert labels(ask(tiny, album)) == {"blue.JPG": "blue", "red.png": "red"}


def test_files_globs_and_doubles_in_the_order_given(tiny: Path, album: Path) -> None:
    done = ask(tiny, album / "red.png", album / "**" / "*.JPG", album / "red.png")
    assert list(labels(done).items()) == [("red.png", "red"), ("blue.JPG", "blue")]
    (row, _) = json.loads(done.stdout)
    assert row["model"] == "colour"
    assert row["image"] == {"width": 24, "height": 16}
    assert sum(row["timings_ms"].values()) == pytest.approx(2 * row["timings_ms"]["total"], abs=0.1)


def test_standard_input(tiny: Path) -> None:
    assert labels(ask(tiny, "-", given=pictures.plain(pictures.GREEN))) == {"-": "green"}


def test_options_are_the_tasks(tiny: Path, album: Path) -> None:
    done = ask(tiny, album / "red.png", "--top-k", "2", "--min-score", "0.0001")
    assert len(json.loads(done.stdout)[0]["predictions"]) == 2
    done = ask(tiny, album / "red.png", "--min-score", "0.999999")
    assert json.loads(done.stdout)[0]["predictions"] == []


def test_the_table_is_for_people(tiny: Path, album: Path) -> None:
    odd = album / "one[bold]two[/].png"
    odd.parent.mkdir(parents=True)
    odd.write_bytes(pictures.plain(pictures.GREEN))
    done = ask(tiny, album, "--top-k", "1", output="table")
    assert done.returncode == 0, done.stderr
    said = "".join(done.stdout.split())
    for word in ("red.png", "blue.JPG", "one[bold]two[", "green", "label", "score"):
        assert word in said


def test_csv_is_one_line_a_prediction(tiny: Path, album: Path) -> None:
    done = ask(tiny, album, "--top-k", "1", output="csv")
    rows = list(csv.DictReader(io.StringIO(done.stdout)))
    assert list(rows[0]) == ["file", "label", "score", "x", "y", "width", "height", "error"]
    assert [row["label"] for row in rows] == ["blue", "red"]
    assert all(0 <= float(row["score"]) <= 1 for row in rows)


def test_csv_holds_no_formulas(tiny: Path, tmp_path: Path) -> None:
    names = ["+1.png", "-1.png", "=1+1.png", "@SUM(A1).png", "\tx.png"]
    for name in names:
        (tmp_path / name).write_bytes(pictures.plain())
    done = ask(tiny, "--top-k", "1", "--", *names, output="csv", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    rows = list(csv.DictReader(io.StringIO(done.stdout)))
    assert [row["file"] for row in rows] == ["'" + name for name in names]


def test_a_broken_file_among_good_ones(tiny: Path, album: Path) -> None:
    (album / "cut.png").write_bytes(pictures.noise()[:500])
    (album / "empty.jpg").touch()
    done = ask(tiny, album)
    assert done.returncode == 1
    rows = {Path(one["file"]).name: one for one in json.loads(done.stdout)}
    assert rows["cut.png"]["error"].startswith("[image_corrupt]")
    assert rows["empty.jpg"]["error"].startswith("[empty_file]")
    assert [rows[name]["predictions"][0]["label"] for name in ("red.png", "blue.JPG")] == [
        "red",
        "blue",
    ]
    for output in ("table", "csv"):
        done = ask(tiny, album, output=output)
        assert done.returncode == 1
        assert "image_corrupt" in "".join(done.stdout.split())
        assert "Traceback" not in done.stderr


def test_a_model_that_crashes_on_one_picture(tiny: Path, album: Path) -> None:
    (album / "black.png").write_bytes(pictures.plain((0, 0, 0)))
    done = heliograph("predict", "-m", "moody", "--home", tiny, "-o", "json", album)
    assert done.returncode == 1
    rows = {Path(one["file"]).name: one for one in json.loads(done.stdout)}
    assert rows["black.png"]["error"].startswith("[model_crashed]")
    assert rows["red.png"]["predictions"][0]["label"] == "red"


def test_a_name_that_is_not_text(tiny: Path, tmp_path: Path) -> None:
    path = os.fsencode(tmp_path) + b"/r\xffd.png"
    with open(path, "wb") as file:  # noqa: PTH123 - a Path cannot be made of bytes
        file.write(pictures.plain())
    for output in ("json", "table", "csv"):
        done = ask(tiny, tmp_path, output=output)
        assert done.returncode == 0, done.stderr
        assert "r\ufffdd.png" in "".join(done.stdout.split())


def test_annotate_draws_each_picture_into_a_folder_and_overwrites_none(
    tiny: Path, album: Path, tmp_path: Path
) -> None:
    for number in range(6):
        folder = album / str(number)
        folder.mkdir()
        (folder / "same.png").write_bytes(pictures.plain(size=(200 + number, 100)))
    out = tmp_path / "drawn"
    done = ask(tiny, album, "--annotate", out)
    written = [Path(one["written"]) for one in json.loads(done.stdout)]
    assert len(set(written)) == 8
    assert sorted(written) == sorted(out.iterdir())
    widths: set[int] = set()
    for path in written:
        with Image.open(path) as image:
            assert image.format == "JPEG"
            widths.add(image.width)
    assert widths >= {200 + number for number in range(6)}


def test_a_name_that_is_taken_is_left_alone_even_a_link(tiny: Path, album: Path) -> None:
    folder = album.parent / "drawn"
    folder.mkdir()
    (folder / "red.jpg").symlink_to(album / "notes.txt")
    done = ask(tiny, album / "red.png", "--annotate", folder)
    assert json.loads(done.stdout)[0]["written"].endswith("red-2.jpg")
    assert (album / "notes.txt").read_text() == "no picture"


def test_a_folder_that_cannot_be_written_is_told_for_each_file(tiny: Path, album: Path) -> None:
    done = ask(tiny, album / "red.png", "--annotate", album / "notes.txt" / "x")
    assert done.returncode == 1
    assert "cannot be written" in json.loads(done.stdout)[0]["error"]
    assert "Traceback" not in done.stderr


def test_a_servers_seats_do_not_bind_the_command_line(tiny: Path, album: Path) -> None:
    for number in range(12):
        (album / f"{number}.png").write_bytes(pictures.plain())
    assert len(labels(ask(tiny, album, HELIOGRAPH_SERVING_SEATS="1"))) == 14


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["-m", "nobody", "x.png"], "[not_found]"),
        (["-t", "telepathy", "x.png"], "[not_found]"),
        (["-m", "colour", "--top-k", "0", "x.png"], "[validation]"),
        (["-m", "colour", "--min-score", "nan", "x.png"], "[validation]"),
        (["-m", "colour", "absent.png"], "no file, folder or pattern"),
        (["-m", "colour", "empty"], "No pictures found"),
        (["-m", "colour", "-o", "xml", "x.png"], "xml"),
        (["-m", "colour"], "PICTURES"),
    ],
)
def test_a_wrong_call_ends_with_2_and_in_words(
    tiny: Path, tmp_path: Path, words: list[str], says: str
) -> None:
    (tmp_path / "x.png").write_bytes(pictures.plain())
    (tmp_path / "empty").mkdir()
    placed = [str(tmp_path / one) if one in {"x.png", "empty"} else one for one in words]
    done = heliograph("predict", "--home", tiny, *placed)
    assert done.returncode == 2
    assert says in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


# --- process -------------------------------------------------------------------------------------


def test_process_writes_what_came_out(tiny: Path, album: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    done = heliograph("process", "grayscale,resize:x4,png", album, "-o", out, "--home", tiny)
    assert done.returncode == 0, done.stderr
    assert sorted(one.name for one in out.iterdir()) == ["blue.png", "red.png"]
    for path in out.iterdir():
        with Image.open(path) as image:
            assert (image.format, image.height) == ("PNG", 4)
            red, green, blue = image.convert("RGB").getpixel((0, 0))  # type: ignore[misc]
            assert red == green == blue
        assert str(path) in done.stdout


def test_process_names_what_it_cannot_do(tiny: Path, album: Path, tmp_path: Path) -> None:
    (album / "cut.png").write_bytes(pictures.noise()[:500])
    done = heliograph("process", "flip:horizontal", album, "-o", tmp_path / "o", "--home", tiny)
    assert done.returncode == 1
    assert "cut.png: [image_corrupt]" in done.stderr
    assert len(list((tmp_path / "o").iterdir())) == 2
    done = heliograph("process", "transmogrify", album, "--home", tiny)
    assert done.returncode == 2
    assert "transmogrify" in done.stderr


# --- models --------------------------------------------------------------------------------------


def test_models_lists_what_can_be_served(tiny: Path) -> None:
    done = heliograph("models", "--home", tiny)
    assert done.returncode == 0, done.stderr
    assert "colour" in done.stdout
    assert "process" in done.stdout
    cards = json.loads(heliograph("models", "--json", "--home", tiny).stdout)
    (colour,) = [one for one in cards if one["name"] == "colour"]
    assert colour["input"]["width"] == 8
    assert {one["task"] for one in cards} >= {"classification", "detection", "keypoints"}


def test_prepare_checks_the_files(tiny: Path, tmp_path: Path) -> None:
    done = heliograph("models", "--home", tiny, "prepare", "colour")
    assert done.returncode == 0, done.stderr
    models.colour_package(tmp_path)
    with (tmp_path / "models" / "colour" / "model.onnx").open("ab") as file:
        file.write(b"more")
    done = heliograph("models", "--home", tmp_path, "prepare", "colour")
    assert done.returncode == 1
    assert "colour: [model_invalid]" in done.stderr
    for command in ("prepare", "tune"):
        for name in ("nobody", "process"):
            done = heliograph("models", "--home", tiny, command, name)
            assert done.returncode == 2
            assert f"'{name}'" in done.stderr
            assert "Traceback" not in done.stderr


def test_a_tuned_plan_is_kept_and_used(album: Path, tmp_path: Path) -> None:
    models.colour_package(tmp_path / "home")
    done = heliograph("models", "--home", tmp_path / "home", "tune", "colour", "--seconds", "0.01")
    assert done.returncode == 0, done.stderr
    assert "pictures/s" in done.stdout
    assert "measured on" in done.stdout
    (plan,) = (tmp_path / "home" / "plans").iterdir()
    kept = json.loads(plan.read_text())
    assert kept["plan"]["reason"] in done.stdout
    # Whatever was chosen, a plan of batches answers as one without.
    plan.write_text(json.dumps(kept | {"plan": kept["plan"] | {"max_batch": 4}}))
    assert labels(ask(tmp_path / "home", album)) == {"blue.JPG": "blue", "red.png": "red"}


# --- help ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("command", "says"),
    [
        ("", "serve"),
        ("serve", "--workers"),
        ("predict", "--annotate"),
        ("process", "OPS"),
        ("models", "prepare"),
        ("models prepare", "NAMES"),
        ("models tune", "--seconds"),
    ],
)
def test_each_command_explains_itself(command: str, says: str) -> None:
    done = heliograph(*command.split(), "--help")
    assert done.returncode == 0
    assert says in done.stdout
    assert done.stderr == ""


def test_the_version() -> None:
    assert heliograph("--version").stdout.strip().endswith("0.1.0")
