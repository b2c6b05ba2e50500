"""A filter of system calls for model workers, assembled here and handed to the kernel.

Landlock (`runtimes/wall.py`) says which files a worker may open; this says which calls it may make
at all. Engines differ too much for a list of what is allowed, so it is a list of what is refused:
starting programs and processes, sockets, touching other processes, changing files' owners and
modes (which Landlock does not cover), and parts of the kernel with a record of holes.

Covered: x86-64 and 64-bit ARM. Not covered: other processors (`install` says so), and whatever a
call that is allowed does inside the kernel.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import struct

_LOAD, _JUMP_EQUAL, _JUMP_AT_LEAST, _JUMP_ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_ALLOW, _KILL, _ERRNO = 0x7FFF0000, 0x80000000, 0x00050000
_NUMBER, _ARCHITECTURE, _ARGUMENTS = 0, 4, 16

_MACHINES = {"x86_64": (0xC000003E, 0), "aarch64": (0xC00000B7, 1)}
"""Machine -> the kernel's name for it, and its column in the tables below."""

_NEWEST = 452
"""Calls from here on are younger than this list; they seem not to exist: libraries fall back."""

_X32 = 0x40000000

Numbers = tuple[int | None, int | None]

_REFUSED: dict[str, Numbers] = {
    # programs and processes
    "execve": (59, 221), "execveat": (322, 281), "fork": (57, None), "vfork": (58, None),
    "setsid": (112, 157), "setpgid": (109, 154), "personality": (135, 92),
    # other processes
    "ptrace": (101, 117), "process_vm_readv": (310, 270), "process_vm_writev": (311, 271),
    "pidfd_open": (434, 434), "pidfd_getfd": (438, 438), "pidfd_send_signal": (424, 424),
    "tkill": (200, 130), "rt_sigqueueinfo": (129, 138), "rt_tgsigqueueinfo": (297, 240),
    "kcmp": (312, 272), "process_madvise": (440, 440), "process_mrelease": (448, 448),
    "move_pages": (279, 239), "migrate_pages": (256, 238),
    # the network
    "socket": (41, 198), "connect": (42, 203), "bind": (49, 200), "listen": (50, 201),
    "accept": (43, 202), "accept4": (288, 242),
    # memory that no limit counts
    "memfd_create": (319, 279), "memfd_secret": (447, 447), "shmget": (29, 194),
    "shmat": (30, 196), "msgget": (68, 186), "semget": (64, 190), "mq_open": (240, 180),
    # files' owners, modes and times
    "chmod": (90, None), "fchmod": (91, 52), "fchmodat": (268, 53), "chown": (92, None),
    "lchown": (94, None), "fchown": (93, 55), "fchownat": (260, 54), "setxattr": (188, 5),
    "lsetxattr": (189, 6), "fsetxattr": (190, 7), "removexattr": (197, 14),
    "lremovexattr": (198, 15), "fremovexattr": (199, 16), "utime": (132, None),
    "utimes": (235, None), "futimesat": (261, None), "utimensat": (280, 88),
    "sync": (162, 81), "syncfs": (306, 267),
    # mounts and namespaces
    "mount": (165, 40), "umount2": (166, 39), "pivot_root": (155, 41), "chroot": (161, 51),
    "move_mount": (429, 429), "open_tree": (428, 428), "fsopen": (430, 430),
    "fsconfig": (431, 431), "fsmount": (432, 432), "fspick": (433, 433),
    "mount_setattr": (442, 442), "unshare": (272, 97), "setns": (308, 268),
    "name_to_handle_at": (303, 264), "open_by_handle_at": (304, 265),
    # parts of the kernel that engines do not need
    "io_uring_setup": (425, 425), "io_uring_enter": (426, 426), "io_uring_register": (427, 427),
    "userfaultfd": (323, 282), "bpf": (321, 280), "perf_event_open": (298, 241),
    "keyctl": (250, 219), "add_key": (248, 217), "request_key": (249, 218),
    "inotify_init": (253, None), "inotify_init1": (294, 26), "fanotify_init": (300, 262),
    "iopl": (172, None), "ioperm": (173, None), "modify_ldt": (154, None),
    "seccomp": (317, 277), "syslog": (103, 116),
}  # fmt: skip

_PRETENDED: dict[str, Numbers] = {
    "sched_setaffinity": (203, 122), "sched_setscheduler": (144, 119),
    "sched_setparam": (142, 118), "sched_setattr": (314, 274), "setpriority": (141, 140),
    "ioprio_set": (251, 30),
}  # fmt: skip
"""Engines ask for these and do as well without: told they succeeded, nothing is done.

They take other processes' numbers, and would slow the server down.
"""

