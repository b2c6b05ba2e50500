"""Drawing answers onto pictures: captions, boxes, poses, masks and class maps.

Last step of a call that asked for the annotated picture. All take uint8 RGB [h, w, 3] pixels and
return a new array; the caller's stays as it is. Lines and letters grow with the picture. Letters
are those of OpenCV's built-in font (Pillow's has no umlauts): Latin, Greek, Cyrillic, Arabic, CJK.
A sign it does not know becomes a question mark, a character that cannot be printed a space.
"""

from __future__ import annotations

import colorsys
import functools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from heliograph.vision.picture import Pixels

Colour: TypeAlias = tuple[int, int, int]
"""Red, green and blue, 0-255."""

NO_CLASS = np.uint16(65535)
"""What a class map holds where no class is."""

_WHITE, _BLACK, _PANEL = (255, 255, 255), (16, 16, 16), (20, 24, 32)
_GOLDEN = 0.618033988749895
_LONGEST = 120
_BOLD = 600
_BRIGHT = 135


class Box(NamedTuple):
    """A rectangle in whole pixels; `right` and `bottom` are exclusive where it is filled."""

    left: int
    top: int
    right: int
    bottom: int

    def meets(self, other: Box) -> bool:
        """Whether the two share a pixel."""
        across = self.left < other.right and other.left < self.right
        return across and self.top < other.bottom and other.top < self.bottom


