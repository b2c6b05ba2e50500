"""Fetching from a hub, against a small stand-in that speaks as one: real sockets, no mocks."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from heliograph.core.errors import Code, HeliographError
from heliograph.registry.importing.download import Download, Reach
from heliograph.registry.importing.hub import Remote, choose, fetch
from support import foreign

ONNX = foreign.classifier(1000).SerializeToString()
COMMIT = "c0ffee0123456789"


@dataclass
class Hub:
    """What the stand-in holds, and what it was asked."""

    files: dict[str, bytes] = field(default_factory=dict[str, bytes])
    asked: list[tuple[str, dict[str, str]]] = field(
        default_factory=list[tuple[str, dict[str, str]]]
    )
    break_after: list[int] = field(default_factory=list[int])
    redirect: str = ""
    lies: bool = False
    token: str = ""
    address: str = ""


class Handler(BaseHTTPRequestHandler):
    hub: Hub
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        hub = self.hub
        hub.asked.append((self.path, dict(self.headers)))
        if hub.token and self.headers.get("Authorization") != f"Bearer {hub.token}":
            self.answer(401, b"")
        elif self.path.startswith("/api/models/org/name/revision/"):
            self.answer(200, json.dumps(self.about()).encode())
        elif self.path.startswith(f"/org/name/resolve/{COMMIT}/"):
            self.file(self.path.removeprefix(f"/org/name/resolve/{COMMIT}/"))
        elif self.path.startswith("/cdn/"):
            self.file(self.path.removeprefix("/cdn/").partition("?")[0], moved=True)
        else:
            self.answer(404, b"")

    def about(self) -> object:
        siblings = [
            {
                "rfilename": name,
                "size": len(data),
                "lfs": {
                    "size": len(data),
                    "sha256": hashlib.sha256(b"else" if self.hub.lies else data).hexdigest(),
                },
            }
            for name, data in self.hub.files.items()
        ]
        return {"sha": COMMIT, "siblings": siblings}

    def file(self, name: str, *, moved: bool = False) -> None:
        data = self.hub.files.get(name)
        if data is None:
            self.answer(404, b"")
            return
        if self.hub.redirect and not moved:
            self.send_response(302)
            self.send_header("Location", f"{self.hub.redirect}/cdn/{name}")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        start = int(self.headers.get("Range", "bytes=0-").removeprefix("bytes=").split("-")[0])
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(data) - start))
        self.end_headers()
        end = len(data)
        if self.hub.break_after:
            end = min(end, start + self.hub.break_after.pop(0))
            self.close_connection = True
        self.wfile.write(data[start:end])

    def answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002, ARG002 - its name
        return


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    made = Hub({
        "model.onnx": ONNX,
        "config.json": b"{}",
        "pytorch_model.bin": b"\x80\x02.",
        "model.safetensors": b"x",
        "README.md": b"---\nlicense: mit\n---\n",
    })  # fmt: skip
    handler = type("Bound", (Handler,), {"hub": made})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    made.address = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setenv("HF_ENDPOINT", made.address)
    monkeypatch.delenv("HF_TOKEN", raising=False)
    monkeypatch.delenv("HELIOGRAPH_IMPORT_HOSTS", raising=False)
    yield made
    server.shutdown()
    server.server_close()


def quiet(file: str, have: int, size: int) -> None:
    """Nobody watches."""


def get(tmp_path: Path, source: str = "hf:org/name") -> Path:
    folder = tmp_path / "fetched"
    folder.mkdir(exist_ok=True)
    made = fetch(source, folder, quiet, cache=tmp_path / "cache")
    assert COMMIT in made.origin or source.startswith("http")
    return made.path


def refused(tmp_path: Path, code: Code, source: str = "hf:org/name") -> str:
    with pytest.raises(HeliographError) as failed:
        get(tmp_path, source)
    assert failed.value.code is code, failed.value
    return failed.value.detail


def test_only_what_can_be_served_is_fetched(hub: Hub, tmp_path: Path) -> None:
    folder = get(tmp_path)
    assert sorted(one.name for one in folder.iterdir()) == [
        "README.md",
        "config.json",
        "model.onnx",
    ]
    assert (folder / "model.onnx").read_bytes() == ONNX
    assert list((tmp_path / "cache").iterdir()) == [], "nothing unfinished is left"
    assert all(COMMIT in path for path, _ in hub.asked[1:]), "files are of one commit"


def test_a_revision_and_a_file_may_be_named(hub: Hub, tmp_path: Path) -> None:
    hub.files["onnx/model_quantized.onnx"] = ONNX
    hub.files["onnx/model_quantized.onnx_data"] = b"weights"
    folder = get(tmp_path, "hf:org/name@v1.0/onnx/model_quantized.onnx")
    assert hub.asked[0][0].startswith("/api/models/org/name/revision/v1.0")
    fetched = sorted(str(one.relative_to(folder)) for one in folder.rglob("*") if one.is_file())
    assert fetched == [
        "README.md", "config.json", "onnx/model_quantized.onnx", "onnx/model_quantized.onnx_data",
    ]  # fmt: skip


def test_a_broken_download_goes_on_where_it_stopped(hub: Hub, tmp_path: Path) -> None:
    hub.files = {"model.onnx": ONNX}
    hub.break_after = [1000, 500]
    folder = get(tmp_path)
    assert (folder / "model.onnx").read_bytes() == ONNX
    ranges = [about.get("Range") for path, about in hub.asked if path.endswith(".onnx")]
    assert ranges == [None, "bytes=1000-", "bytes=1500-"]


def test_a_later_run_goes_on_too(hub: Hub, tmp_path: Path) -> None:
    hub.break_after = [1000, 0, 0, 0, 0]
    wanted = Remote("model.onnx", len(ONNX))
    address = f"{hub.address}/org/name/resolve/{COMMIT}/model.onnx"
    cache = tmp_path / "cache"
    with (
        Download(Reach.of(hub.address), cache=cache, pause=0.01) as download,
        pytest.raises(HeliographError) as failed,
    ):
        download.file(address, tmp_path / "a", wanted, quiet)
    assert failed.value.code is Code.MODEL_UNAVAILABLE
    with Download(Reach.of(hub.address), cache=cache) as download:
        download.file(address, tmp_path / "a", wanted, quiet)
    assert hub.asked[-1][1]["Range"] == "bytes=1000-"
    assert (tmp_path / "a").read_bytes() == ONNX


def test_content_that_is_not_what_was_announced(hub: Hub, tmp_path: Path) -> None:
    hub.lies = True
    assert "not what the hub announced" in refused(tmp_path, Code.MODEL_INVALID)
    assert list((tmp_path / "cache").iterdir()) == []


def test_the_token_goes_to_the_hub_and_not_to_where_it_redirects(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.token = "secret"
    assert "HF_TOKEN" in refused(tmp_path, Code.FORBIDDEN)
    monkeypatch.setenv("HF_TOKEN", "secret")
    get(tmp_path)
    other = Hub({"model.onnx": ONNX})
    server = ThreadingHTTPServer(("127.0.0.2", 0), type("Other", (Handler,), {"hub": other}))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    hub.redirect = f"http://127.0.0.2:{server.server_port}"
    hub.files = {"model.onnx": ONNX}
    try:
        assert "another host" in refused(tmp_path, Code.FORBIDDEN)
        assert other.asked == [], "the other host was never asked"
        monkeypatch.setenv("HELIOGRAPH_IMPORT_HOSTS", "127.0.0.2")
        assert (get(tmp_path) / "model.onnx").read_bytes() == ONNX
        assert all("Authorization" not in about for _, about in other.asked)
    finally:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize(
    ("location", "code"),
    [
        ("http://169.254.169.254", Code.VALIDATION),
        ("file:///etc/passwd#", Code.VALIDATION),
        ("http://user:pass@127.0.0.1", Code.VALIDATION),
        ("https://evil.example", Code.FORBIDDEN),
    ],
)
def test_redirects_that_lead_astray(hub: Hub, tmp_path: Path, location: str, code: Code) -> None:
    hub.redirect = location
    refused(tmp_path, code)


def test_names_that_climb_are_not_there(hub: Hub, tmp_path: Path) -> None:
    hub.files |= {"../outside.onnx": ONNX, "/etc/model.onnx": ONNX}
    get(tmp_path)
    assert not (tmp_path / "outside.onnx").exists()
    refused(tmp_path, Code.NOT_FOUND, "hf:org/name/../outside.onnx")


@pytest.mark.parametrize(
    "source", ["hf:", "hf:org/name@", "hf:org/na me", "hf:org/name@../x", "hf:../x", "hf:org//x"]
)
def test_sources_that_cannot_be(hub: Hub, tmp_path: Path, source: str) -> None:
    refused(tmp_path, Code.VALIDATION, source)
    assert hub.asked == []


def test_plain_addresses(hub: Hub, tmp_path: Path) -> None:
    path = get(tmp_path, f"{hub.address}/cdn/model.onnx?download=true")
    assert (path.name, path.read_bytes()) == ("model.onnx", ONNX)
    refused(tmp_path, Code.NOT_FOUND, f"{hub.address}/cdn/other.onnx")
    refused(tmp_path, Code.VALIDATION, "http://hub.example/model.onnx")


def test_a_hub_that_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    refused(tmp_path, Code.MODEL_UNAVAILABLE)


@pytest.mark.parametrize(
    ("files", "code"),
    [
        (["pytorch_model.bin", "config.json"], Code.UNSAFE_FORMAT),
        (["model.safetensors", "pytorch_model.bin"], Code.UNSUPPORTED),
        (["README.md"], Code.MODEL_FORMAT),
        (["a.onnx", "b.onnx"], Code.VALIDATION),
    ],
)
def test_repositories_without_one_model_to_serve(files: list[str], code: Code) -> None:
    with pytest.raises(HeliographError) as failed:
        choose([Remote(one) for one in files])
    assert failed.value.code is code


@pytest.mark.parametrize(
    ("files", "wanted", "chosen"),
    [
        (
            ["saved_model.pb", "variables/variables.index", "x.txt", "assets/a"],
            "",
            ["saved_model.pb", "variables/variables.index", "assets/a"],
        ),
        (
            ["openvino_model.xml", "openvino_model.bin", "other.bin"],
            "",
            ["openvino_model.xml", "openvino_model.bin"],
        ),
        (["onnx/model.onnx", "a.tflite"], "a.tflite", ["a.tflite"]),
    ],
)
def test_what_a_network_needs_comes_with_it(
    files: list[str], wanted: str, chosen: list[str]
) -> None:
    assert [one.path for one in choose([Remote(one) for one in files], wanted)] == chosen


def test_a_host_below_the_named_one_is_of_the_same_people() -> None:
    reach = Reach.of("https://hub.example/x")
    assert reach.check("https://cdn.hub.example/y") == "cdn.hub.example"
    for other in ("https://evilhub.example/y", "https://hub.example.evil.example/"):
        with pytest.raises(HeliographError) as failed:
            reach.check(other)
        assert failed.value.code is Code.FORBIDDEN
