from __future__ import annotations

import struct

import pytest

from heliograph.core.errors import Code, HeliographError
from heliograph.vision.header import png_pixels_only, read_header, sniff, tiff_frames
from support import bombs, pictures

SCENE = pictures.scene((50, 20))
FORMS = ["JPEG", "PNG", "WEBP", "GIF", "BMP"]


def code_of(data: bytes) -> Code:
    with pytest.raises(HeliographError) as refused:
        read_header(data)
    return refused.value.code


@pytest.mark.parametrize("form", FORMS)
def test_size_and_format_of_each(form: str) -> None:
    header = read_header(pictures.file(SCENE, form))
    assert (header.format, header.width, header.height) == (form.lower(), 50, 20)
    assert (header.frames, header.orientation, header.upright) == (1, 1, (50, 20))
    assert header.baseline


@pytest.mark.parametrize("form", FORMS)
def test_only_the_head_is_needed(form: str) -> None:
    whole = pictures.file(pictures.scene((500, 200)), form)
    short = whole[: 700 if form == "JPEG" else 2000]
    assert read_header(short).upright == (500, 200)


@pytest.mark.parametrize("form", FORMS)
def test_no_cut_is_anything_but_a_header_or_an_error_of_ours(form: str) -> None:
    whole = pictures.file(pictures.scene((9, 7)), form)
    for cut in range(len(whole)):
        code: Code | None = None
        try:
            assert read_header(whole[:cut]).upright == (9, 7)
        except HeliographError as error:
            code = error.code
        assert code in {None, Code.EMPTY_FILE, Code.UNSUPPORTED_MEDIA, Code.IMAGE_CORRUPT}


@pytest.mark.parametrize("lossless", [False, True])
def test_kinds_of_webp(lossless: bool) -> None:
    for exif, turned in ((b"", 1), (pictures.exif(6), 6)):
        header = read_header(pictures.file(SCENE, "WEBP", lossless=lossless, exif=exif))
        assert (header.width, header.height, header.frames) == (50, 20, 1)
        assert header.orientation == turned


def test_orientation_is_found_where_each_format_keeps_it() -> None:
    tiff = pictures.exif(6)
    jpeg = pictures.jpeg_with(pictures.file(SCENE, "JPEG"), 0xE1, b"Exif\0\0" + tiff)
    png = pictures.png_with(pictures.file(SCENE), b"eXIf", tiff)
    for data in (jpeg, png):
        header = read_header(data)
        assert header.orientation == 6
        assert header.upright == (20, 50)
        assert header.metadata >= len(tiff)


def test_metadata_is_counted() -> None:
    png = pictures.file(SCENE)
    for kind in (b"tEXt", b"zTXt", b"iTXt", b"iCCP", b"eXIf"):
        assert read_header(pictures.png_with(png, kind, bytes(999))).metadata == 999
    assert read_header(pictures.png_with(png, b"abCd", bytes(999))).metadata == 0
    jpeg = pictures.file(SCENE, "JPEG")
    bare = read_header(jpeg).metadata
    for marker in (0xE1, 0xE2, 0xED, 0xFE):
        assert read_header(pictures.jpeg_with(jpeg, marker, bytes(997))).metadata == bare + 999
    comment = bombs.gif(1)[:-1] + b"!\xfe\x05hello\0;"
    assert read_header(comment).metadata == 5


def test_frames_are_counted_and_counting_ends() -> None:
    assert read_header(bombs.gif(3)).frames == 3
    assert read_header(bombs.webp_frames(3)).frames == 3
    assert read_header(bombs.apng(3)).frames == 3
    assert 64 < read_header(bombs.gif(50_000)).frames < 2000
    assert 64 < read_header(bombs.webp_frames(50_000)).frames < 2000


def test_a_second_acTL_does_not_hide_the_first() -> None:  # noqa: N802 - the chunk's name
    twice = pictures.png_with(bombs.apng(9, 4, 4), b"acTL", struct.pack(">II", 1, 0))
    assert read_header(twice).frames == 9


def test_the_first_size_of_a_webp_counts_as_for_the_decoder() -> None:
    lossless = pictures.file(SCENE, "WEBP", lossless=True)[12:]
    assert read_header(bombs.webp(lossless, bombs.vp8x(1, 1))).upright == (50, 20)
    assert read_header(bombs.webp(bombs.vp8x(9, 8), lossless)).upright == (9, 8)


@pytest.mark.parametrize("marker", [0xC3, 0xC5, 0xC6, 0xC7, 0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF])
def test_jpegs_that_are_not_taken(marker: int) -> None:
    assert code_of(bombs.jpeg_frame(marker)) is Code.UNSUPPORTED_MEDIA


def test_jpegs_for_the_slower_decoder() -> None:
    assert not read_header(bombs.jpeg_frame(0xC0, parts=4)).baseline
    assert not read_header(pictures.file(SCENE, "JPEG", "CMYK")).baseline


@pytest.mark.parametrize("scans", [400, 501])
def test_scans_of_a_progressive_jpeg(scans: int) -> None:
    data = bombs.jpeg_scans(32, 32, scans)
    if scans > 500:
        assert code_of(data) is Code.IMAGE_CORRUPT
    else:
        assert read_header(data).upright == (32, 32)


@pytest.mark.parametrize(
    "data",
    [
        b"\xff\xd8\xff\xd9",
        b"\xff\xd8\xff\xda\x00\x02",
        b"\xff\xd8\xff\xe0\x00\x00\xff\xd9",
        b"\xff\xd8\xff\xe0\x00\x04xxjunk",
        b"\xff\xd8\xff" + b"\xff" * 5000,
        bombs.PNG_MAGIC + pictures.chunk(b"IDAT", b"x") * 9,
        bombs.png_header(0, 5),
        bombs.webp(b"abcd\0\0\0\0"),
        bombs.gif(0),
        bombs.gif(1)[:-1] + b"\x99;",
    ],
)
def test_damaged_containers(data: bytes) -> None:
    assert code_of(data) is Code.IMAGE_CORRUPT


def test_bmp_of_both_directions_and_ages() -> None:
    bmp = pictures.file(SCENE, "BMP")
    assert read_header(bmp[:22] + struct.pack("<i", -20) + bmp[26:]).upright == (50, 20)
    old = b"BM" + bytes(12) + struct.pack("<IHHHH", 12, 50, 20, 1, 24)
    assert read_header(old).upright == (50, 20)


@pytest.mark.parametrize("name", bombs.FOREIGN)
def test_other_kinds(name: str) -> None:
    assert code_of(bombs.FOREIGN[name]) is Code.UNSUPPORTED_MEDIA


def test_a_known_stranger_is_named() -> None:
    for name, kind in (("tiff", "tiff"), ("heic", "heic"), ("avif", "avif"), ("text", None)):
        assert sniff(bombs.FOREIGN[name]) == kind
    with pytest.raises(HeliographError, match="This looks like TIFF"):
        read_header(bombs.FOREIGN["tiff"])


def test_directories_of_a_tiff() -> None:
    assert tiff_frames(bombs.tiff_directories(3)) == 3
    assert 64 < tiff_frames(bombs.tiff_directories(2, loop=True)) < 2000
    assert tiff_frames(bombs.tiff_directories(3)[:30]) <= 3
    assert tiff_frames(b"MM\0*") == 0


def test_a_png_without_its_metadata() -> None:
    png = pictures.file(SCENE)
    full = pictures.png_with(pictures.png_with(png, b"tEXt", b"a\0b"), b"iCCP", b"junk") + b"tail"
    assert png_pixels_only(full) == png
