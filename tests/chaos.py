"""Rude clients: broken, cut, hostile and early-closed requests by the thousand, then polite ones.

Every request is made from the seed and its number alone, so that a run can be repeated whatever the
threads did. Against a server of one's own:

    python tests/chaos.py 8000 --requests 10000 --seed 1
"""

from __future__ import annotations

import argparse
import random
import socket
import struct
import sys
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent))

from support import bombs, pictures

Ending = Literal["read", "close", "reset", "half", "vanish"]
"""What a client does after it has sent: read the answer, close, reset, close one half, or go away
without a word and come back to close much later."""

EDGES = b"POST /api/v1/edges?format=json HTTP/1.1\r\nHost: localhost\r\n"
GOOD = [
    pictures.file(pictures.scene((64, 48)), form) for form in ("PNG", "JPEG", "WEBP", "GIF", "BMP")
]
BOMBS = [
    bombs.png_header(65_535, 65_535),
    bombs.png_two_sizes(),
    bombs.png_text_bomb(b"zTXt", 3_000_000),
    bombs.apng(1000, 16, 16),
    bombs.gif(2000),
    bombs.gif(1, extent=(9, 9, 9, 9)),
    bombs.webp_frames(1000, 16, 16),
    bombs.jpeg_scans(640, 480, 600),
    bombs.tiff_directories(99),
    *bombs.FOREIGN.values(),
]
LINES = [
    b"Content-Length: +5", b"Content-Length: 5\r\nContent-Length: 6", b"Content-Length: -1",
    b"Transfer-Encoding: xchunked", b"Transfer-Encoding: chunked\r\nContent-Length: 3",
    b"X: a\0b", b"X: a\r\n b", b" X: a", b"Host: evil",
    b"Upgrade: websocket\r\nConnection: Upgrade",
    b"Expect: 100-continue\r\nContent-Length: 5368709120", b"Content-Length: 99999999999999999999",
    b"Content-Encoding: gzip\r\nContent-Length: 0", b"X: " + b"y" * 20_000,
    b"Content-Type: application/json\r\nContent-Length: 300\r\n\r\n" + b"[" * 300,
    b"Content-Type: multipart/form-data; boundary=B\r\nContent-Length: 9\r\n\r\n--B\r\n\r\nxx",
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Rude:
    """One request: pieces with a pause between them, and what the client does then."""

    pieces: list[bytes]
    ending: Ending
    pause: float = 0.0


def whole(body: bytes) -> bytes:
    return EDGES + b"Content-Length: %d\r\n\r\n" % len(body) + body


def garbage(rng: random.Random) -> bytes:
    return rng.randbytes(rng.randint(1, 4000))


def headed_garbage(rng: random.Random) -> bytes:
    return whole(rng.randbytes(rng.randint(0, 4000)))


def cut_head(rng: random.Random) -> bytes:
    request = whole(rng.choice(GOOD))
    return request[: rng.randint(0, len(EDGES) + 20)]


def cut_body(rng: random.Random) -> bytes:
    request = whole(rng.choice(GOOD))
    return request[: rng.randint(len(EDGES) + 25, len(request))]


def cut_picture(rng: random.Random) -> bytes:
    good = rng.choice(GOOD)
    return whole(good[: rng.randint(0, len(good))])


def bent_picture(rng: random.Random) -> bytes:
    bent = bytearray(rng.choice(GOOD))
    for _ in range(rng.randint(1, 12)):
        bent[rng.randrange(len(bent))] = rng.randrange(256)
    return whole(bytes(bent))


def bent_request(rng: random.Random) -> bytes:
    bent = bytearray(whole(rng.choice(GOOD)))
    for _ in range(rng.randint(1, 4)):
        bent[rng.randrange(len(EDGES) + 30)] = rng.randrange(256)
    return bytes(bent)


def bomb(rng: random.Random) -> bytes:
    return whole(rng.choice(BOMBS))


def bad_lines(rng: random.Random) -> bytes:
    return EDGES + b"\r\n".join(rng.sample(LINES, rng.randint(1, 3))) + b"\r\n\r\nabcde"


def wrong_length(rng: random.Random) -> bytes:
    good = rng.choice(GOOD)
    lie = rng.choice([0, 1, len(good) - 1, len(good) + 1, len(good) * 9, 5 << 30])
    return EDGES + b"Content-Length: %d\r\n\r\n" % lie + good


def chunks(rng: random.Random) -> bytes:
    good = rng.choice(GOOD)
    size = rng.choice([b"%x" % len(good), b"%x" % (len(good) - 1), b"0x4", b"-1", b"f" * 20, b""])
    end = rng.choice([b"\r\n0\r\n\r\n", b"XX0\r\n\r\n", b"", b"\r\n0\r\nA: b\r\n\r\n"])
    return EDGES + b"Transfer-Encoding: chunked\r\n\r\n" + size + b"\r\n" + good + end


def pipeline(rng: random.Random) -> bytes:
    parts = [
        rng.choice([whole(rng.choice(GOOD)), cut_picture(rng), bad_lines(rng)]) for _ in range(4)
    ]
    return b"".join(parts)


def large(rng: random.Random) -> bytes:
    return whole(rng.randbytes(64) * rng.randint(1000, 40_000))


KINDS: list[Callable[[random.Random], bytes]] = [
    garbage, headed_garbage, cut_head, cut_body, cut_picture, bent_picture, bent_request, bomb,
    bad_lines, wrong_length, chunks, pipeline, large,
]  # fmt: skip
WEIGHTS = [3, 3, 3, 3, 3, 4, 3, 3, 3, 2, 3, 2, 0.2]


def rude(seed: int, number: int) -> tuple[str, Rude]:
    """The `number`-th request of a seed, and of which kind it is."""
    rng = random.Random(f"{seed}:{number}")
    kind = rng.choices(KINDS, WEIGHTS)[0]
    data = kind(rng)
    ending: Ending = rng.choices(("read", "close", "reset", "half", "vanish"), (5, 2, 2, 1, 0.3))[0]
    if rng.random() < 0.1:
        cuts = sorted(rng.randrange(len(data) + 1) for _ in range(4))
        pieces = [data[a:b] for a, b in zip([0, *cuts], [*cuts, len(data)], strict=True)]
        return kind.__name__, Rude(pieces, ending, rng.choice([0.0, 0.001, 0.02]))
    return kind.__name__, Rude([data], ending)


@dataclass(slots=True)
class Report:
    """What a run did and what it was answered."""

    kinds: Counter[str] = field(default_factory=Counter[str])
    endings: Counter[str] = field(default_factory=Counter[str])
    answers: Counter[int] = field(default_factory=Counter[int])
    seconds: float = 0.0
    slowest: float = 0.0

    def __str__(self) -> str:
        return (
            f"{self.kinds.total()} rude requests in {self.seconds:.1f} s; "
            f"slowest answer {self.slowest:.2f} s\n"
            f"  kinds    {dict(self.kinds.most_common())}\n"
            f"  endings  {dict(self.endings.most_common())}\n"
            f"  answers  {dict(sorted(self.answers.items()))}  (0: none)"
        )


def behave(port: int, one: Rude) -> tuple[int, float]:
    """Be this client: the status of the first answer (0 for none), and after how long it came."""
    began = time.monotonic()
    with socket.create_connection(("127.0.0.1", port), timeout=10) as sock:
        try:
            for piece in one.pieces:
                sock.sendall(piece)
                if one.pause:
                    time.sleep(one.pause)
            if one.ending == "half":
                sock.shutdown(socket.SHUT_WR)
            if one.ending == "reset":
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            if one.ending == "vanish":
                time.sleep(0.2)
            if one.ending not in {"read", "half"}:
                return 0, 0.0
            # A request that is not whole is answered by nobody; its client gives up.
            sock.settimeout(0.05 if one.ending == "read" else 5)
            said = sock.recv(4096)
        except (ConnectionError, TimeoutError):
            return 0, 0.0
    if not said:
        return 0, 0.0
    return int(said[9:12]), time.monotonic() - began


def run(port: int, *, seed: int, requests: int, clients: int = 24) -> Report:
    """Send them all, so many at a time."""
    report = Report()
    began = time.monotonic()

    def one(number: int) -> tuple[str, Rude, int, float]:
        kind, request = rude(seed, number)
        return kind, request, *behave(port, request)

    with ThreadPoolExecutor(clients) as crowd:
        for kind, request, status, seconds in crowd.map(one, range(requests)):
            report.kinds[kind] += 1
            report.endings[request.ending] += 1
            report.answers[status] += 1
            report.slowest = max(report.slowest, seconds)
    report.seconds = time.monotonic() - began
    return report


def polite(port: int, requests: int) -> Counter[int]:
    """So many good requests, one after the other: their statuses."""
    answers = Counter[int]()
    for number in range(requests):
        good = Rude([whole(GOOD[number % len(GOOD)])], "half")
        with socket.create_connection(("127.0.0.1", port), timeout=10) as sock:
            sock.sendall(good.pieces[0])
            answers[int(sock.recv(4096)[9:12] or b"0")] += 1
    return answers


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("port", type=int)
    parser.add_argument("--requests", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    print(run(given.port, seed=given.seed, requests=given.requests))
    print("polite:", dict(polite(given.port, 100)))


if __name__ == "__main__":
    main()
