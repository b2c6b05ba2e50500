"""A server that follows a folder or a bucket: models come and go there, and no call is lost."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from support import foreign, models, pictures, tensor_models, watched
from support.bucket import storing
from support.server import Server, running
from support.watched import answers, calling, until

SPAN = 0.3


@dataclass(frozen=True, slots=True)
class Shelf:
    """A watched place as those who fill it see it.

    Attributes:
        server: follows it.
        put: writes files by their paths.
        drop: removes what begins with a path.
        marker: would be made by a pickle that is opened.
    """

    server: Server
    put: Callable[[Mapping[str, bytes]], None]
    drop: Callable[[str], None]
    marker: Path


@contextmanager
def _serving(
    folder: Path, watch: str, environ: Mapping[str, str], *options: str
) -> Generator[Server]:
    said = {
        "HELIOGRAPH_REGISTRY_WATCH": watch,
        "HELIOGRAPH_REGISTRY_WATCH_SECONDS": str(SPAN),
        "HELIOGRAPH_REGISTRY_POLL": "0.1",
        # The built-in models are not asked for here: they stay where they are.
        "HELIOGRAPH_REGISTRY_LOAD": "demand",
        "HELIOGRAPH_SERVING_DEADLINE": "5",
    }
    log = folder / "stderr"
    with running(
        folder / "home", "--open", *options, stderr=log, environ={**said, **environ}
    ) as one:
        yield one
        assert "Traceback" not in one.log()


@contextmanager
def _folder(tmp_path: Path) -> Generator[Shelf]:
    place = tmp_path / "place"
    place.mkdir()
    with _serving(tmp_path, str(place), {}) as server:
        yield Shelf(
            server,
            lambda files: watched.put(place, files),
            lambda path: shutil.rmtree(place / path),
            tmp_path / "pwned",
        )


@contextmanager
def _bucket(tmp_path: Path) -> Generator[Shelf]:
    pytest.importorskip("obstore")
    with storing() as store, _serving(tmp_path, "s3://models/team/a", store.environ) as server:

        def drop(path: str) -> None:
            for key in [one for one in store.objects if one.startswith(f"team/a/{path}/")]:
                del store.objects[key]

        yield Shelf(
            server,
            lambda files: store.objects.update({f"team/a/{path}": files[path] for path in files}),
            drop,
            tmp_path / "pwned",
        )


@pytest.mark.parametrize("kind", [_folder, _bucket], ids=["folder", "bucket"])
def test_versions_come_and_go_under_load_and_no_call_is_lost(
    tmp_path: Path, kind: Callable[[Path], AbstractContextManager[Shelf]]
) -> None:
    with kind(tmp_path) as shelf:
        server = shelf.server
        shelf.put({"two/config.pbtxt": b'name: "two"', "two/1/model.onnx": watched.model(1)})
        until(lambda: answers(server, "two") == "1", "version 1 answers")
        with calling(server, "two") as callers:
            shelf.put({"two/2/model.onnx": watched.model(2)})
            until(lambda: callers.last() == "2", "version 2 takes over")
            shelf.put({"two/3/model.pkl": foreign.pickled(shelf.marker, 4)})
            until(lambda: "watched two/3 is refused [unsafe_format]" in server.log(), "refusing")
            shelf.drop("two/2")
            until(lambda: callers.last() == "1", "version 1 answers again")
            shelf.put({"two/2/model.onnx": watched.model(2)})
            until(lambda: callers.last() == "2", "version 2 is back")
            shelf.put({"two/1/model.onnx": watched.model(3)})
            until(lambda: "watched two/1 is refused [conflict]" in server.log(), "a conflict")
            time.sleep(3 * SPAN)
        assert callers.failed() == []
        assert {one.version for one in callers.seen} == {"1", "2"}
        assert not shelf.marker.exists()
        assert server.log().count("[unsafe_format]") == 1, "told once"
        shelf.drop("two")
        until(lambda: answers(server, "two") == "", "the model goes with its last version")
        with watched.client() as http:
            assert http.get(f"{server.address}/readyz").status_code == 200


def first(path: Path) -> Path:
    path.write_bytes(watched.model(1))
    return path


def test_what_is_let_go_is_in_memory_before_it_answers_again(tmp_path: Path) -> None:
    """Models are loaded ahead here, as they are by default, and wait for no first call."""
    place = tmp_path / "place"
    watched.put(place, {"two/2/model.onnx": watched.model(2), "other/1/a.pkl": b"\x80\x04."})
    tensor_models.package(tmp_path / "home", "two", first, version=1)
    ahead = {"HELIOGRAPH_REGISTRY_LOAD": "start", "HELIOGRAPH_SERVING_DEADLINE": "1"}
    with (
        _serving(tmp_path, str(place), ahead, "--models", "two") as server,
        calling(server, "two") as callers,
    ):
        until(lambda: callers.last() == "2", "version 2 takes over")
        until(lambda: states(server, "two") == {"1": "unloaded", "2": "ready"}, "letting go")
        shutil.rmtree(place / "two" / "2")
        until(lambda: callers.last() == "1", "version 1 answers again")
        until(lambda: states(server, "two") == {"1": "ready", "2": "unloaded"}, "letting go")
    assert callers.failed() == []
    assert "other" not in server.log(), "only the models that are named are looked at"


def states(server: Server, name: str) -> dict[str, str]:
    with watched.client() as http:
        said = http.get(f"{server.address}/api/v1/models/{name}/release").json()
    return {one["version"]: one["state"] for one in said["versions"]}


def test_what_was_decided_survives_a_restart(tmp_path: Path) -> None:
    place = tmp_path / "place"
    watched.put(place, {f"two/{one}/model.onnx": watched.model(one) for one in (1, 2)})
    watched.put(place, {"bad/1/model.pkl": foreign.pickled(tmp_path / "pwned", 2)})
    with _serving(tmp_path, str(place), {}) as server:
        until(lambda: answers(server, "two") == "2", "version 2 answers")
        until(lambda: "bad/1 is refused" in server.log(), "refusing")
    with _serving(tmp_path, str(place), {}) as server:
        assert answers(server, "two") == "2", "it is in the data folder"
        time.sleep(6 * SPAN)
        assert "watched" not in server.log(), "nothing is new"
        shutil.rmtree(place / "two" / "2")
        until(lambda: answers(server, "two") == "1", "version 1 answers again")
    with _serving(tmp_path, str(place), {}) as server:
        time.sleep(4 * SPAN)
        assert answers(server, "two") == "1", "gone is gone"
        watched.put(place, {"two/2/model.onnx": watched.model(2)})
        until(lambda: answers(server, "two") == "2", "version 2 is back, from a new copy")
    assert [one.name for one in (tmp_path / "home" / "models").glob(".*")] == []


def test_a_package_brings_its_labels_and_runs_behind_the_wall(tmp_path: Path) -> None:
    place = tmp_path / "place"
    place.mkdir()
    made = models.version_package(tmp_path / "maker", 4, "colour")
    with _serving(tmp_path, str(place), {}) as server:
        shutil.copytree(made.folder, place / "colour" / "4")
        until(lambda: "watched colour/4 is in place: a package" in server.log(), "taking it")

        def asked() -> httpx.Response:
            with watched.client() as http:
                return http.post(
                    f"{server.address}/api/v1/models/colour/predict", content=pictures.plain()
                )

        until(lambda: asked().status_code == 200, "answering")
        assert asked().json()["predictions"][0]["label"] == "red 4"
        card = (tmp_path / "home" / "models" / "colour" / "4" / "model.toml").read_text("utf-8")
        assert "foreign = true" in card


def test_of_several_workers_one_follows_and_all_serve(tmp_path: Path) -> None:
    place = tmp_path / "place"
    watched.put(place, {"two/1/model.onnx": watched.model(1)})
    with _serving(tmp_path, str(place), {}, "--workers", "2") as server:

        def everywhere(version: str) -> bool:
            # Each connection may end at another worker.
            return all(answers(server, "two") == version for _ in range(20))

        until(lambda: everywhere("1"), "version 1 answers")
        watched.put(place, {"two/2/model.onnx": watched.model(2)})
        until(lambda: everywhere("2"), "version 2 answers")
        shutil.rmtree(place / "two" / "2")
        until(lambda: everywhere("1"), "version 1 answers again")
        assert server.log().count("watched two/2 is in place") == 1


def test_a_sick_store_takes_nothing_out_of_service(tmp_path: Path) -> None:
    pytest.importorskip("obstore")
    with storing() as store:
        store.objects["two/1/model.onnx"] = watched.model(1)
        with _serving(tmp_path, "s3://models", store.environ) as server:
            until(lambda: answers(server, "two") == "1", "version 1 answers")
            store.sick = 403
            until(lambda: "[forbidden]" in server.log(), "saying so")
            time.sleep(4 * SPAN)
            assert answers(server, "two") == "1"
            assert server.log().count("[forbidden]") == 1
            store.sick = 0
            store.objects["two/2/model.onnx"] = watched.model(2)
            until(lambda: answers(server, "two") == "2", "following again")