_KILL_CALL, _TGKILL, _PRLIMIT = (62, 129), (234, 131), (302, 261)
_CLONE, _CLONE3, _MMAP, _PRCTL = (56, 220), (435, 435), (9, 222), (157, 167)

_CLONE_THREAD = 0x10000
_MAP_SHARED, _MAP_ANONYMOUS, _MAP_GROWSDOWN = 0x01, 0x20, 0x100
_PR_SET_PDEATHSIG, _PR_SET_SECCOMP = 1, 22


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("code", ctypes.c_void_p))


class _Assembler:
    """Instructions in the order they are said; every rule leaves the call's number loaded."""

    def __init__(self) -> None:
        self.code: list[tuple[int, int, int, int]] = []

    def say(self, operation: int, value: int, yes: int = 0, no: int = 0) -> None:
        self.code.append((operation, yes, no, value))

    def refuse(self, number: int, error: int) -> None:
        self.say(_JUMP_EQUAL, number, 0, 1)
        self.say(_RETURN, _ERRNO | error)

    def when(self, number: int, argument: int, tests: list[tuple[int, int, int, int]]) -> None:
        """On this call only: load an argument's lower half and run `tests`."""
        body = [(_LOAD, 0, 0, _ARGUMENTS + 8 * argument), *tests, (_LOAD, 0, 0, _NUMBER)]
        self.say(_JUMP_EQUAL, number, 0, len(body))
        self.code += body


def assemble(machine: str, pid: int) -> bytes | None:
    """The filter as the kernel reads it; None for a processor without a table.

    Args:
        machine: as `platform.machine()` says it.
        pid: the only process that may be signalled and limited: the worker's own.
    """
    if machine not in _MACHINES:
        return None
    architecture, column = _MACHINES[machine]
    refused = (_RETURN, 0, 0, _ERRNO | errno.EPERM)
    out = _Assembler()
    out.say(_LOAD, _ARCHITECTURE)
    out.say(_JUMP_EQUAL, architecture, 1, 0)
    out.say(_RETURN, _KILL)
    out.say(_LOAD, _NUMBER)
    out.say(_JUMP_AT_LEAST, _X32 if machine == "x86_64" else 1 << 31, 0, 1)
    out.say(_RETURN, _KILL)
    out.say(_JUMP_AT_LEAST, _NEWEST, 0, 1)
    out.say(_RETURN, _ERRNO | errno.ENOSYS)
    # Its flags lie behind a pointer, which a filter cannot follow; libraries fall back to `clone`.
    out.refuse(_CLONE3[column], errno.ENOSYS)
    only_own = [(_JUMP_EQUAL, 1, 0, pid), refused]
    out.when(_KILL_CALL[column], 0, only_own)
    out.when(_TGKILL[column], 0, only_own)
    out.when(_PRLIMIT[column], 0, [(_JUMP_EQUAL, 2, 0, 0), *only_own])
    out.when(_CLONE[column], 0, [(_JUMP_ANY_BIT, 1, 0, _CLONE_THREAD), refused])
    out.when(_PRCTL[column], 0, [(_JUMP_EQUAL, 0, 1, _PR_SET_PDEATHSIG), refused])
    # Shared memory without a file, and stacks that grow, are counted by no limit.
    out.when(_MMAP[column], 3, [
        (_JUMP_ANY_BIT, 2, 0, _MAP_GROWSDOWN),
        (_JUMP_ANY_BIT, 0, 2, _MAP_ANONYMOUS),
        (_JUMP_ANY_BIT, 0, 1, _MAP_SHARED),
        refused,
    ])  # fmt: skip
    for table, error in ((_REFUSED, errno.EPERM), (_PRETENDED, 0)):
        for numbers in table.values():
            number = numbers[column]
            if number is not None:
                out.refuse(number, error)
    out.say(_RETURN, _ALLOW)
    return b"".join(struct.pack("=HBBI", *one) for one in out.code)


def install() -> bool:
    """Put this thread, and the threads it will start, behind the filter for good.

    `PR_SET_NO_NEW_PRIVS` must have been set. Returns whether it holds.
    """
    code = assemble(platform.machine(), os.getpid())
    if code is None:
        return False
    kept = ctypes.create_string_buffer(code, len(code))
    program = _Program(len(code) // 8, ctypes.addressof(kept))
    libc = ctypes.CDLL(None, use_errno=True)
    filtering = 2
    return libc.prctl(_PR_SET_SECCOMP, filtering, ctypes.byref(program), 0, 0) == 0
