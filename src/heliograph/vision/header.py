"""What a picture file says of itself, read without decoding a pixel.

First step of the way of a picture: bytes -> **Header** -> (limits) -> pixels. The format is
recognised by content, never by a name or a content type; size, frames and metadata are counted
from the container alone, so that a bomb is refused before it costs memory.

Covered: JPEG, PNG/APNG, WebP, BMP, GIF. Not covered here: HEIC, AVIF and TIFF, which only the
`formats` extra reads (`vision/decode.py`) after a look at their size by that library.

Sources: ITU-T T.81 (JPEG), PNG 3rd edition (W3C), RFC 9649 (WebP), GIF89a, BITMAPINFOHEADER.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass, replace

from heliograph.core.errors import Code, HeliographError
from heliograph.vision.exif import orientation


@dataclass(frozen=True, slots=True)
class Header:
    """What the container declares.

    Attributes:
        format: `jpeg`, `png`, `webp`, `bmp` or `gif` (or an extra format's name).
        width: stored pixels per row, before EXIF orientation.
        height: stored rows.
        frames: pictures in the file (animation frames); counting stops past the limit.
        metadata: bytes of EXIF, XMP, ICC and text in the file.
        orientation: EXIF orientation 1-8; absent or invalid values read as 1.
        baseline: False for a JPEG that the fast decoder does not take: arithmetic coding, lossless,
            12 bits, CMYK or YCCK.
    """

    format: str
    width: int
    height: int
    frames: int = 1
    metadata: int = 0
    orientation: int = 1
    baseline: bool = True

    @property
    def upright(self) -> tuple[int, int]:
        """(width, height) after EXIF orientation."""
        if self.orientation >= 5:
            return self.height, self.width
        return self.width, self.height


def corrupt(what: str) -> HeliographError:
    """The error for a file whose container is damaged; `what` names the place."""
    return HeliographError(
        Code.IMAGE_CORRUPT, f"The picture is damaged or cut short: {what}. Send the file again."
    )


def sniff(data: bytes) -> str | None:
    """Recognise a picture format from its first bytes; None when it is none of those known."""
    if data[:3] == b"\xff\xd8\xff":
        return "jpeg"
    if data[:8] == b"\x89PNG\r\n\x1a\n":
        return "png"
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "webp"
    if data[:6] in {b"GIF87a", b"GIF89a"}:
        return "gif"
    if data[:2] == b"BM" and len(data) >= 26 and data[14:18] in _BMP_HEADERS:
        return "bmp"
    if data[4:8] == b"ftyp" and data[8:12] in _HEIF_BRANDS:
        return "avif" if data[8:12] in {b"avif", b"avis"} else "heic"
    if data[:4] in {b"II*\x00", b"MM\x00*"}:
        return "tiff"
    return None


_BMP_HEADERS = {struct.pack("<I", size) for size in (12, 40, 52, 56, 64, 108, 124)}
_HEIF_BRANDS = {b"avif", b"avis", b"heic", b"heix", b"mif1", b"msf1", b"hevc", b"hevx"}
_FRAMES_COUNTED = 1024
_SCANS = 500  # honest progressive JPEGs have about ten; each costs time by the picture's size
_FILL = re.compile(rb"\xff+")
_ALONE = {0x01, *range(0xD0, 0xD8)}
_FRAME_HEADERS = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}
_PNG_METADATA = {b"tEXt", b"zTXt", b"iTXt", b"iCCP", b"eXIf"}


def read_header(data: bytes) -> Header:
    """Read the header of one of the five built-in formats.

    Args:
        data: the file's bytes.

    Raises:
        HeliographError: `empty_file`, `unsupported_media` (not one of the five), `image_corrupt`.
    """
    if not data:
        raise HeliographError(Code.EMPTY_FILE, "The picture is empty: 0 bytes were sent.")
    found = sniff(data)
    reader = _READERS.get(found or "")
    if reader is None:
        if _looks_cut(data):
            raise corrupt("only the start of a file came")
        name = f" This looks like {found.upper()}." if found else ""
        raise HeliographError(
            Code.UNSUPPORTED_MEDIA,
            f"Accepted are JPEG, PNG, WebP, BMP and GIF, recognised by content.{name}",
        )
    try:
        header = reader(data)
    except (struct.error, IndexError) as error:
        raise corrupt("the header ends early") from error
    if header.width <= 0 or header.height <= 0:
        raise corrupt(f"it declares {header.width} x {header.height} pixels")
    return header


def _looks_cut(data: bytes) -> bool:
    magics = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF89a", b"GIF87a")
    return len(data) < 12 and (
        any(magic.startswith(data) for magic in magics) or data[:4] == b"RIFF" or data[:2] == b"BM"
    )


def _pieces(data: bytes) -> Iterator[bool]:
    """True for each piece that a file of this size may honestly be made of; then an error.

    Who cuts 20 MB into millions of empty blocks wants the walk through them to take seconds.
    """
    for _ in range(1000 + len(data) // 128):
        yield True
    raise corrupt("it is cut into far too many pieces")


def _jpeg(data: bytes) -> Header:
    at, metadata, turned, adobe = 2, 0, 1, -1
    pieces = _pieces(data)
    while next(pieces):
        start = _FILL.match(data, at)
        if start is None:
            raise corrupt("a JPEG marker is missing")
        at = start.end() + 1
        marker = data[at - 1]
        if marker in _ALONE:
            continue
        if marker in {0xD8, 0xD9, 0xDA}:
            raise corrupt("a JPEG without a frame header")
        (size,) = struct.unpack_from(">H", data, at)
        body = data[at + 2 : at + size]
        if marker in _FRAME_HEADERS:
            width, height, parts = _jpeg_frame(marker, body)
            if marker == 0xC2 and data.count(b"\xff\xda", at) > _SCANS:
                raise corrupt(f"it has more than {_SCANS} scans")
            # Adobe transform 0 with three components is RGB stored as such; the decoder handles it.
            baseline = parts != 4 and adobe != 2
            return Header("jpeg", width, height, 1, metadata, turned, baseline)
        if 0xE0 <= marker <= 0xEF or marker == 0xFE:
            metadata += size
            if marker == 0xE1 and body[:6] == b"Exif\x00\x00" and turned == 1:
                turned = orientation(body[6:])
            if marker == 0xEE and body[:5] == b"Adobe" and len(body) >= 12:
                adobe = body[11]
        at += size
    raise AssertionError("the pieces of a file end with an error")


def _jpeg_frame(marker: int, body: bytes) -> tuple[int, int, int]:
    """Width, height and number of components."""
    precision, height, width, parts = struct.unpack_from(">BHHB", body)
    if marker > 0xC2 or precision != 8 or parts not in {1, 3, 4}:
        raise HeliographError(
            Code.UNSUPPORTED_MEDIA,
            "This JPEG is arithmetic-coded, lossless or not 8 bits deep. "
            "Save it as an ordinary (Huffman-coded, 8-bit) JPEG or as PNG.",
        )
    return width, height, parts


def _png(data: bytes) -> Header:
    if data[12:16] != b"IHDR":
        raise corrupt("a PNG without IHDR")
    width, height = struct.unpack_from(">II", data, 16)
    header = Header("png", width, height)
    at, metadata, frames, turned = 8, 0, 1, 1
    pieces = _pieces(data)
    while at + 8 <= len(data) and next(pieces):
        (size,) = struct.unpack_from(">I", data, at)
        kind = data[at + 4 : at + 8]
        if kind in _PNG_METADATA:
            metadata += size
            if kind == b"eXIf":
                turned = orientation(data[at + 8 : at + 8 + size])
        elif kind == b"acTL":
            frames = max(frames, *struct.unpack_from(">I", data, at + 8))
        elif kind == b"IEND":
            break
        at += 12 + size
    return replace(header, frames=frames, metadata=metadata, orientation=turned)


def png_pixels_only(data: bytes) -> bytes:
    """A PNG without its text, colour profile and EXIF: none of it is used, some of it are bombs."""
    kept, at, kind = [data[:8]], 8, b""
    while at + 8 <= len(data) and kind != b"IEND":
        (size,) = struct.unpack_from(">I", data, at)
        kind = data[at + 4 : at + 8]
        if kind not in _PNG_METADATA:
            kept.append(data[at : at + 12 + size])
        at += 12 + size
    return b"".join(kept)


def _webp(data: bytes) -> Header:
    at, width, height, frames, metadata, turned = 12, 0, 0, 0, 0, 1
    pieces = _pieces(data)
    while at + 8 <= len(data) and frames <= _FRAMES_COUNTED and next(pieces):
        kind, (size,) = data[at : at + 4], struct.unpack_from("<I", data, at + 4)
        body = at + 8
        # The first of these tells the size, as for the decoder; later ones may lie.
        if kind == b"VP8X" and not width:
            width = 1 + int.from_bytes(data[body + 4 : body + 7], "little")
            height = 1 + int.from_bytes(data[body + 7 : body + 10], "little")
        elif kind == b"VP8 " and not width:
            width, height = (side & 0x3FFF for side in struct.unpack_from("<HH", data, body + 6))
        elif kind == b"VP8L" and not width:
            (bits,) = struct.unpack_from("<I", data, body + 1)
            width, height = 1 + (bits & 0x3FFF), 1 + ((bits >> 14) & 0x3FFF)
        elif kind == b"ANMF":
            frames += 1
        elif kind in {b"EXIF", b"XMP ", b"ICCP"}:
            metadata += size
            if kind == b"EXIF":
                raw = data[body : body + size]
                turned = orientation(raw.removeprefix(b"Exif\x00\x00"))
        at = body + size + (size & 1)
    return Header("webp", width, height, max(1, frames), metadata, turned)


def _gif(data: bytes) -> Header:
    width, height, flags = struct.unpack_from("<HHB", data, 6)
    at = 13 + (3 << ((flags & 7) + 1) if flags & 0x80 else 0)
    frames = metadata = 0
    pieces = _pieces(data)
    while at < len(data) and frames <= _FRAMES_COUNTED:
        block = data[at]
        if block == 0x3B:
            break
        if block == 0x2C:
            frames += 1
            left, top, wide, high, local = struct.unpack_from("<HHHHB", data, at + 1)
            if left + wide > width or top + high > height:
                raise HeliographError(
                    Code.UNSUPPORTED_MEDIA, f"GIF frame {frames} reaches beyond its canvas."
                )
            at += 10 + (3 << ((local & 7) + 1) if local & 0x80 else 0) + 1
            counted = False
        elif block == 0x21:
            counted = data[at + 1] == 0xFE or data[at + 1] == 0xFF
            at += 2
        else:
            raise corrupt("an unknown GIF block")
        while at < len(data) and data[at] and next(pieces):
            metadata += data[at] if counted else 0
            at += data[at] + 1
        at += 1
    if frames == 0:
        raise corrupt("a GIF without a picture")
    return Header("gif", width, height, frames, metadata)


def tiff_frames(data: bytes) -> int:
    """How many directories a TIFF chains, loops included; counting stops past any limit."""
    order = "<" if data[:2] == b"II" else ">"
    frames, at = 0, 4
    try:
        while frames <= _FRAMES_COUNTED:
            (at,) = struct.unpack_from(order + "I", data, at)
            if at == 0:
                break
            frames += 1
            at += 2 + 12 * struct.unpack_from(order + "H", data, at)[0]
    except struct.error:
        return frames  # the decoder will say what it thinks of that
    return frames


def _bmp(data: bytes) -> Header:
    (size,) = struct.unpack_from("<I", data, 14)
    if size == 12:
        width, height = struct.unpack_from("<HH", data, 18)
    else:
        width, height = struct.unpack_from("<ii", data, 18)
    return Header("bmp", width, abs(height))


_READERS = {"jpeg": _jpeg, "png": _png, "webp": _webp, "gif": _gif, "bmp": _bmp}
