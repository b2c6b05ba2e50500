"""The pictures in a request's body: raw bytes, multipart files, or JSON with base64 or a URL.

The body is whole in memory and bounded by the wire's limit when this runs. A content type decides
only between the three shapes; what kind of picture it is, the bytes themselves say later.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass, field
from typing import Any, cast

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from heliograph.core.errors import Code, HeliographError
from heliograph.edge.http import strictjson

_TEXT_PART = 64 << 10
_PART_HEADERS = 16
_EPILOGUE = 1024
_BOUNDARY = 70
_URL = 2048
_RAW = {"", "application/octet-stream", "application/x-www-form-urlencoded", "binary/octet-stream"}


@dataclass(slots=True)
class File:
    """One picture of a body.

    Attributes:
        data: its bytes; none if it lies elsewhere.
        name: what the client calls it; never a path.
        url: where it lies instead; nothing but its length has been looked at.
    """

    data: bytes
    name: str = ""
    url: str = ""


def pictures(content_type: str, body: bytes, most: int) -> tuple[list[File], bool]:
    """Find the pictures in a body.

    Args:
        content_type: the header as sent; empty for none.
        body: all of it.
        most: most pictures in one call.

    Returns:
        The pictures in order, and whether the body was a list of several.

    Raises:
        HeliographError: `empty_file`, `multipart_malformed`, `too_many_parts`, `too_large`,
            `unsupported_media` or one of the JSON codes.
    """
    kind = content_type.partition(";")[0].strip().lower()
    if kind == "multipart/form-data":
        files = _multipart(content_type, body, most)
        return files, len(files) > 1
    if kind == "application/json":
        return [_json(body)], False
    # curl --data-binary says x-www-form-urlencoded; a picture is one whatever it is called.
    if kind in _RAW or kind.startswith("image/"):
        return [File(body)], False
    raise HeliographError(
        Code.UNSUPPORTED_MEDIA,
        f"Content-Type {kind[:60]!r} is not accepted. Send the picture itself (image/*), "
        "multipart/form-data with files, or application/json.",
    )


def _json(body: bytes) -> File:
    said = strictjson.parse(body)
    if not isinstance(said, dict):
        raise HeliographError(
            Code.VALIDATION, 'Expected an object: {"image": "<base64>"} or {"url": "https://…"}.'
        )
    unknown = sorted(set(said) - {"image", "url"})
    if unknown:
        raise HeliographError(
            Code.UNKNOWN_FIELD, f"Unknown field {str(unknown[0])[:60]!r}; known: image, url."
        )
    if "url" in said:
        return _elsewhere(cast("dict[str, Any]", said))
    text = said.get("image")
    if not isinstance(text, str):
        raise HeliographError(Code.VALIDATION, "Expected 'image' to be a base64 string.")
    if text.startswith("data:"):
        text = text.partition(",")[2]
    try:
        return File(base64.b64decode(text, validate=True))
    except (binascii.Error, ValueError) as error:
        raise HeliographError(
            Code.BAD_REQUEST, "'image' is not valid base64 (RFC 4648, with padding)."
        ) from error


def _elsewhere(said: dict[str, Any]) -> File:
    url = said["url"]
    if "image" in said:
        raise HeliographError(Code.VALIDATION, "Send 'image' or 'url', not both.")
    if not isinstance(url, str) or not 0 < len(url) <= _URL:
        raise HeliographError(
            Code.VALIDATION, f"Expected 'url' to be an address of at most {_URL} characters."
        )
    return File(b"", url=url)


@dataclass(slots=True)
class _Part:
    headers: dict[str, str] = field(default_factory=dict[str, str])
    data: bytearray = field(default_factory=bytearray)


class _Reader:
    """Callbacks of python-multipart's parser: gathers parts, holds the limits."""

    def __init__(self, most: int) -> None:
        self.parts: list[_Part] = []
        self.ended = False
        self._most = most
        self._name = b""
        self._value = b""

    def on_part_begin(self) -> None:
        if len(self.parts) >= self._most:
            raise _too_many(self._most)
        self.parts.append(_Part())

    def on_header_field(self, data: bytes, start: int, end: int) -> None:
        self._name += data[start:end]

    def on_header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def on_header_end(self) -> None:
        headers = self.parts[-1].headers
        # Latin-1 keeps every byte; a name in UTF-8 is read as such where it is needed.
        headers[self._name.decode("latin-1").lower()] = self._value.decode("latin-1")
        self._name = self._value = b""

    def on_headers_finished(self) -> None:
        pass

    def on_part_data(self, data: bytes, start: int, end: int) -> None:
        part = self.parts[-1]
        part.data += memoryview(data)[start:end]
        if len(part.data) > _TEXT_PART and "filename" not in part.headers.get(
            "content-disposition", ""
        ):
            raise HeliographError(
                Code.TOO_LARGE,
                f"A part without a file name may be {_TEXT_PART} bytes; name your files.",
            )

    def on_end(self) -> None:
        self.ended = True


def _multipart(content_type: str, body: bytes, most: int) -> list[File]:
    boundary = parse_options_header(content_type)[1].get(b"boundary", b"")
    if not 0 < len(boundary) <= _BOUNDARY:
        raise _malformed("the boundary is missing or longer than 70 characters (RFC 2046)")
    # Text before and after the parts is legal but nobody sends any; megabytes of it are an attack.
    if b"--" + boundary not in body[: len(boundary) + 8]:
        raise _malformed("it does not begin with its boundary")
    if b"--" + boundary + b"--" not in body[-len(boundary) - _EPILOGUE :]:
        raise _malformed("it does not end with its closing boundary; was it cut short?")
    # Every line that begins with the boundary is one (RFC 2046), whatever follows it; the parser
    # would look at each, and millions take it seconds.
    if body.count(b"\r\n--" + boundary) > most + 1:
        raise _too_many(most)
    reader = _Reader(most)
    callbacks = {name: getattr(reader, name) for name in dir(_Reader) if name.startswith("on_")}
    try:
        parser = MultipartParser(boundary, callbacks, max_header_count=_PART_HEADERS)  # type: ignore[arg-type]
        parser.write(body)
        parser.finalize()
    except FormParserError as error:
        raise _malformed("its parts cannot be told apart") from error
    if not reader.ended:
        raise _malformed("its closing boundary is missing; the body was cut short")
    files = [File(bytes(part.data), _name(part)) for part in reader.parts if _is_file(part)]
    if not files:
        raise HeliographError(
            Code.EMPTY_FILE, "The multipart body holds no file. Send it as -F image=@photo.jpg."
        )
    return files


def _is_file(part: _Part) -> bool:
    said = part.headers.get("content-disposition", "")
    return "filename" in said or part.headers.get("content-type", "").startswith("image/")


def _name(part: _Part) -> str:
    said = parse_options_header(part.headers.get("content-disposition", ""))[1]
    raw = said.get(b"filename", b"").decode("utf-8", "replace")
    return "".join(one if one.isprintable() else "\ufffd" for one in raw)[:200]


def _too_many(most: int) -> HeliographError:
    return HeliographError(Code.TOO_MANY_PARTS, f"At most {most} parts are taken in one call.")


def _malformed(why: str) -> HeliographError:
    return HeliographError(Code.MULTIPART_MALFORMED, f"The multipart body is not valid: {why}.")
