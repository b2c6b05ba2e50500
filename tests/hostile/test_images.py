"""Rows B40-B47, B51-B53, B55-B58, B60 and B61: files that are no pictures, lie or are too much.

What their pixels become is in `test_pixels.py`. B60 is decided so: every shape up to 12,000 pixels
on a side is answered (200), whatever the model; beyond it is `image_too_large` (413). B43's budget
is 10 bytes a pixel and 100 MB for one picture of 40 megapixels on its way through a pipeline.

Not on this surface: B55's and B58's stored copies (nothing is stored; what goes out is newly
written from pixels, which is tested, and its type is never left to be guessed), B53's grids and ten
thousand items (HEIC needs its own library and its switch; without the library it is 415), B63
(there is no cache and one tenant), B64 (a call takes 16 files; ten thousand are 413 by B19).
"""

from __future__ import annotations

import io
import struct
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from heliograph.core.errors import Code
from support import bombs, pictures
from support.server import Server, running
from support.wire import Reply, ask, cpu_seconds, forget_peak, memory_mb, post

GOOD = pictures.file(pictures.scene())
JPEG = pictures.file(pictures.scene(), "JPEG")
EDGES = "/api/v1/edges?format=json"
SMALL = "/api/v1/process?ops=resize:32,png"
LIMIT_MB = 50.0
HEIC = Code.IMAGE_CORRUPT if find_spec("pillow_heif") else Code.UNSUPPORTED_MEDIA
TWENTY_MB = 20_000_000


def refused(server: Server, picture: bytes, code: Code, *, seconds: float = 1.0) -> Reply:
    """Send it: this code, in a second, for less than 50 MB of memory."""
    pid = server.process.pid
    forget_peak(pid)
    before, worked = memory_mb(pid), cpu_seconds(pid)
    reply = ask(server, post(picture, EDGES))
    assert reply.code == code, reply
    assert reply.seconds < seconds
    assert cpu_seconds(pid) - worked < seconds
    # The body itself is there, once from the wire and once for the decoder.
    assert memory_mb(pid, "VmHWM") - before < LIMIT_MB + 3 * len(picture) / 1e6
    return reply


def rows(server: Server, *files: bytes) -> None:
    for file in files:
        refused(server, file, Code.IMAGE_CORRUPT)


def test_b40_nothing_or_next_to_nothing(lean: Server) -> None:
    refused(lean, b"", Code.EMPTY_FILE)
    webp = pictures.file(pictures.scene(), "WEBP")
    for whole in (GOOD, JPEG, webp, pictures.file(pictures.scene(), "GIF")):
        rows(lean, *(whole[:cut] for cut in (4, 6, 8, 11)))
    rows(lean, pictures.file(pictures.scene(), "BMP")[:30], b"BM", b"\xff\xd8\xff\xd9", b"RIFF")
    refused(lean, b"x", Code.UNSUPPORTED_MEDIA)


@pytest.mark.parametrize("name", bombs.FOREIGN)
def test_b41_b51_b52_b53_other_kinds(lean: Server, name: str) -> None:
    reply = refused(lean, bombs.FOREIGN[name], Code.UNSUPPORTED_MEDIA)
    assert "root:" not in reply.body.decode()


def test_b42_a_header_of_gigapixels(lean: Server) -> None:
    refused(lean, bombs.png_header(65_535, 65_535), Code.IMAGE_TOO_LARGE)
    refused(lean, bombs.png_black(1, 1)[:16] + b"\x7f\xff\xff\xff" * 2, Code.IMAGE_TOO_LARGE)
    refused(lean, bombs.webp(bombs.vp8x(16_383, 16_383)), Code.IMAGE_TOO_LARGE)
    bmp = pictures.file(pictures.scene(), "BMP")
    refused(lean, bmp[:18] + struct.pack("<ii", 65_535, -65_535) + bmp[26:], Code.IMAGE_TOO_LARGE)
    rows(lean, bmp[:18] + struct.pack("<ii", -48, 32) + bmp[26:])
    size = JPEG.index(b"\xff\xc0") + 5
    refused(lean, JPEG[:size] + b"\xff\xff\xff\xff" + JPEG[size + 4 :], Code.IMAGE_TOO_LARGE)
    refused(lean, bombs.gif(1, size=(65_535, 65_535)), Code.IMAGE_TOO_LARGE)


