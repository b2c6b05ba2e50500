"""Freed memory goes back to the system when it is asked for."""

from __future__ import annotations

import subprocess
import sys

import pytest

# Many small pieces, of which the last one stays: the allocator cannot shrink by itself.
PROGRAM = """
import ctypes, gc
from pathlib import Path
from heliograph.runtimes.heap import give_back

def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096

libc = ctypes.CDLL(None)
libc.malloc.restype = ctypes.c_void_p
pieces = [libc.malloc(ctypes.c_size_t(4096)) for _ in range(20_000)]
for one in pieces:
    ctypes.memset(one, 1, 4096)
full = resident()
for one in pieces[:-1]:
    libc.free(ctypes.c_void_p(one))
kept = resident()
give_back()
print(full - kept, full - resident())
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc's")
def test_what_was_freed_is_given_back() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True
    )
    by_itself, asked = map(int, done.stdout.split())
    assert by_itself < 10 << 20
    assert asked > 60 << 20
