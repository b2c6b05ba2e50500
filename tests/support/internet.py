"""An internet of two machines: this one in a network namespace, and all others in another.

    unshare -rmn python internet.py FOLDER URL…     asks, and prints what came of it

Names are resolved by the system's own resolver, from a name server on the other machine; addresses
are public ones; both ends are real. On our machine something listens on every address, and nobody
may ever reach it.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import socketserver
import struct
import subprocess
import sys
import threading
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from pathlib import Path
from typing import Any

US, NAMES, SITE = "5.9.0.1", "198.41.0.4", "93.184.215.14"
_A, _CNAME, _AAAA = 1, 5, 28
_KINDS = {_A: "A", _CNAME: "CNAME", _AAAA: "AAAA"}
RECORDS: dict[str, list[list[tuple[int, str]]]] = {
    "ok.example": [[(_A, SITE)]],
    "rebind.example": [[(_A, SITE)], [(_A, "127.0.0.1")]],
    "mixed.example": [[(_A, SITE), (_A, "10.0.0.1")]],
    "mixed6.example": [[(_A, SITE), (_AAAA, "::1")]],
    "nat64.example": [[(_AAAA, "64:ff9b::7f00:1")]],
    "alias.example": [[(_CNAME, "ok.example"), (_A, SITE)]],
    "inner-alias.example": [[(_CNAME, "db.corp.example"), (_A, "127.0.0.1")]],
    "many.example": [[(_A, f"93.184.{n // 250}.{n % 250 + 1}") for n in range(300)]],
    "own.example": [[(_A, US)]],
    "lonely.example.corp.example": [[(_A, SITE)]],
}
"""Answers by name: the first question gets the first, later ones the last."""


# --- the other machine ------------------------------------------------------------------------


class Zone:
    """The name server: what it says, and what it was asked."""

    def __init__(self) -> None:
        self.asked: Counter[str] = Counter()

    def answer(self, question: bytes, most: int) -> bytes:
        name, at = _name(question, 12)
        (kind,) = struct.unpack_from(">H", question, at)
        asked = f"{name} {_KINDS.get(kind, kind)}"
        answers = RECORDS.get(name)
        records = answers[min(self.asked[asked], len(answers) - 1)] if answers else []
        self.asked[asked] += 1
        body = b""
        owner = name
        count = 0
        for form, value in records:
            if form in {kind, _CNAME}:
                body += _record(owner, form, value)
                owner = value if form == _CNAME else owner
                count += 1
        head, asks = question[:2], question[12 : at + 4]
        flags = 0x8580 if answers else 0x8583
        if len(body) + len(asks) + 12 > most:
            body, count, flags = b"", 0, flags | 0x0200
        return head + struct.pack(">5H", flags, 1, count, 0, 0) + asks + body


def _name(packet: bytes, at: int) -> tuple[str, int]:
    labels: list[str] = []
    while packet[at]:
        labels.append(packet[at + 1 : at + 1 + packet[at]].decode())
        at += 1 + packet[at]
    return ".".join(labels).lower(), at + 1


def _record(owner: str, form: int, value: str) -> bytes:
    data = _wire(value) if form == _CNAME else ip_address(value).packed
    return _wire(owner) + struct.pack(">HHIH", form, 1, 0, len(data)) + data


def _wire(name: str) -> bytes:
    return b"".join(bytes([len(one)]) + one.encode() for one in name.split(".")) + b"\0"


def world() -> None:
    """Be all other machines, until standard input ends."""
    print("here", flush=True)
    sys.stdin.readline()
    _ip("link set lo up", "link set v1 up", f"route add {US} dev v1")
    _ip(*(f"addr add {one}/32 dev v1" for one in (NAMES, SITE)))
    zone = Zone()

    class Udp(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            question, sock = self.request
            sock.sendto(zone.answer(question, 512), self.client_address)

    class Tcp(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            while size := self.rfile.read(2):
                said = zone.answer(self.rfile.read(*struct.unpack(">H", size)), 65_535)
                self.wfile.write(struct.pack(">H", len(said)) + said)

    servers = [
        socketserver.ThreadingUDPServer((NAMES, 53), Udp),
        socketserver.ThreadingTCPServer((NAMES, 53), Tcp),
        ThreadingHTTPServer((SITE, 80), _Site),
    ]
    for one in servers:
        threading.Thread(target=one.serve_forever, daemon=True).start()
    print("ready", flush=True)
    sys.stdin.read()
    print(json.dumps(zone.asked), flush=True)


class _Site(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        body = f"{self.headers['host']} at {self.connection.getsockname()[0]}".encode()
        self.send_response(302 if self.path.startswith("/to/") else 200)
        if self.path.startswith("/to/"):
            self.send_header("location", f"http://{self.path[4:]}/")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
        pass


# --- our machine ------------------------------------------------------------------------------


def us(folder: Path, urls: list[str]) -> dict[str, Any]:
    """Ask these addresses as the server would; the folder is for what the system must read."""
    resolv = folder / "resolv.conf"
    resolv.write_text(
        f"nameserver {NAMES}\nsearch corp.example\noptions timeout:1 attempts:1\n", "ascii"
    )
    subprocess.run(["mount", "--bind", str(resolv), "/etc/resolv.conf"], check=True)
    others = subprocess.Popen(
        ["unshare", "-n", sys.executable, __file__],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert others.stdin is not None
    assert others.stdout is not None
    assert others.stdout.readline() == "here\n"
    _ip("link set lo up", "link add v0 type veth peer name v1", "link set v0 up")
    _ip(f"link set v1 netns {others.pid}", f"addr add {US}/32 dev v0", "route add default dev v0")
    others.stdin.write("\n")
    others.stdin.flush()
    assert others.stdout.readline() == "ready\n"
    visitors = _inner()
    outcomes = [asyncio.run(_ask(one)) for one in urls]
    asked = json.loads(others.communicate("")[0])
    return {"outcomes": outcomes, "asked": asked, "visitors": visitors}


async def _ask(url: str) -> str:
    from heliograph.core.errors import HeliographError
    from heliograph.outbound.fetch import Courier
    from heliograph.outbound.pictures import Pictures
    from heliograph.outbound.targets import PUBLIC

    try:
        found = await Pictures(Courier(), PUBLIC, most=1000, seconds=9.0).fetch(url, 9.0, "us")
    except HeliographError as error:
        return str(error.code)
    return found.decode()


def _inner() -> list[str]:
    """What listens on every address of ours; the list of who came."""
    visitors: list[str] = []
    sock = socket.create_server(("", 80))

    def wait() -> None:
        while True:
            came, _ = sock.accept()
            with came, contextlib.suppress(OSError):
                visitors.append(str(came.getsockname()[0]))

    threading.Thread(target=wait, daemon=True).start()
    return visitors


def _ip(*commands: str) -> None:
    for one in commands:
        subprocess.run(["ip", *one.split()], check=True)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        print(json.dumps(us(Path(sys.argv[1]), sys.argv[2:])))
    else:
        world()
