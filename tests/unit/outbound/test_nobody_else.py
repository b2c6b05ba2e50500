"""Row B121, as a law: whoever else connects outward is listed here, and says to whom."""

from __future__ import annotations

import ast
from pathlib import Path

SOURCE = Path(__file__).parents[3] / "src" / "heliograph"
OUTWARD = {
    *("httpx", "requests", "aiohttp", "urllib.request", "urllib3", "http.client", "websockets"),
    *("smtplib", "ftplib", "obstore", "boto3", "fsspec", "acme", "huggingface_hub"),
}
"""Libraries that open connections to addresses which they are given."""
KNOWN = {
    "client/aio.py": "the client's side of the wire, to the server that its user names",
    "client/core.py": "likewise",
    "client/sync.py": "likewise",
    "edge/tls/acme.py": "the certificate authority of the operator's settings",
    "notices/mailers.py": "the mail server of the operator's settings",
    "registry/importing/bucket.py": "the watched place of the operator's settings",
    "registry/importing/download.py": "hosts that the operator names on the command line",
    "storage/objects.py": "the object store of the operator's settings",
}
LOADERS = {"VideoCapture", "load_image", "urlopen", "urlretrieve", "create_connection"}
"""Functions that take addresses where one thinks of files, or connect without a guard."""


def imported(tree: ast.AST) -> set[str]:
    names = set[str]()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {one.name for one in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names |= {node.module, *(f"{node.module}.{one.name}" for one in node.names)}
    return names


def called(tree: ast.AST) -> set[str]:
    functions = (node.func for node in ast.walk(tree) if isinstance(node, ast.Call))
    return {
        one.attr if isinstance(one, ast.Attribute) else one.id
        for one in functions
        if isinstance(one, ast.Attribute | ast.Name)
    }


def test_whatever_leaves_the_house_passes_the_guard() -> None:
    found = set[str]()
    for path in SOURCE.rglob("*.py"):
        text = path.read_text("utf-8")
        if not any(one in text for one in (*OUTWARD, *LOADERS)):
            continue
        tree = ast.parse(text)
        name = path.relative_to(SOURCE).as_posix()
        names = imported(tree)
        if any(one in OUTWARD or one.partition(".")[0] in OUTWARD for one in names):
            found.add(name)
        assert not called(tree) & LOADERS, f"{name} connects by itself: use outbound/fetch.py"
    strange = found - set(KNOWN)
    assert not strange, (
        f"{sorted(strange)} connect outward. An address that a caller gave goes through "
        "outbound/fetch.py; one of the operator's own is listed here, with the reason."
    )