def test_two_sizes_in_one_file(lean: Server) -> None:
    rows(lean, bombs.png_two_sizes())
    lossless = pictures.file(pictures.scene(), "WEBP", lossless=True)[12:]
    two = bombs.webp(bombs.vp8x(16_383, 16_383), lossless, bombs.vp8x(1, 1))
    refused(lean, two, Code.IMAGE_TOO_LARGE)
    rows(lean, bombs.webp(bombs.vp8x(2000, 2000), lossless))


@pytest.mark.parametrize(("depth", "colour"), [(8, 2), (16, 6), (1, 0)])
def test_b43_as_many_pixels_as_allowed(lean: Server, depth: int, colour: int) -> None:
    pid = lean.process.pid
    forget_peak(pid)
    before = memory_mb(pid)
    reply = ask(lean, post(bombs.png_black(8000, 5000, depth=depth, colour=colour), SMALL))
    assert reply.status == 200
    # 3 bytes a pixel for our pixels and 4 for Pillow's, then 3 for the filter's; and some strips.
    assert memory_mb(pid, "VmHWM") - before < 40 * 10 + 100
    refused(lean, bombs.png_black(8200, 5000, depth=depth, colour=colour), Code.IMAGE_TOO_LARGE)


@pytest.mark.parametrize("frames", [65, 1000, 2**31])
def test_b44_animations(lean: Server, frames: int) -> None:
    # The canvas alone would be refused; a small one must be, too.
    refused(lean, bombs.apng(frames), Code.IMAGE_TOO_LARGE)
    refused(lean, bombs.apng(frames, 16, 16), Code.TOO_MANY_FRAMES)
    count = min(frames, 1000)
    refused(lean, bombs.webp_frames(count), Code.IMAGE_TOO_LARGE)
    refused(lean, bombs.webp_frames(count, 16, 16), Code.TOO_MANY_FRAMES)


def test_b45_a_flood_of_gif_frames(lean: Server) -> None:
    refused(lean, bombs.gif(100_000), Code.TOO_MANY_FRAMES, seconds=0.5)
    assert ask(lean, post(bombs.gif(64), EDGES)).status == 200


@pytest.mark.parametrize("extent", [(0, 0, 2, 1), (0, 1, 1, 1), (65_535, 0, 65_535, 65_535)])
def test_b46_gif_frames_beyond_their_canvas(
    lean: Server, extent: tuple[int, int, int, int]
) -> None:
    refused(lean, bombs.gif(1, extent=extent), Code.UNSUPPORTED_MEDIA)


