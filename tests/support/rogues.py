"""Models that misbehave, for workers behind the wall: named by `Opener`, run in a worker only.

What a rogue does is said by the name of its model file, e.g. `network` or `segfault`. It does it
when the input `x` is at least 1; below that it answers `y` = `x`. Rogues whose name begins with
`load-` do it while they are opened. One that got through with what it tried answers 7.
"""

from __future__ import annotations

import ctypes
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from heliograph.runtimes.base import Arrays, Plan, Tensor

GOT_THROUGH = 7.0
DENIED = 3.0


def open_rogue(path: Path, plan: Plan) -> Rogue:
    """The opener of `Opener("rogues", "open_rogue", folder)`."""
    del plan
    if path.name.startswith("load-"):
        _ACTS[path.name.removeprefix("load-")](path)
    return Rogue(path)


class Rogue:
    """`x` float32 [N, 4] -> `y`, and a deed."""

    platform = "rogue"
    inputs = (Tensor("x", "float32", (-1, 4)),)
    outputs = (Tensor("y", "float32", (-1, 4)),)

    def __init__(self, path: Path) -> None:
        self._path = path
        if path.name == "text":
            self.inputs = self.outputs = (Tensor("x", "object", (-1,)),)

    def run(self, feeds: Mapping[str, NDArray[Any]]) -> Arrays:
        x = feeds["x"]
        if self._path.name == "text":
            return {"x": x[::-1]}
        if float(x.flat[0]) < 1.0:
            return {"y": x}
        done = _ACTS[self._path.name](self._path)
        if isinstance(done, np.ndarray):
            return {"y": done}
        return {"y": np.full_like(x, GOT_THROUGH if done else DENIED)}

    def memory(self) -> int:
        return 0

    def close(self) -> None:
        pass


def _try(*deeds: Callable[[], object]) -> bool:
    """Whether any of these got through."""
    through = False
    for deed in deeds:
        try:
            deed()
        except (OSError, subprocess.SubprocessError, RuntimeError):
            continue
        through = True
    return through


def _network(_path: Path) -> bool:
    return _try(
        lambda: socket.create_connection(("127.0.0.1", 9), 1),
        lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM),
        lambda: socket.socket(socket.AF_UNIX),
        lambda: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW),
    )


def _processes(_path: Path) -> bool:
    return _try(
        lambda: os.fork() or os._exit(0),
        lambda: os.posix_spawn("/bin/true", ["true"], {}),
        lambda: subprocess.run(["/bin/true"], check=True),
    )


def _program(_path: Path) -> bool:
    return _try(lambda: os.execv("/bin/true", ["true"]))


def _files(path: Path) -> bool:
    """Read what is not the model's, and write anywhere."""
    return _try(
        Path("/etc/passwd").read_bytes,
        Path(f"/proc/{os.getppid()}/environ").read_bytes,
        lambda: Path(f"/proc/{os.getppid()}/mem").open("rb"),
        (path.parent / "secret").read_bytes,
        lambda: (path.parent / "new").write_bytes(b"x"),
        lambda: path.write_bytes(b"x"),
        path.unlink,
        lambda: path.chmod(0),
        lambda: os.utime(path, (0, 0)),
        lambda: Path("/dev/shm/rogue").write_bytes(b"x"),
        lambda: Path("/tmp/rogue").write_bytes(b"x"),
        lambda: os.truncate(path, 0),
        lambda: path.with_name("other").symlink_to(path),
    )


def _parent(_path: Path) -> bool:
    """Do anything to the server."""
    libc = ctypes.CDLL(None, use_errno=True)
    server = os.getppid()

    def call(function: Callable[..., int], *arguments: object) -> None:
        if function(*arguments) < 0:
            raise OSError(ctypes.get_errno(), "denied")

    return _try(
        lambda: os.kill(server, signal.SIGKILL),
        lambda: os.kill(server, 0),
        lambda: os.kill(-1, signal.SIGTERM),
        lambda: call(libc.ptrace, 16, server, None, None),
        lambda: call(libc.prlimit, server, 7, bytes(16), None),
        lambda: call(libc.process_vm_readv, server, None, 0, None, 0, 0),
        lambda: call(libc.syscall, 434, server, 0),
        lambda: call(libc.prctl, 1, 0, 0, 0, 0),
        lambda: call(libc.unshare, 0x10000000),
        lambda: call(libc.memfd_create, b"x", 0),
    )


def _limits(_path: Path) -> bool:
    import resource

    def raise_limit() -> None:
        try:
            resource.setrlimit(resource.RLIMIT_DATA, (1 << 40, 1 << 40))
        except ValueError:
            raise OSError from None

    return _try(raise_limit)


