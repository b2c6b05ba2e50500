"""The wall around a model worker: what its process may reach, given up before a model is opened.

A model is a program of somebody else's. Its worker raises the wall on itself as its very first act,
while it has one thread and has loaded no library: Landlock, the system call filter and namespaces
hold for the thread that asks and for those it starts later, so that a thread which a library had
started before would stand outside.

Covered: files (read the libraries and the model, write nothing but a small scratch of its own),
network, other processes, memory, privileges, outliving its server. Not covered: seeing names and
sizes of files it cannot open, time on the processor, and holes in the kernel itself. A machine that
lacks a part is told by name in `Report`; `docs/explanation/model-walls.md` has the kernels.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import resource
import signal
import stat
import struct
import subprocess
import sys
from collections.abc import Iterable
from functools import cache
from pathlib import Path

from heliograph.runtimes import seccomp

Report = dict[str, str]
"""Part of the wall -> what holds it; empty where nothing does."""

PARTS = ("files", "memory", "network", "parent", "privileges", "processes", "scratch")

ESSENTIAL = ("files", "memory", "network", "parent", "processes")
"""Parts without which a foreign model is not run, unless an operator says so."""

SCRATCH = Path("/dev/shm")  # noqa: S108 - the worker's own, mounted over the machine's
"""Where a worker finds its scratch: libraries look for shared memory here, too."""

_MACHINE = (
    "/usr", "/lib", "/lib64", "/etc/ld.so.cache", "/etc/localtime", "/proc/self", "/proc/cpuinfo",
    "/proc/meminfo", "/proc/stat", "/proc/filesystems", "/proc/sys/vm", "/proc/sys/kernel",
    "/sys/devices/system", "/sys/fs/cgroup", "/dev/urandom",
)  # fmt: skip
"""What libraries read of a machine, and nothing that is secret."""

_ACCELERATOR_READ = (
    "/proc/driver/nvidia",
    "/sys/bus/pci",
    "/sys/devices/pci0000:00",
    "/sys/module",
)
_ACCELERATOR_USE = ("/dev/nvidia0", "/dev/nvidiactl", "/dev/nvidia-uvm", "/dev/nvidia-uvm-tools")

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_EXECUTE, _WRITE, _READ, _LIST, _TRUNCATE, _IOCTL = 1 << 0, 1 << 1, 1 << 2, 1 << 3, 1 << 14, 1 << 15
_OF_FILES = _EXECUTE | _WRITE | _READ | _TRUNCATE | _IOCTL
_NEWUSER, _NEWNET, _NEWIPC, _NEWNS = 0x10000000, 0x40000000, 0x08000000, 0x00020000
_PDEATHSIG, _NO_NEW_PRIVS = 1, 38
_CAPABILITIES_V3 = 0x20080522

_libc = ctypes.CDLL(None, use_errno=True)


def raise_wall(
    readable: Iterable[Path],
    *,
    parent: int,
    memory_bytes: int,
    scratch_bytes: int = 0,
    accelerator: bool = False,
) -> Report:
    """Put this process behind the wall for good. It must have one thread.

    Args:
        readable: files and folders of the model; libraries are added.
        parent: the process that must not be outlived.
        memory_bytes: most private memory.
        scratch_bytes: size of a scratch in memory at `SCRATCH`; 0 for none.
        accelerator: whether a GPU may be used.

    Returns:
        What holds each part.

    Raises:
        RuntimeError: there is more than one thread, or the parent is gone.
    """
    if len(list(Path("/proc/self/task").iterdir())) != 1:
        raise RuntimeError("the wall was to be raised after threads were started; this is a bug")
    said: Report = dict.fromkeys(PARTS, "")
    if _libc.prctl(_PDEATHSIG, signal.SIGKILL, 0, 0, 0) == 0:
        said["parent"] = "a signal at its death"
    if os.getppid() != parent:
        raise RuntimeError("the parent went away while this process was started")
    spaces = _leave_namespaces()
    if scratch_bytes and spaces & _NEWNS and _mount_scratch(scratch_bytes):
        said["scratch"] = "a mount of its own"
    said["memory"] = _limit(memory_bytes, scratch_bytes)
    said["privileges"] = _drop_privileges()
    writable = [SCRATCH] if said["scratch"] else []
    abi = _landlock([*libraries(), *readable], writable, accelerator=accelerator)
    filtered = seccomp.install()
    if abi >= 3 and filtered:
        said["files"] = f"Landlock {abi}, a system call filter"
    network = {"its own network": spaces & _NEWNET, "a system call filter": filtered}
    said["network"] = ", ".join(name for name, holds in network.items() if holds)
    if filtered:
        said["processes"] = "a system call filter" + (f", Landlock {abi}" if abi >= 6 else "")
    return said


def missing(said: Report, required: Iterable[str]) -> tuple[str, ...]:
    """Parts of `required` that do not hold."""
    return tuple(part for part in required if not said.get(part))


@cache
def report() -> Report:
    """What this machine offers, found by raising the wall in a process of its own (about 60 ms)."""
    try:
        done = subprocess.run(  # noqa: S603 - this very Python
            [sys.executable, "-I", "-B", "-m", __name__],
            capture_output=True,
            timeout=30.0,
            check=True,
            cwd="/",
            env={},
        )
        said: Report = json.loads(done.stdout)
    except (OSError, subprocess.SubprocessError, ValueError):
        said = {}
    return {part: str(said.get(part, "")) for part in PARTS}


def libraries() -> list[Path]:
    """What any engine needs to read: the machine's libraries and this Python's."""
    python = [sys.prefix, sys.base_prefix, *filter(os.path.isabs, sys.path)]
    return [Path(one) for one in dict.fromkeys((*_MACHINE, *python))]


def _leave_namespaces() -> int:
    """Leave the machine's network, IPC and mounts; the flags of those that were left."""
    wanted = _NEWNET | _NEWIPC | _NEWNS
    uid, gid = os.getuid(), os.getgid()
    if _libc.unshare(wanted) == 0:
        return wanted
    if _libc.unshare(wanted | _NEWUSER):
        return 0
    # The same numbers inside as outside; without the maps files would seem to be nobody's.
    maps = {"setgroups": "deny", "uid_map": f"{uid} {uid} 1", "gid_map": f"{gid} {gid} 1"}
    with contextlib.suppress(OSError):
        for name, line in maps.items():
            Path("/proc/self", name).write_text(line, "ascii")
    return wanted