def test_floods_of_pieces(lean: Server) -> None:
    for flood in (
        JPEG[:2] + b"\xff\xfe\x00\x02" * (TWENTY_MB // 4) + JPEG[2:],
        JPEG[:2] + b"\xff\xd0" * (TWENTY_MB // 2) + JPEG[2:],
        GOOD[:33] + pictures.chunk(b"abCd", b"") * (TWENTY_MB // 12) + GOOD[33:],
        bombs.webp(b"abcd\0\0\0\0" * (TWENTY_MB // 8 - 2)),
        bombs.gif(0)[:-1] + b"!\xf9" + b"\x01x" * (TWENTY_MB // 2 - 40) + b"\0;",
    ):
        rows(lean, flood)


def test_a_flood_of_scans(lean: Server) -> None:
    rows(lean, bombs.jpeg_scans(8000, 5000, 20_000))
    assert ask(lean, post(bombs.jpeg_scans(800, 500, 100), EDGES)).status == 200


@pytest.mark.parametrize("marker", [0xC3, 0xC5, 0xC9, 0xCA, 0xCB, 0xCF])
def test_b59_kinds_of_jpeg_that_decoders_differ_about(lean: Server, marker: int) -> None:
    refused(lean, bombs.jpeg_frame(marker), Code.UNSUPPORTED_MEDIA)


def test_b59_twelve_bits_and_two_components(lean: Server) -> None:
    refused(lean, bombs.jpeg_frame(0xC1, precision=12), Code.UNSUPPORTED_MEDIA)
    refused(lean, bombs.jpeg_frame(0xC0, parts=2), Code.UNSUPPORTED_MEDIA)


def test_b56_megabytes_of_metadata(lean: Server) -> None:
    full = b"x" * 65_533
    many = TWENTY_MB // 65_537
    for marker, start in (
        (0xE1, b"Exif\0\0"),
        (0xE1, b"http://ns.adobe.com/xap/1.0/\0"),
        (0xE2, b"ICC_PROFILE\0"),
    ):
        segment = bytes((0xFF, marker, 0xFF, 0xFF)) + start + full[len(start) :]
        refused(lean, JPEG[:2] + segment * many + JPEG[2:], Code.METADATA_TOO_LARGE)
    for kind in (b"eXIf", b"iCCP", b"tEXt", b"iTXt", b"zTXt"):
        refused(lean, pictures.png_with(GOOD, kind, bytes(TWENTY_MB)), Code.METADATA_TOO_LARGE)
    for kind in (b"EXIF", b"XMP ", b"ICCP"):
        body = kind + struct.pack("<I", TWENTY_MB) + bytes(TWENTY_MB)
        file = bombs.webp(bombs.vp8x(48, 32), body)
        refused(lean, file, Code.METADATA_TOO_LARGE)
    comment = b"!\xfe" + (b"\xff" + bytes(255)) * (TWENTY_MB // 256) + b"\0"
    refused(lean, bombs.gif(1)[:-1] + comment + b";", Code.METADATA_TOO_LARGE)


def test_b56_exif_that_loops(lean: Server) -> None:
    loop = bombs.exif_loop()
    cmyk = pictures.file(pictures.scene(), "JPEG", "CMYK")
    webp = pictures.file(pictures.scene(), "WEBP", exif=loop)
    for file in (
        pictures.jpeg_with(JPEG, 0xE1, b"Exif\0\0" + loop),
        pictures.jpeg_with(cmyk, 0xE1, b"Exif\0\0" + loop),
        pictures.png_with(GOOD, b"eXIf", loop),
        webp,
    ):
        reply = ask(lean, post(file, EDGES))
        assert reply.status == 200
        assert reply.seconds < 1


@pytest.mark.parametrize("kind", [b"zTXt", b"iTXt", b"iCCP"])
def test_b57_text_that_inflates(lean: Server, kind: bytes) -> None:
    pid = lean.process.pid
    bomb = bombs.png_text_bomb(kind, 300_000_000)
    assert len(bomb) < 400_000
    forget_peak(pid)
    before = memory_mb(pid)
    assert ask(lean, post(bomb, EDGES)).status == 200
    assert memory_mb(pid, "VmHWM") - before < 16


@pytest.mark.parametrize("form", ["png", "jpeg", "webp"])
def test_b55_b58_what_goes_out_is_only_pixels(lean: Server, form: str) -> None:
    secret = b"<?php secret(); ?><script>alert(1)</script>"
    exif = Image.Exif()
    exif[0x010E] = secret.decode()
    exif.get_ifd(0x8825)[2] = (1.0, 2.0, 3.0)
    with_exif = pictures.file(pictures.scene(), "JPEG", exif=exif, comment=secret)
    assert secret in with_exif
    for file in (
        with_exif,
        JPEG + secret,
        JPEG + b"PK\x03\x04" + secret,
        pictures.png_with(GOOD, b"tEXt", b"Comment\0" + secret) + secret,
        pictures.jpeg_with(JPEG, 0xFE, secret),
    ):
        reply = ask(lean, post(file, f"/api/v1/process?ops={form}"))
        assert reply.status == 200
        assert reply.headers["content-type"] == f"image/{form}"
        assert reply.headers["x-content-type-options"] == "nosniff"
        assert b"secret" not in reply.body
        with Image.open(io.BytesIO(reply.body)) as out:
            assert not out.getexif()
            assert not {"icc_profile", "comment", "xmp"} & set(out.info)


@pytest.mark.parametrize(
    ("size", "code"),
    [
        ((1, 1), ""),
        ((2, 1), ""),
        ((1, 12_000), ""),
        ((12_000, 1), ""),
        ((12_001, 1), Code.IMAGE_TOO_LARGE),
        ((1, 12_001), Code.IMAGE_TOO_LARGE),
    ],
)
@pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP", "BMP", "GIF"])
def test_b60_extreme_shapes(lean: Server, size: tuple[int, int], code: str, form: str) -> None:
    file = pictures.plain(size=size, form=form)
    for target in (
        "/api/v1/edges?format=json",
        "/api/v1/process?ops=blur:2,png",
        EDGES + "&blur=3",
    ):
        reply = ask(lean, post(file, target))
        assert reply.code == code
        assert reply.status == (413 if code else 200)


def test_b60_extreme_shapes_through_models(server: Server) -> None:
    for size in ((1, 1), (1, 12_000), (12_000, 1)):
        for task in ("classify", "detect", "keypoints"):
            reply = ask(server, post(pictures.plain(size=size), f"/api/v1/{task}"))
            assert reply.status == 200, (size, task, reply)


def test_b61_flipped_bytes(lean: Server) -> None:
    """Fixed seeds; `tests/laws/test_decode.py` does the same at length, without a server."""
    rng = np.random.default_rng(61)
    allowed = {"", *(str(one) for one in (Code.IMAGE_CORRUPT, Code.IMAGE_TOO_LARGE))}
    allowed |= {
        str(Code.UNSUPPORTED_MEDIA),
        str(Code.TOO_MANY_FRAMES),
        str(Code.METADATA_TOO_LARGE),
    }
    for form in ("PNG", "JPEG", "WEBP", "GIF", "BMP"):
        whole = pictures.file(pictures.scene(), form)
        for _ in range(60):
            bent = bytearray(whole)
            for at in rng.integers(0, len(bent), rng.integers(1, 8)):
                bent[at] ^= int(rng.integers(1, 256))
            reply = ask(lean, post(bytes(bent), EDGES))
            assert reply.code in allowed
            assert reply.seconds < 5


def test_b47_b48_b53_behind_the_switch(home: Path, tmp_path: Path) -> None:
    environ = {"HELIOGRAPH_IMAGE_EXTRA_FORMATS": "true"}
    tiff = pictures.file(pictures.scene(), "TIFF", compression="jpeg")
    avif = pictures.file(pictures.scene(), "AVIF")
    (first,) = struct.unpack_from("<I", tiff, 4)
    follows = first + 2 + 12 * struct.unpack_from("<H", tiff, first)[0]
    loop = tiff[:follows] + tiff[4:8] + tiff[follows + 4 :]
    frames = [Image.new("L", (4, 4))] * 99
    many = pictures.file(pictures.scene(), "TIFF", save_all=True, append_images=frames)
    with running(
        home, "--open", "--models", "edges", stderr=tmp_path / "stderr", environ=environ
    ) as extra:
        for good in (tiff, avif):
            assert ask(extra, post(good, EDGES)).json["image"] == {"width": 48, "height": 32}
        for file in (loop, many):
            refused(extra, file, Code.TOO_MANY_FRAMES)
        rows(extra, bombs.tiff_directories(10_000), bombs.tiff_directories(3, loop=True))
        for whole in (tiff, avif):
            rows(extra, *(whole[: len(whole) * part // 8] for part in range(1, 7)))
        rows(extra, bombs.FOREIGN["avif"])
        refused(extra, bombs.FOREIGN["heic"], HEIC)
        refused(extra, bombs.FOREIGN["svg link"], Code.UNSUPPORTED_MEDIA)
        assert ask(extra, post(GOOD, EDGES)).status == 200
