"""Servers with the tiny models that the Open Inference Protocol's stories ask."""

from __future__ import annotations

import re
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from support.models import colour_package, slow_package
from support.server import Server, running
from support.tensor_models import (
    accumulator_package,
    simple_package,
    text_package,
    vector_package,
)


@dataclass(frozen=True, slots=True)
class Oip:
    """A running server and where it listens.

    Attributes:
        server: its process.
        http: HOST:PORT; `grpc` likewise.
        red: path of a red JPEG.
    """

    server: Server
    http: str
    grpc: str
    red: Path

    @property
    def simple(self) -> Path:
        return self.server.home / "models" / "simple" / "model.onnx"


@contextmanager
def serving(
    folder: Path, *options: str, environ: Mapping[str, str] | None = None, states: bool = False
) -> Generator[Oip]:
    """Serve `simple`, `spare`, `text_identity`, `identity`, `colour`, `slow` until the block ends.

    Args:
        folder: an empty one.
        options: further ones of `heliograph serve`; with `--open` nobody needs a key.
        environ: settings.
        states: also serve `accumulator`, a stateful model.
    """
    home = folder / "home"
    for make in (simple_package, text_package, vector_package, colour_package, slow_package):
        make(home)
    vector_package(home, "spare", version=1)
    names = ["simple", "spare", "text_identity", "identity", "colour", "slow"]
    if states:
        accumulator_package(home)
        names.append("accumulator")
    red = folder / "red.jpg"
    cv2.imwrite(str(red), np.full((40, 40, 3), (0, 0, 255), np.uint8))
    wanted = ("--models", ",".join(names), "--grpc-port", "0", *options)
    with running(home, *wanted, stderr=folder / "stderr", environ=environ) as server:
        found = re.search(r"^gRPC on (\S+)", server.log(), re.MULTILINE)
        assert found, server.log()
        yield Oip(server, f"127.0.0.1:{server.port}", found[1], red)