def _mount_scratch(size: int) -> bool:
    private, flags = 1 << 18 | 1 << 14, 0b1110  # recursive and private; no suid, devices, programs
    options = f"size={size},nr_inodes=1024,mode=700".encode()
    return (
        _libc.mount(None, b"/", None, private, None) == 0
        and _libc.mount(b"scratch", bytes(SCRATCH), b"tmpfs", flags, options) == 0
    )


def _limit(memory: int, scratch: int) -> str:
    """Limits that cannot be raised again."""
    wanted = {
        resource.RLIMIT_CORE: 0,
        # Address space is not limited: CUDA and TensorFlow reserve far more than they use.
        resource.RLIMIT_DATA: memory,
        # Its own errors go to a file of the server's, which is sealed at this size.
        resource.RLIMIT_FSIZE: max(scratch, 1 << 16),
        resource.RLIMIT_NOFILE: 512,
        resource.RLIMIT_MSGQUEUE: 0,
        resource.RLIMIT_SIGPENDING: 256,
    }
    for kind, value in wanted.items():
        _, hard = resource.getrlimit(kind)
        least = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(kind, (least, least))
    with contextlib.suppress(OSError):
        # Where the machine runs out nevertheless, this process goes first.
        Path("/proc/self/oom_score_adj").write_text("1000", "ascii")
    return "a limit of data, watched by the server"


def _drop_privileges() -> str:
    """No capabilities, and no way to gain any."""
    header = struct.pack("=Ii", _CAPABILITIES_V3, 0)
    dropped = _libc.capset(header, bytes(24)) == 0
    final = _libc.prctl(_NO_NEW_PRIVS, 1, 0, 0, 0) == 0
    return "no capabilities, none to be gained" if dropped and final else ""


def _landlock(read: list[Path], write: list[Path], *, accelerator: bool) -> int:
    """Allow these files and folders and no others; the version of Landlock that holds, or 0."""
    abi = int(_libc.syscall(_CREATE_RULESET, None, ctypes.c_size_t(0), 1))
    if abi < 1:
        return 0
    handled = (1 << (13, 14, 15, 15)[abi - 1]) - 1 if abi < 5 else (1 << 16) - 1
    attributes = [handled] + [0b11] * (abi >= 4) + [0b11] * (abi >= 6)
    packed = struct.pack(f"={len(attributes)}Q", *attributes)
    ruleset = _libc.syscall(_CREATE_RULESET, packed, ctypes.c_size_t(len(packed)), 0)
    if ruleset < 0:
        return 0
    see, use = _READ | _LIST, _READ | _WRITE | _LIST | _IOCTL
    rules = [(path, see) for path in read] + [(path, handled & ~_EXECUTE) for path in write]
    rules.append((Path("/dev/null"), use))
    if accelerator:
        rules += [(Path(one), see) for one in _ACCELERATOR_READ]
        rules += [(Path(one), use) for one in _ACCELERATOR_USE]
    try:
        for path, rights in rules:
            _allow(ruleset, path, rights & handled)
        return abi if _libc.syscall(_RESTRICT_SELF, ruleset, 0) == 0 else 0
    finally:
        os.close(ruleset)


def _allow(ruleset: int, path: Path, rights: int) -> None:
    try:
        opened = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return  # what cannot be found cannot be read either
    try:
        rights = rights if stat.S_ISDIR(os.fstat(opened).st_mode) else rights & _OF_FILES
        beneath = 1
        _libc.syscall(_ADD_RULE, ruleset, beneath, struct.pack("=Qi", rights, opened), 0)
    finally:
        os.close(opened)


if __name__ == "__main__":
    own = raise_wall([], parent=os.getppid(), memory_bytes=1 << 30, scratch_bytes=1 << 20)
    sys.stdout.write(json.dumps(own))
