"""A small object store over HTTP: what S3 does to list, give, take and delete objects."""

from __future__ import annotations

import hashlib
import re
import threading
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape

NAME = "models"


@dataclass(slots=True)
class Store:
    """A running store of one bucket.

    Attributes:
        address: its endpoint.
        objects: content by key; change them as you like.
        heard: methods and targets so far.
        page: most keys of one answer to a listing.
        sick: answer every call with this status.
        parts: pieces of uploads that are not complete, by upload and number.
    """

    address: str = ""
    objects: dict[str, bytes] = field(default_factory=dict[str, bytes])
    heard: list[str] = field(default_factory=list[str])
    page: int = 1000
    sick: int = 0
    parts: dict[tuple[str, int], bytes] = field(default_factory=dict[tuple[str, int], bytes])

    @property
    def environ(self) -> dict[str, str]:
        """What a client needs to know."""
        return {
            "AWS_ENDPOINT_URL": self.address,
            "AWS_ALLOW_HTTP": "true",
            "AWS_REGION": "nowhere-1",
            "AWS_ACCESS_KEY_ID": "tester",
            "AWS_SECRET_ACCESS_KEY": "secret",
        }


def etag(data: bytes) -> str:
    return f'"{hashlib.md5(data, usedforsecurity=False).hexdigest()}"'


@contextmanager
def storing() -> Generator[Store]:
    """A store on a free port of this machine."""
    store = Store()
    http = ThreadingHTTPServer(("127.0.0.1", 0), _handler(store))
    http.daemon_threads = True
    store.address = f"http://127.0.0.1:{http.server_address[1]}"
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield store
    finally:
        http.shutdown()
        thread.join()
        http.server_close()


def _handler(store: Store) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            store.heard.append(f"{self.command} {self.path}")
            said = {name.lower(): value for name, value in self.headers.items()}
            given = self.rfile.read(int(said.get("content-length", "0")))
            if self.command == "GET":
                status, body, headers = _reply(store, self.path, said)
            else:
                status, body, headers = _change(store, self.command, self.path, said, given)
            self.send_response(status)
            for name, value in {**headers, "content-length": str(len(body))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        do_PUT = do_POST = do_DELETE = do_GET  # noqa: N815 - the names that the library calls

        def log_message(self, *_: object, **__: object) -> None:
            pass

    return Handler


Reply = tuple[int, bytes, dict[str, str]]


def _reply(store: Store, path: str, headers: dict[str, str]) -> Reply:
    target = urlsplit(path)
    bucket, _, key = unquote(target.path).lstrip("/").partition("/")
    if store.sick:
        return _refusal(store.sick, "Sick")
    if "Credential=tester/" not in headers.get("authorization", ""):
        return _refusal(403, "AccessDenied")
    if bucket != NAME:
        return _refusal(404, "NoSuchBucket")
    if not key:
        query = {name: one[0] for name, one in parse_qs(target.query).items()}
        return 200, _listing(store, query), {"content-type": "application/xml"}
    return _object(store.objects.get(key), headers)


def _change(store: Store, verb: str, path: str, headers: dict[str, str], given: bytes) -> Reply:
    """Take or delete an object, as a whole or in parts."""
    target = urlsplit(path)
    query = {name: one[0] for name, one in parse_qs(target.query, keep_blank_values=True).items()}
    key = unquote(target.path).lstrip("/").partition("/")[2]
    if store.sick:
        return _refusal(store.sick, "Sick")
    if "Credential=tester/" not in headers.get("authorization", ""):
        return _refusal(403, "AccessDenied")
    xml = {"content-type": "application/xml"}
    if verb == "DELETE":
        store.objects.pop(key, None)
        return 204, b"", {}
    if verb == "POST" and "delete" in query:
        gone = re.findall(r"<Key>([^<]+)</Key>", given.decode())
        for one in gone:
            store.objects.pop(one, None)
        parts = "".join(f"<Deleted><Key>{one}</Key></Deleted>" for one in gone)
        return 200, f"<DeleteResult>{parts}</DeleteResult>".encode(), xml
    if verb == "POST" and "uploads" in query:
        made = f"up{len(store.heard)}"
        answer = f"<InitiateMultipartUploadResult><UploadId>{made}</UploadId>"
        return 200, (answer + "</InitiateMultipartUploadResult>").encode(), xml
    if verb == "PUT" and "uploadId" in query:
        store.parts[query["uploadId"], int(query["partNumber"])] = given
        return 200, b"", {"etag": etag(given)}
    if verb == "POST":
        numbers = sorted(number for one, number in store.parts if one == query["uploadId"])
        given = b"".join(store.parts.pop((query["uploadId"], number)) for number in numbers)
    store.objects[key] = given
    answer = f"<CompleteMultipartUploadResult><ETag>{escape(etag(given))}</ETag>"
    body = b"" if verb == "PUT" else (answer + "</CompleteMultipartUploadResult>").encode()
    return 200, body, xml | {"etag": etag(given)}


def _refusal(status: int, code: str) -> Reply:
    return status, f"<Error><Code>{code}</Code></Error>".encode(), {}


def _object(data: bytes | None, headers: dict[str, str]) -> Reply:
    """A whole object, or the range of it that is asked for."""
    if data is None:
        return _refusal(404, "NoSuchKey")
    wanted = headers.get("if-match")
    if wanted and wanted != etag(data):
        return _refusal(412, "PreconditionFailed")
    about = {"etag": etag(data), "last-modified": formatdate(0, usegmt=True)}
    said = headers.get("range", "").removeprefix("bytes=")
    if not said:
        return 200, data, about
    start, _, last = said.partition("-")
    end = min(int(last) + 1, len(data))
    return (
        206,
        data[int(start) : end],
        about | {"content-range": f"bytes {start}-{end - 1}/{len(data)}"},
    )


def _listing(store: Store, query: dict[str, str]) -> bytes:
    """An answer to ListObjectsV2; the token is the last key of the page before."""
    prefix, after = query.get("prefix", ""), query.get("continuation-token", "")
    keys = sorted(one for one in store.objects if one.startswith(prefix) and one > after)
    page = keys[: store.page]
    parts = [
        f"<Contents><Key>{escape(key)}</Key><LastModified>2026-01-01T00:00:00.000Z</LastModified>"
        f"<ETag>{escape(etag(store.objects[key]))}</ETag><Size>{len(store.objects[key])}</Size>"
        f"<StorageClass>STANDARD</StorageClass></Contents>"
        for key in page
    ]
    more = len(keys) > len(page)
    token = f"<NextContinuationToken>{escape(page[-1])}</NextContinuationToken>" if more else ""
    return (
        '<?xml version="1.0" encoding="UTF-8"?>'
        '<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
        f"<Name>{NAME}</Name><Prefix>{escape(prefix)}</Prefix><KeyCount>{len(page)}</KeyCount>"
        f"<MaxKeys>{store.page}</MaxKeys><IsTruncated>{str(more).lower()}</IsTruncated>"
        f"{token}{''.join(parts)}</ListBucketResult>"
    ).encode()