@functools.cache
def colour(class_id: int) -> Colour:
    """The colour of a class: the same in every picture, neighbouring ids far apart.

    Hues step by the golden ratio, so any first n of them are spread about evenly; lightness takes
    three turns, so that near hues of distant ids still differ.
    """
    lightness = (0.55, 0.68, 0.42)[class_id // 8 % 3]
    red, green, blue = colorsys.hls_to_rgb((0.02 + class_id * _GOLDEN) % 1.0, lightness, 0.85)
    return round(red * 255), round(green * 255), round(blue * 255)


def caption(pixels: Pixels, lines: Sequence[str]) -> Pixels:
    """Write lines on a half-transparent panel in the upper left corner.

    Args:
        pixels: uint8 [h, w, 3].
        lines: shortened to the picture's width; those beyond its height are left out.
    """
    canvas, pen = pixels.copy(), Pen.of(pixels)
    gap, step = pen.text // 2, round(pen.text * 1.35)
    lines = lines[: max(1, (canvas.shape[0] - 2 * gap) // step)]
    texts = [pen.shorten(line, canvas.shape[1] - 4 * gap) for line in lines]
    if not texts:
        return canvas
    width = max(pen.width(text) for text in texts) + 2 * gap
    _panel(canvas, Box(gap, gap, gap + width, 2 * gap + step * len(texts)), _PANEL, 0.65)
    for row, text in enumerate(texts):
        pen.write(canvas, text, (2 * gap, gap + gap // 2 + row * step), _WHITE)
    return canvas


def boxes(
    pixels: Pixels, corners: NDArray[np.float32], texts: Sequence[str], class_ids: Sequence[int]
) -> Pixels:
    """Draw boxes with a label each, in the colour of their class.

    Small boxes are drawn over large ones and labels over all; a label moves, below its box's upper
    edge or under the box, before it covers another one.

    Args:
        pixels: uint8 [h, w, 3].
        corners: float32 [n, 4]: left, top, right, bottom in pixels; clipped to the picture, skipped
            if not finite.
        texts: n labels; an empty one is left out.
        class_ids: n class ids.
    """
    canvas, pen = pixels.copy(), Pen.of(pixels)
    height, width = canvas.shape[:2]
    bound = np.array([width - 1, height - 1] * 2, np.float32)
    inside = np.rint(np.clip(np.nan_to_num(corners), 0, bound)).astype(int)
    areas = np.prod(inside[:, 2:] - inside[:, :2], axis=1)
    finite = [bool(np.isfinite(one).all()) for one in corners]
    order = [int(one) for one in np.argsort(-areas, kind="stable") if finite[one]]
    places = {one: Box(*(int(side) for side in inside[one])) for one in order}
    for one, box in places.items():
        low, high = (box.left, box.top), (box.right, box.bottom)
        cv2.rectangle(canvas, low, high, colour(class_ids[one]), pen.line)
    taken: list[Box] = []
    for one, box in places.items():
        if texts[one]:
            taken.append(_label(canvas, texts[one], box, colour(class_ids[one]), taken))
    return canvas


def lines(pixels: Pixels, quads: NDArray[np.float32], texts: Sequence[str]) -> Pixels:
    """Outline lines of text, each in a colour of its own, and write beside them what they say.

    Args:
        pixels: uint8 [h, w, 3].
        quads: float32 [n, 4, 2]: x, y of corners in pixels; skipped if not finite.
        texts: n texts; an empty one is left out.
    """
    canvas, pen = pixels.copy(), Pen.of(pixels)
    seen = [one for one in range(len(quads)) if np.isfinite(quads[one]).all()]
    places = np.rint(np.clip(np.nan_to_num(quads), -20_000, 20_000)).astype(np.int32)
    for one in seen:
        cv2.polylines(canvas, [places[one]], True, colour(one), pen.line, cv2.LINE_AA)  # noqa: FBT003
    taken: list[Box] = []
    for one in seen:
        if texts[one]:
            left, top = places[one].min(axis=0).tolist()
            right, bottom = places[one].max(axis=0).tolist()
            at = Box(left, top, right, bottom)
            taken.append(_label(canvas, texts[one], at, colour(one), taken))
    return canvas


def poses(
    pixels: Pixels,
    points: NDArray[np.float32],
    scores: NDArray[np.float32],
    edges: Sequence[tuple[int, int]],
    min_score: float,
) -> Pixels:
    """Draw skeletons, one colour a person.

    Args:
        pixels: uint8 [h, w, 3].
        points: float32 [p, k, 2]: x, y in pixels; those not finite are skipped.
        scores: float32 [p, k], 0-1.
        edges: pairs of indexes into k that a limb joins.
        min_score: points below it are not drawn, nor limbs that end in one.
    """
    canvas, pen = pixels.copy(), Pen.of(pixels)
    seen = (scores >= min_score) & np.isfinite(points).all(axis=-1)
    # Far outside is far enough: OpenCV overflows on coordinates that no picture has.
    places = np.rint(np.clip(np.nan_to_num(points), -20_000, 20_000)).astype(int)
    for person in range(len(points)):
        spots = [(int(x), int(y)) for x, y in places[person]]
        for start, end in edges:
            if seen[person, start] and seen[person, end]:
                cv2.line(canvas, spots[start], spots[end], _BLACK, pen.line + 2, cv2.LINE_AA)
                cv2.line(canvas, spots[start], spots[end], colour(person), pen.line, cv2.LINE_AA)
        for index, spot in enumerate(spots):
            if seen[person, index]:
                for radius, ink in (
                    (2 * pen.line, _WHITE),
                    (round(1.4 * pen.line), colour(person)),
                ):
                    cv2.circle(canvas, spot, radius, ink, cv2.FILLED, cv2.LINE_AA)
    return canvas


def overlay(pixels: Pixels, class_map: NDArray[np.uint16], opacity: float = 0.55) -> Pixels:
    """Lay classes over a picture, each in its colour, with a line where two of them meet.

    Args:
        pixels: uint8 [h, w, 3].
        class_map: uint16 [h, w]: a class id a pixel; 65535 leaves the picture as it is.
        opacity: of the colours, 0-1.
    """
    seen = class_map != NO_CLASS
    colours = palette_picture(class_map)
    canvas = np.asarray(cv2.addWeighted(pixels, 1 - opacity, colours, opacity, 0), np.uint8)
    canvas[~seen] = pixels[~seen]
    width = Pen.of(pixels).line
    kernel = np.ones((width + 1, width + 1), np.uint8)
    border = cv2.morphologyEx(class_map, cv2.MORPH_GRADIENT, kernel) != 0
    border &= seen
    canvas[border] = colours[border]
    return canvas


def palette() -> NDArray[np.uint8]:
    """The colours of class ids 0-254, and black for 255: uint8 [256, 3]."""
    return np.array([*(colour(one) for one in range(255)), (0, 0, 0)], np.uint8)


def palette_picture(class_map: NDArray[np.uint16]) -> Pixels:
    """A class map in the colours of its classes, black where none is: uint8 [h, w, 3]."""
    present = np.unique(class_map)
    colours = np.zeros((int(NO_CLASS) + 1, 3), np.uint8)
    for one in present[present != NO_CLASS].tolist():
        colours[one] = colour(one)
    return colours[class_map]


def legend(pixels: Pixels, class_ids: Sequence[int], texts: Sequence[str]) -> Pixels:
    """Write one line a class, with a square of its colour, on a panel in the upper left corner.

    Args:
        pixels: uint8 [h, w, 3].
        class_ids: n classes; those beyond half of the picture's height are left out.
        texts: n lines, shortened to half of the picture's width.
    """
    canvas, pen = pixels.copy(), Pen.of(pixels)
    gap, step = pen.text // 2, round(pen.text * 1.35)
    many = max(1, (canvas.shape[0] // 2 - 2 * gap) // step)
    lines = [pen.shorten(text, canvas.shape[1] // 2) for text in texts[:many]]
    if not lines:
        return canvas
    width = max(pen.width(line) for line in lines) + step + 2 * gap
    _panel(canvas, Box(gap, gap, gap + width, 2 * gap + step * len(lines)), _PANEL, 0.65)
    for row, (line, one) in enumerate(zip(lines, class_ids, strict=False)):
        top = gap + gap // 2 + row * step
        _panel(canvas, Box(2 * gap, top, 2 * gap + pen.text, top + pen.text), colour(one), 1)
        pen.write(canvas, line, (2 * gap + step, top), _WHITE)
    return canvas


def masks(
    pixels: Pixels, regions: Iterable[tuple[NDArray[np.bool_], int]], opacity: float = 0.5
) -> Pixels:
    """Lay masks over a picture, each filled and outlined in a colour of its own.

    Args:
        pixels: uint8 [h, w, 3].
        regions: for each a mask, bool [h, w], and the number of its colour, see `colour`. Drawn in
            this order: the last lies on top.
        opacity: of the fill, 0-1.
    """
    canvas, pen = pixels.copy(), Pen.of(pixels)
    for mask, number in regions:
        left, top, width, height = cv2.boundingRect(mask.view(np.uint8))
        if not width:
            continue
        inside = slice(top, top + height), slice(left, left + width)
        part, ink = mask[inside], np.array(colour(number), np.float32)
        area = canvas[inside]
        area[part] = np.rint(area[part] * (1 - opacity) + ink * opacity).astype(np.uint8)
        lines, _ = cv2.findContours(
            np.ascontiguousarray(part.view(np.uint8)),
            cv2.RETR_LIST,
            cv2.CHAIN_APPROX_SIMPLE,
            offset=(left, top),
        )
        cv2.drawContours(canvas, lines, -1, colour(number), pen.line)
    return canvas


@dataclass(frozen=True, slots=True)
class Pen:
    """What to draw with on a picture of one size.

    Attributes:
        line: width of lines, in pixels.
        text: height of letters, in pixels.
    """

    line: int
    text: int

    @classmethod
    def of(cls, pixels: Pixels) -> Pen:
        """The pen that suits a picture; judged by its mean side, so panoramas get a fair one."""
        side = float(np.sqrt(pixels.shape[0] * pixels.shape[1]))
        return cls(max(1, round(side / 250)), max(9, round(side / 34)))

    def width(self, text: str) -> int:
        """How many pixels a text takes."""
        return cv2.getTextSize((0, 0), text, (0, 0), _font(), self.text, _BOLD)[2]

    def shorten(self, text: str, width: int) -> str:
        """Make a text printable and cut it, with an ellipsis, to fit `width` pixels."""
        clean = "".join(sign if sign.isprintable() else " " for sign in text[: 2 * _LONGEST])
        if len(text) <= _LONGEST and self.width(clean) <= width:
            return clean
        low, high = 0, min(len(clean), _LONGEST)
        while low < high:
            middle = (low + high + 1) // 2
            fits = self.width(clean[:middle] + "…") <= width
            low, high = (middle, high) if fits else (low, middle - 1)
        return clean[:low].rstrip() + "…"

    def write(self, canvas: Pixels, text: str, at: tuple[int, int], ink: Colour) -> None:
        """Write onto `canvas` itself; `at` is x, y of the line's upper left corner."""
        baseline = (at[0], at[1] + round(self.text * 0.95))
        cv2.putText(canvas, text, baseline, ink, _font(), self.text, _BOLD)


@functools.cache
def _font() -> cv2.FontFace:
    return cv2.FontFace("uni")


def _label(canvas: Pixels, text: str, at: Box, fill: Colour, taken: Sequence[Box]) -> Box:
    """Draw a label at the best free place by the box `at`; return where it went."""
    pen = Pen.of(canvas)
    gap, height = max(2, pen.text // 4), round(pen.text * 1.4)
    text = pen.shorten(text, canvas.shape[1] - 2 * gap)
    width = min(canvas.shape[1], pen.width(text) + 2 * gap)
    x = max(0, min(at.left - pen.line // 2, canvas.shape[1] - width))
    lowest = max(0, canvas.shape[0] - height)
    above_to_below = (at.top - height, at.top, at.top + height, at.bottom - height, at.bottom)
    rows = [min(lowest, max(0, row)) for row in above_to_below]
    spots = [Box(x, row, x + width, row + height) for row in rows]
    free = [spot for spot in spots if not any(spot.meets(other) for other in taken)]
    spot = (free or spots)[0]
    _panel(canvas, spot, fill, 0.9)
    luma = 0.299 * fill[0] + 0.587 * fill[1] + 0.114 * fill[2]
    ink = _BLACK if luma > _BRIGHT else _WHITE
    pen.write(canvas, text, (spot.left + gap, spot.top + (height - pen.text) // 2), ink)
    return spot


def _panel(canvas: Pixels, box: Box, fill: Colour, opacity: float) -> None:
    area = canvas[max(0, box.top) : box.bottom, max(0, box.left) : box.right]
    if area.size:
        area[...] = cv2.addWeighted(area, 1 - opacity, np.full_like(area, fill), opacity, 0)
