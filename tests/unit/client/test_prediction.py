"""A Prediction shows itself: drawn, saved, in words and in a notebook."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from heliograph.client.prediction import Prediction
from heliograph.vision.decode import decode
from heliograph.vision.encode import Encoding, encode
from heliograph.vision.picture import Size
from heliograph.vision.tasks.base import Result
from heliograph.vision.tasks.classification import Classes
from heliograph.vision.tasks.detection import Detections
from heliograph.vision.tasks.edges import Edges
from heliograph.vision.tasks.process import Processed

PIXELS = np.full((120, 160, 3), 90, np.uint8)
BOX = np.array([[20, 30, 100, 110]], np.float32)


def answer(result: Result, task: str, picture: bytes | Path | None = None) -> Prediction[Result]:
    kept = encode(PIXELS, "png") if picture is None else picture
    timings = {"run": 12.0, "total": 12.34}
    return Prediction(
        "pred_1", "tiny", "1", task, Size(160, 120), result, result.predictions(), timings, kept
    )


def dog(label: str = "dog") -> Prediction[Result]:
    ids = np.array([18])
    return answer(Detections(BOX, np.array([0.9], np.float32), ids, (label,)), "detection")


def crowd(many: int) -> Prediction[Result]:
    scores = tuple(0.9 - place / 100 for place in range(many))
    names = tuple(f"class {place}" for place in range(many))
    return answer(Classes(tuple(range(many)), scores, names), "classification")


def test_in_words() -> None:
    assert repr(dog()) == "<detection by tiny@1 in 12.3 ms: dog 90%>"
    assert repr(crowd(7)).endswith("class 2 88%; and 4 more>")
    assert repr(crowd(0)).endswith("nothing found>")
    edges = answer(Edges(np.zeros((120, 160), np.uint8)), "edges")
    assert repr(edges) == "<edges by tiny@1 in 12.3 ms: 160 x 120 png>"


def test_drawn_on_the_remembered_picture(tmp_path: Path) -> None:
    drawn = np.asarray(dog().draw())
    assert drawn.shape == PIXELS.shape
    assert not np.array_equal(drawn[30, 20:100], PIXELS[30, 20:100])
    assert np.array_equal(drawn[115:], PIXELS[115:])
    path = tmp_path / "photo.png"
    path.write_bytes(encode(PIXELS, "png"))
    assert np.array_equal(np.asarray(answer(dog().result, "detection", path).draw()), drawn)


@pytest.mark.parametrize(
    ("name", "form"), [("a.png", "PNG"), ("a.jpg", "JPEG"), ("a.JPEG", "JPEG"), ("a.webp", "WEBP")]
)
def test_saved_in_the_format_of_the_name(tmp_path: Path, name: str, form: str) -> None:
    written = dog().save(tmp_path / name)
    assert written == tmp_path / name
    with Image.open(written) as image:
        assert (image.format, image.size) == (form, (160, 120))


@pytest.mark.parametrize("name", ["a", "a.gif", "a.json"])
def test_another_ending_is_refused_before_anything_is_written(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match=r"Expected an ending of \.png"):
        dog().save(tmp_path / name)
    assert list(tmp_path.iterdir()) == []


def test_a_processed_picture_is_saved_as_it_came(tmp_path: Path) -> None:
    small = PIXELS[:40, :50]
    file = encode(small, "jpeg", 37)
    processed = answer(Processed(small, Encoding("jpeg"), file), "process", b"not needed")
    assert processed.save(tmp_path / "a.jpg").read_bytes() == file
    again = processed.save(tmp_path / "a.png").read_bytes()
    assert np.array_equal(decode(again).pixels, small)
    assert processed.draw().size == (50, 40)


def test_a_notebook_shows_a_png_of_a_bearable_size() -> None:
    large = answer(dog().result, "detection", encode(np.zeros((3000, 2000, 3), np.uint8), "png"))
    with Image.open(io.BytesIO(large._repr_png_())) as image:
        assert (image.format, image.size) == ("PNG", (683, 1024))


def test_a_notebook_s_table_shows_labels_as_text() -> None:
    shown = dog("<script>alert(1)</script>")._repr_html_()
    assert 'src="data:image/jpeg;base64,' in shown
    assert "<script>" not in shown
    assert "&lt;script&gt;" in shown


def test_an_answer_is_frozen() -> None:
    one: Any = dog()
    with pytest.raises(AttributeError):
        one.model = "another"
