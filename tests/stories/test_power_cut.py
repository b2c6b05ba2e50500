"""F-04: the power goes while a server answers; what it has answered is on disk.

The whole data folder lies on an ext4 of its own, in a file. The power cut is ext4's own: from the
ioctl on nothing reaches the disk any more, the journal neither. Who was answered before must be in
the ledger when the file system is mounted again. What FULL costs and NORMAL loses is this test's
business, too: with `synchronous=NORMAL` it fails.
"""

from __future__ import annotations

import fcntl
import os
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from random import Random

import pytest

from heliograph.accounts.workspaces.values import DEFAULT
from heliograph.audit import verifier
from heliograph.storage.database import FILE
from support.checker import check
from support.kills import call_until_dead, tell_usage
from support.ledgerload import Load, introduce, opened, serving

EXT4_IOC_SHUTDOWN, NO_LOG_FLUSH = 0x8004587D, 2
CUTS = 2


def sh(*words: str | Path) -> None:
    done = subprocess.run(list(map(str, words)), capture_output=True, text=True, check=False)
    if done.returncode:
        raise OSError(done.stderr.strip())


class Disk:
    """A file system in a file.

    Args:
        folder: for the file and the place where it is mounted.
    """

    def __init__(self, folder: Path) -> None:
        self._image, self.place = folder / "disk.img", folder / "disk"
        self.place.mkdir()
        with self._image.open("wb") as file:
            file.truncate(128 << 20)
        sh("mkfs.ext4", "-q", "-F", self._image)

    @contextmanager
    def mounted(self) -> Generator[Path]:
        sh("mount", "-o", "loop", self._image, self.place)
        try:
            yield self.place
        finally:
            sh("umount", self.place)

    def cut(self) -> None:
        """The power goes."""
        place = os.open(self.place, os.O_RDONLY)
        try:
            fcntl.ioctl(place, EXT4_IOC_SHUTDOWN, struct.pack("I", NO_LOG_FLUSH))
        finally:
            os.close(place)


@pytest.fixture
def disk(tmp_path: Path) -> Disk:
    if os.geteuid():
        pytest.skip("only root may mount a file system")
    try:
        made = Disk(tmp_path)
        with made.mounted():
            made.cut()
    except OSError as error:
        pytest.skip(f"no ext4 can be mounted and shut down here: {error}")
    return made


def test_what_was_answered_is_there_after_the_power_came_back(disk: Disk, tmp_path: Path) -> None:
    load, chance = Load(tmp_path / "log", DEFAULT, 4), Random(4)
    for at in range(CUTS):
        with disk.mounted() as place:
            with serving(place / "home", f"server-{at}") as server, opened(server, 5.0) as door:
                if not at:
                    introduce(load, server)
                load.again(door)
                stop = threading.Event()
                pool = [
                    threading.Thread(
                        target=call_until_dead, args=(load, door, server), kwargs={"stop": stop}
                    )
                    for _ in range(2)
                ]
                for one in pool:
                    one.start()
                time.sleep(chance.uniform(0.1, 0.6))
                answered = sum(found.ok for _, found in load.outcomes)
                # A machine without power answers nobody. This one still does: ext4 tells who is
                # waiting for its journal at that very moment that all went well.
                load.deaf = True
                disk.cut()
                time.sleep(0.1)
                server.process.kill()
                server.process.wait()
                stop.set()
                for one in pool:
                    one.join()
                load.deaf = False
            assert answered, "nobody was answered before the power went"
        with disk.mounted() as place:
            assert check(load.log, place / "home" / FILE) == []
    with disk.mounted() as place:
        with serving(place / "home", "last") as server, opened(server) as door:
            load.again(door)
            tell_usage(load, server)
        export(place / "home", tmp_path / "export")
        assert check(load.log, place / "home" / FILE, tmp_path / "export") == []
        key = (place / "home" / "audit" / "key.pub").read_text("ascii")
        found = verifier.check_export(tmp_path / "export", verifier.read_key(key))
        assert found.faults == []
        assert found.checkpoints
    load.close()


def export(home: Path, path: Path) -> None:
    words = [sys.executable, "-m", "heliograph", "audit", "export", "--home", home, path]
    sh(*map(str, words))