def _threads(_path: Path) -> bool:
    """As many as it gets; true if nothing stopped it."""
    stop = threading.Event()
    try:
        for _ in range(10_000):
            threading.Thread(target=stop.wait, daemon=True).start()
    except RuntimeError:
        stop.set()
        return False
    return True


def _write(_path: Path) -> bool:
    """10 GB into its scratch, if it has one."""
    written = 0
    with Path(os.environ["TMPDIR"], "big").open("wb") as file:
        while written < 10 << 30:
            written += file.write(bytes(1 << 20))
    return True


def _many(_path: Path) -> bool:
    """Many files into its scratch."""
    for at in range(100_000):
        Path(os.environ["TMPDIR"], str(at)).write_bytes(b"x")
    return True


def _memory(_path: Path) -> bool:
    """20 GB at once."""
    np.ones(20 << 30, np.uint8)
    return True


def _creeping(_path: Path) -> bool:
    """Memory that its own limit does not count: written, then made read-only."""
    libc = ctypes.CDLL(None)
    libc.mmap.restype = ctypes.c_void_p
    size = 32 << 20
    for _ in range(1000):
        at = libc.mmap(None, ctypes.c_size_t(size), 3, 0x22, -1, ctypes.c_size_t(0))
        ctypes.memset(at, 1, size)
        libc.mprotect(ctypes.c_void_p(at), ctypes.c_size_t(size), 1)
    return True


def _shared(_path: Path) -> bool:
    """Shared memory that no limit counts."""
    import mmap

    return _try(lambda: mmap.mmap(-1, 1 << 20))


def _segfault(_path: Path) -> bool:
    ctypes.string_at(0)
    return True


def _abort(_path: Path) -> bool:
    os.abort()


def _leave(_path: Path) -> bool:
    os._exit(0)


def _sleep(_path: Path) -> bool:
    time.sleep(3600)
    return True


def _spin(_path: Path) -> bool:
    """Hang with the interpreter's lock held."""
    ctypes.PyDLL(None).sleep(3600)
    return True


def _shout(_path: Path) -> bool:
    """Print without end."""
    for _ in range(1000):
        os.write(2, b"\x1b[31m" + b"x" * 100_000)
    return True


def _lie(size: int, dtype: str = "float32", shape: tuple[int, ...] = (1, 4)) -> None:
    """Answer the server's question past the desk: whatever line, whatever turn."""
    from heliograph.runtimes import channel

    body = channel.encode(channel.Done([channel.Slot("y", dtype, shape, 0, size)]))
    _past_the_desk(body)


def _past_the_desk(body: bytes, turn: int = 2) -> None:
    import json

    line = json.loads(sys.argv[1])["sockets"][0]
    with socket.socket(fileno=os.dup(line)) as sock:
        sock.send(turn.to_bytes(8, "little") + body)
    time.sleep(3600)


def _odd(what: Callable[[], object]) -> Callable[[Path], Any]:
    def deed(_path: Path) -> Any:
        return what()

    return deed


def _say(message: Callable[[], bytes], turn: int = 2) -> Callable[[Path], Any]:
    return _odd(lambda: _past_the_desk(message(), turn))


_ACTS: dict[str, Callable[[Path], Any]] = {
    "network": _network,
    "processes": _processes,
    "program": _program,
    "files": _files,
    "parent": _parent,
    "limits": _limits,
    "threads": _threads,
    "write": _write,
    "many": _many,
    "memory": _memory,
    "creeping": _creeping,
    "shared": _shared,
    "segfault": _segfault,
    "abort": _abort,
    "leave": _leave,
    "sleep": _sleep,
    "spin": _spin,
    "shout": _shout,
    "nan": _odd(lambda: np.full((1, 4), np.nan, np.float32)),
    "rank": _odd(lambda: np.zeros((1, 2, 2), np.float32)),
    "dtype": _odd(lambda: np.zeros((1, 4), np.float64)),
    "rows": _odd(lambda: np.zeros((5, 4), np.float32)),
    "large": _odd(lambda: np.zeros((2 << 27, 4), np.float32)),
    "outside": _odd(lambda: _lie(1 << 40, shape=(1 << 36, 4))),
    "short": _odd(lambda: _lie(4)),
    "negative": _odd(lambda: _lie(16, shape=(-1, -4))),
    "endless": _odd(lambda: _lie(0, shape=(0, 1 << 62))),
    "object": _odd(lambda: _lie(16, dtype="object")),
    "pickle": _say(lambda: b"\x80\x04cposix\nsystem\n"),
    "nothing": _say(lambda: b""),
    "late": _say(lambda: b"\x94\x04\x90", turn=1),
    "deep": _say(lambda: b"\x91" * 100_000),
}
