"""Picture files that promise much and hold little, or lie: written byte by byte.

No library writes these; each function names what it exploits. They are small where the promise is
large, except those whose point is that they are long.
"""

from __future__ import annotations

import struct
import zlib

from support.pictures import chunk

PNG_MAGIC = b"\x89PNG\r\n\x1a\n"
_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}


def png_header(width: int, height: int, *, depth: int = 8, colour: int = 2) -> bytes:
    """Magic and IHDR only."""
    return PNG_MAGIC + chunk(
        b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    )


def png_black(width: int, height: int, *, depth: int = 8, colour: int = 2) -> bytes:
    """A valid PNG of zeros: megapixels in kilobytes."""
    row = bytes(1 + (width * _CHANNELS[colour] * depth + 7) // 8)
    packer = zlib.compressobj(9)
    data = b"".join(packer.compress(row) for _ in range(height)) + packer.flush()
    end = chunk(b"IDAT", data) + chunk(b"IEND", b"")
    return png_header(width, height, depth=depth, colour=colour) + end


def png_two_sizes() -> bytes:
    """Two IHDR: 1 x 1 for who looks at the first, 65,535 x 65,535 for who takes the last."""
    return png_header(1, 1) + png_header(65_535, 65_535)[8:] + chunk(b"IDAT", b"x")


def png_text_bomb(kind: bytes, inflated: int) -> bytes:
    """A good little PNG whose text or profile inflates a thousandfold."""
    packed = zlib.compress(bytes(inflated), 9)
    body = {
        b"zTXt": b"Comment\0\0" + packed,
        b"iTXt": b"Comment\0\1\0\0\0" + packed,
        b"iCCP": b"profile\0\0" + packed,
    }[kind]
    good = png_black(8, 8)
    return good[:33] + chunk(kind, body) + good[33:]


def apng(frames: int, width: int = 16_383, height: int = 16_383) -> bytes:
    """An animated PNG that declares its frames and brings none."""
    return (
        png_header(width, height)
        + chunk(b"acTL", struct.pack(">II", frames, 0))
        + chunk(b"IDAT", b"x")
    )


def gif(
    frames: int, *, size: tuple[int, int] = (1, 1), extent: tuple[int, int, int, int] = (0, 0, 1, 1)
) -> bytes:
    """A GIF of so many frames of one pixel; `extent` is each frame's left, top, width, height."""
    head = b"GIF89a" + struct.pack("<HHBBB", *size, 0x80, 0, 0) + bytes(6)
    frame = b"," + struct.pack("<HHHHB", *extent, 0) + b"\x02\x02\x44\x01\x00"
    return head + frame * frames + b";"


def webp(*chunks: bytes) -> bytes:
    """A RIFF container of these chunks."""
    body = b"".join(chunks)
    return b"RIFF" + struct.pack("<I", len(body) + 4) + b"WEBP" + body


def vp8x(width: int, height: int, *, flags: int = 0) -> bytes:
    """WebP's chunk that declares the canvas."""
    sides = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    return b"VP8X" + struct.pack("<I", 10) + bytes((flags, 0, 0, 0)) + sides


def webp_frames(frames: int, width: int = 16_383, height: int = 16_383) -> bytes:
    """An animated WebP that declares its frames and brings none."""
    frame = b"ANMF" + struct.pack("<I", 16) + bytes(16)
    return webp(
        vp8x(width, height, flags=2), b"ANIM" + struct.pack("<I", 6) + bytes(6), frame * frames
    )


def _segment(marker: int, body: bytes) -> bytes:
    return bytes((0xFF, marker)) + struct.pack(">H", len(body) + 2) + body


def jpeg_scans(width: int, height: int, scans: int) -> bytes:
    """A grey progressive JPEG whose scans say nothing, each over the whole picture.

    Huffman tables: DC 0 is the bit 0; AC 0xE0 (a run of 16,384 to 32,767 empty blocks) is 0, and
    0x00 (one empty block) is 10.
    """
    blocks = -(-width // 8) * -(-height // 8)
    bits, left = list[str](), blocks
    while left >= 16_384:
        run = min(left, 32_767)
        bits.append("0" + format(run - 16_384, "014b"))
        left -= run
    bits.append("10" * left)
    frame = struct.pack(">BHHB", 8, height, width, 1) + b"\x01\x11\x00"
    scan = _segment(0xDA, b"\x01\x01\x00\x01\x3f\x00") + _bits("".join(bits))
    return (
        b"\xff\xd8"
        + _segment(0xDB, b"\x00" + b"\x01" * 64)
        + _segment(0xC2, frame)
        + _segment(0xC4, b"\x00" + bytes([1] + [0] * 15) + b"\x00")
        + _segment(0xC4, b"\x10" + bytes([1, 1] + [0] * 14) + b"\xe0\x00")
        + _segment(0xDA, b"\x01\x01\x00\x00\x00\x00")
        + _bits("0" * blocks)
        + scan * scans
        + b"\xff\xd9"
    )


def _bits(text: str) -> bytes:
    padded = text + "1" * (-len(text) % 8)
    return int(padded, 2).to_bytes(len(padded) // 8, "big").replace(b"\xff", b"\xff\x00")


def jpeg_frame(marker: int, *, precision: int = 8, parts: int = 3) -> bytes:
    """A JPEG as far as its frame header, of a kind that decoders differ about."""
    body = struct.pack(">BHHB", precision, 16, 16, parts) + b"\x01\x11\x00" * parts
    return b"\xff\xd8" + _segment(marker, body) + b"\xff\xd9"


def tiff_directories(count: int, *, loop: bool = False) -> bytes:
    """A TIFF of empty directories, the last one leading back to the first if it is a loop."""
    out = b"II*\0" + struct.pack("<I", 8)
    for at in range(count):
        here = 8 + at * 18
        after = here + 18 if at < count - 1 else (8 if loop else 0)
        out += struct.pack("<HHHIII", 1, 256, 4, 1, 10, after)
    return out


def exif_loop() -> bytes:
    """A TIFF block whose directory has a sub-directory that is itself, and whose next is too."""
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, 8) for tag in (0x8769, 0x8825, 0xA005))
    return b"II*\0" + struct.pack("<IH", 8, 3) + entries + struct.pack("<I", 8)


FOREIGN: dict[str, bytes] = {
    "text": b"Hello, this is only text and no picture at all.",
    "elf": b"\x7fELF\x02\x01\x01" + bytes(64),
    "mz": b"MZ\x90\x00" + bytes(64),
    "pdf": b"%PDF-1.7\n1 0 obj <<>> endobj",
    "zip": b"PK\x03\x04" + bytes(64),
    "jpeg2000": b"\x00\x00\x00\x0cjP  \r\n\x87\n" + bytes(64),
    "fits": b"SIMPLE  =                    T" + b" " * 50,
    "psd": b"8BPS\x00\x01" + bytes(64),
    "fpx": b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(64),
    "eps": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n",
    "wmf": b"\xd7\xcd\xc6\x9a" + bytes(64),
    "spider": struct.pack(">9f", 1, 9, 9, 0, 1, 0, 0, 0, 0) + bytes(1024),
    "mcidas": b"\x00\x00\x00\x00\x00\x00\x00\x04" + bytes(256),
    "dds": b"DDS \x7c\x00\x00\x00" + bytes(120),
    "icns": b"icns\x00\x00\x00\x40" + bytes(64),
    "ico": b"\x00\x00\x01\x00\x01\x00" + bytes(64),
    "pcx": b"\x0a\x05\x01\x08" + bytes(128),
    "ppm": b"P6\n9 9\n255\n" + bytes(243),
    "tga": b"\x00\x00\x02" + bytes(9) + b"\x09\x00\x09\x00\x18\x00" + bytes(243),
    "tiff": tiff_directories(1),
    "avif": b"\x00\x00\x00\x20ftypavif" + bytes(64),
    "heic": b"\x00\x00\x00\x20ftypheic" + bytes(64),
    "svg script": b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>",
    "svg entity": b"<!DOCTYPE s [<!ENTITY x SYSTEM 'file:///etc/passwd'>]><svg>&x;</svg>",
    "svg laughs": b"<!DOCTYPE s [<!ENTITY a 'ha'><!ENTITY b '&a;&a;'>]><svg>&b;</svg>",
    "svg link": b"<?xml version='1.0'?><svg><image xlink:href='file:///etc/passwd'/></svg>",
    "html": b"<!doctype html><script>alert(1)</script>",
    "playlist": b"#EXTM3U\nfile:///etc/passwd\n",
}
"""Files of other kinds, by name; none is one of the five that are taken."""
