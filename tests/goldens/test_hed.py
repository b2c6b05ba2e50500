"""Learned edges on a photo: outlines of things, not their texture."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest

from heliograph.core.errors import HeliographError
from heliograph.registry import sources
from heliograph.registry.catalog import BUILTIN
from heliograph.registry.values import read_package
from heliograph.vision import gradients
from heliograph.vision.decode import Limits, decode
from heliograph.vision.prepare import prepare
from heliograph.vision.tasks.edges import EdgeMap, Edges, EdgesOptions, agreement


def edges(home: Path, file: Path, options: EdgesOptions, *, scaled: bool = False) -> Edges:
    package = read_package(BUILTIN / "hed")
    try:
        path = sources.locate(package, home / "cache")
    except HeliographError as error:
        pytest.skip(error.detail)
    assert package.input is not None
    assert isinstance(package.output, EdgeMap)
    need = package.input.need if scaled else None
    tensor, placement = prepare(decode(file.read_bytes(), Limits(), need), package.input)
    assert max(tensor.shape) <= package.input.longest
    session = ort.InferenceSession(path, providers=["CPUExecutionProvider"])
    (found,) = session.run(["edges"], {"images": tensor[None]})
    return package.output.decode({"edges": np.asarray(found)[0]}, placement, (), options)


def test_outlines_are_kept_and_grass_is_not(home: Path, photos: Path) -> None:
    photo = photos / "pets.jpg"
    learned = edges(home, photo, EdgesOptions(thin=True, threshold=128))
    pixels = decode(photo.read_bytes(), Limits()).pixels
    assert learned.strength.shape == pixels.shape[:2]
    canny = Edges(gradients.strength(pixels))
    grass, dogs = np.s_[310:400, 20:330], np.s_[80:290, 110:250]
    assert np.mean(canny.strength[grass] > 0) > 0.1
    assert np.mean(learned.strength[grass] > 0) < 0.01
    assert np.mean(learned.strength[dogs] > 0) > 0.03
    # What people would draw is where brightness changes, too.
    assert agreement(learned, canny.strength > 0).precision > 0.9


def test_decoding_scaled_down_moves_no_edge(home: Path, photos: Path) -> None:
    photo = photos / "rome.jpg"
    options = EdgesOptions(threshold=128)
    whole, scaled = (edges(home, photo, options, scaled=one) for one in (False, True))
    assert whole.strength.shape == scaled.strength.shape == (2304, 3072)
    both = agreement(scaled, whole.strength > 0, tolerance=0.001)
    assert both.f1 > 0.98
