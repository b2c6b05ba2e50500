"""An invoice as PDF: A4, a page for a glance first, the same bytes from the same document.

Text is put on the page as it is: nothing in it is read as markup, and what cannot be shown (control
and direction characters) is left out. The typeface is one that the library carries, inside the
file; characters of East Asia, which it lacks, are shown by the reader's own fonts.
"""

from __future__ import annotations

import io
import unicodedata
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

from heliograph.billing.prices.values import Head
from heliograph.core.errors import Code, HeliographError
from heliograph.core.money import written

_WIDTH, _HEIGHT = 595, 842
_LEFT, _RIGHT, _FOOT = 51, 544, 78
_INK, _SOFT, _RULE, _ACCENT = "#1c2430", "#67707e", "#d9dde3", "#b4530a"
_TEXT, _BOLD, _EAST = "Vera", "VeraBd", "STSong-Light"
_QUANTITY, _PRICE, _AMOUNT = 356, 470, _RIGHT
_TITLES = {
    Head.HOST: "Hosting",
    Head.TRAFFIC: "Traffic",
    Head.COMPUTE: "Compute",
    Head.STORAGE: "Storage",
    Head.OTHER: "Licences, plans and other",
}
_KINDS = {"invoice": "Invoice", "credit_note": "Credit note", "debit_note": "Debit note"}
_SIGNS = {"EUR": "\u20ac", "USD": "$", "GBP": "\u00a3"}


def as_pdf(document: dict[str, Any]) -> bytes:
    """The invoice, or note, as a file.

    Raises:
        HeliographError: `unsupported` where the PDF library is not installed.
    """
    try:
        canvas, names = _fonts()
    except ModuleNotFoundError as error:
        raise HeliographError(
            Code.UNSUPPORTED,
            "PDF needs a library that is not installed: pip install 'heliograph[invoices]'. JSON "
            "and CSV are there without it.",
        ) from error
    # The number of pages stands on each of them: the first run counts, the second writes.
    pages = _Sheet(canvas, names, document, 0).write()[1]
    return _Sheet(canvas, names, document, pages).write()[0]


@lru_cache
def _fonts() -> tuple[Callable[..., Any], frozenset[int]]:
    """The library's canvas, with our fonts made known to it, and the characters of the typeface."""
    from reportlab.pdfbase import pdfmetrics
    from reportlab.pdfbase.cidfonts import UnicodeCIDFont
    from reportlab.pdfbase.ttfonts import TTFont
    from reportlab.pdfgen.canvas import Canvas

    face = TTFont(_TEXT, "Vera.ttf")
    for font in (face, TTFont(_BOLD, "VeraBd.ttf"), UnicodeCIDFont(_EAST)):
        pdfmetrics.registerFont(font)
    shapes: Any = face.face
    return Canvas, frozenset(shapes.charToGlyph)


def clean(text: str) -> str:
    """Text without what has no shape of its own: control, format and unassigned characters."""
    return "".join(c for c in text if unicodedata.category(c) not in {"Cc", "Cf", "Cn", "Co", "Cs"})


class _Sheet:
    """The pages while they are drawn, from the top down.

    Args:
        canvas: makes one.
        known: code points of the typeface.
        document: what is shown.
        pages: how many there will be; 0 while they are counted.
    """

    def __init__(
        self,
        canvas: Callable[..., Any],
        known: frozenset[int],
        document: dict[str, Any],
        pages: int,
    ) -> None:
        self._file = io.BytesIO()
        # `invariant`: no time of making and no random id, so that equal documents are equal files.
        self._canvas = canvas(self._file, (_WIDTH, _HEIGHT), invariant=1, pageCompression=1)
        self._known = known
        self._document = document
        self._pages = pages
        self._page = 1
        self._y = 0

    def write(self) -> tuple[bytes, int]:
        """Draw everything; the file and its number of pages."""
        said, seller = self._document, clean(self._document["seller"]["name"])
        self._canvas.setTitle(f"{_KINDS[said['kind']]} {said['number'] or said['month']}")
        self._canvas.setAuthor(seller or "Heliograph")
        self._canvas.setCreator("Heliograph")
        self._heading()
        self._lines()
        self._sums()
        self._words()
        self._foot()
        self._canvas.save()
        return self._file.getvalue(), self._page

    # Drawing text

    def _runs(self, text: str, font: str) -> list[tuple[str, str]]:
        """Stretches of text and the font that has their characters."""
        runs: list[tuple[str, str]] = []
        for char in text:
            if ord(char) in self._known:
                run = (char, font)
            elif unicodedata.east_asian_width(char) in {"W", "F", "A"}:
                run = (char, _EAST)
            else:
                run = ("?", font)
            if runs and runs[-1][1] == run[1]:
                runs[-1] = (runs[-1][0] + run[0], run[1])
            else:
                runs.append(run)
        return runs

    def _wide(self, text: str, font: str, size: int) -> int:
        wide = self._canvas.stringWidth
        return int(sum(wide(run, face, size) for run, face in self._runs(text, font))) + 1

    def _put(
        self, x: int, y: int, text: str, size: int = 9, font: str = _TEXT, ink: str = _INK
    ) -> None:
        self._canvas.setFillColor(ink)
        for run, face in self._runs(clean(text), font):
            self._canvas.setFont(face, size)
            self._canvas.drawString(x, y, run)
            x += self._canvas.stringWidth(run, face, size)

    def _end(
        self, x: int, y: int, text: str, size: int = 9, font: str = _TEXT, ink: str = _INK
    ) -> None:
        text = clean(text)
        self._put(x - self._wide(text, font, size) + 1, y, text, size, font, ink)

    def _wrap(self, text: str, width: int, size: int, font: str = _TEXT) -> list[str]:
        """Text in lines of at most `width`, broken at spaces, else anywhere."""
        lines: list[str] = []
        line = ""
        for word in clean(text).split():
            while self._wide(word, font, size) > width:
                fits = next(
                    n for n in range(len(word), 0, -1) if self._wide(word[:n], font, size) <= width
                )
                lines += [line] if line else []
                lines.append(word[:fits])
                line, word = "", word[fits:]  # noqa: PLW2901 - what is left of it
            joined = f"{line} {word}".strip()
            if self._wide(joined, font, size) > width:
                lines.append(line)
                joined = word
            line = joined
        return [*lines, line] if line else lines

    def _rule(self, y: int, ink: str = _RULE, left: int = _LEFT) -> None:
        self._canvas.setStrokeColor(ink)
        self._canvas.setLineWidth(1)
        self._canvas.line(left, y, _RIGHT, y)

    def _money(self, amount: int) -> str:
        text = _grouped(written(abs(amount), self._document["exponent"]))
        return ("\u2212" if amount < 0 else "") + text

    # The parts of the page

    def _heading(self) -> None:
        said, seller = self._document, self._document["seller"]
        self._canvas.setFillColor(_ACCENT)
        self._canvas.rect(0, _HEIGHT - 9, _WIDTH, 9, stroke=0, fill=1)
        self._put(_LEFT, 784, _KINDS[said["kind"]], 24, _BOLD)
        self._end(_RIGHT, 788, seller["name"], 12, _BOLD)
        y = 773
        for line in [*seller["address"], seller["email"]]:
            if line:
                self._end(_RIGHT, y, line, 8, ink=_SOFT)
                y -= 11
        if seller["tax_id"]:
            self._end(_RIGHT, y, f"Tax no. {seller['tax_id']}", 8, ink=_SOFT)
        self._buyer()
        self._facts()
        self._y = 560

    def _buyer(self) -> None:
        buyer = self._document["buyer"]
        self._put(_LEFT, 690, "To", 8, _BOLD, _ACCENT)
        name = buyer["name"] or self._document["workspace"]
        y = 676
        for line in self._wrap(name, 250, 10, _BOLD)[:3]:
            self._put(_LEFT, y, line, 10, _BOLD)
            y -= 13
        for line in [*buyer["address"], buyer["country"]]:
            for piece in self._wrap(line, 260, 9)[:1]:
                self._put(_LEFT, y, piece)
                y -= 12
        if buyer["tax_id"]:
            self._put(_LEFT, y, f"Tax no. {buyer['tax_id']}", ink=_SOFT)

    def _facts(self) -> None:
        said = self._document
        facts = [
            ("Number", said["number"] or f"none: {said['state']}"),
            ("Date", said["issued"][:10]),
            ("Month", said["month"]),
            ("Workspace", said["workspace"]),
        ]
        if said["kind"] != "invoice":
            facts.append(("Corrects invoice", said["invoice"]["number"]))
        for n, (name, value) in enumerate(facts):
            y = 690 - 14 * n
            self._put(330, y, name, 8, ink=_SOFT)
            size = 9 if self._wide(clean(value), _TEXT, 9) <= 150 else 7
            self._end(_RIGHT, y, value, size)
        self._canvas.setFillColor("#f7f2ec")
        self._canvas.roundRect(330, 590, _RIGHT - 330, 32, 4, stroke=0, fill=1)
        self._put(340, 602, "Amount due" if said["kind"] == "invoice" else "Total", 9, _BOLD)
        currency: str = said["currency"]
        sign = _SIGNS.get(currency, f"{currency} ")
        self._end(_RIGHT - 10, 600, sign + self._money(said["total"]), 14, _BOLD, _ACCENT)

    def _columns(self) -> None:
        self._put(_LEFT, self._y, "Description", 8, ink=_SOFT)
        self._end(_QUANTITY, self._y, "Quantity", 8, ink=_SOFT)
        self._end(_PRICE, self._y, "Price", 8, ink=_SOFT)
        self._end(_AMOUNT, self._y, f"Amount, {self._document['currency']}", 8, ink=_SOFT)
        self._rule(self._y - 6, _INK)
        self._y -= 24

    def _lines(self) -> None:
        self._columns()
        for head in Head:
            lines = [line for line in self._document["lines"] if line["head"] == head.value]
            if lines:
                self._room(44)
                self._put(_LEFT, self._y, _TITLES[head], 10, _BOLD, _ACCENT)
                total = sum(line["amount"] for line in lines)
                self._end(_AMOUNT, self._y, self._money(total), 10, _BOLD)
                self._y -= 16
                for line in lines:
                    self._line(line)
                self._y -= 8

    def _line(self, line: dict[str, Any]) -> None:
        names = self._wrap(_name(line), 220, 9)
        prices = self._wrap(_price(line), 104, 8)
        small = [*_small(line, self._document["month"]), *self._parts(line)]
        self._room(max(12 * len(names), 10 * len(prices)) + 10 * len(small[:3]) + 6)
        self._end(_QUANTITY, self._y, _quantity(line), 9)
        self._end(_AMOUNT, self._y, self._money(line["amount"]), 9)
        for n, text in enumerate(prices):
            self._end(_PRICE, self._y - 10 * n, text, 8)
        for n, text in enumerate(names):
            self._put(_LEFT, self._y - 12 * n, text, 9)
        self._y -= 12 * len(names)
        left = 10 * len(prices) - 12 * len(names)
        for text in small:
            self._room(12)
            for piece in self._wrap(text, 300, 7):
                self._put(_LEFT, self._y, piece, 7, ink=_SOFT)
                self._y -= 10
                left -= 10
        self._y -= max(left, 0) + 4

    def _parts(self, line: dict[str, Any]) -> Sequence[str]:
        parts = line.get("parts", ())
        if len(parts) == 1:
            return [parts[0]["model"]]
        return [
            f"{part['model']}: {_grouped(part['quantity'])} {line['unit']}, "
            f"{self._money(part['amount'])}"
            for part in parts
        ]

    def _sums(self) -> None:
        said = self._document
        rows: list[tuple[str, int]] = [("Net", said["net"])]
        for tax in said["taxes"]:
            percent = written(tax["rate"], 2).rstrip("0").rstrip(".")
            base = f" on {self._money(tax['base'])}" if tax["base"] != said["net"] else ""
            rows.append((f"{tax['name']} {percent} %{base}", tax["amount"]))
        if said["taxes"]:
            rows.append(("Gross", said["gross"]))
        rows += [(one["name"], -one["amount"]) for one in said.get("credits", ())]
        self._room(15 * len(rows) + 50)
        self._rule(self._y + 4, left=300)
        self._y -= 12
        for name, amount in rows:
            self._put(300, self._y, self._wrap(name, 170, 9)[0], 9)
            self._end(_AMOUNT, self._y, self._money(amount), 9)
            self._y -= 15
        self._rule(self._y + 8, _INK, 300)
        self._y -= 6
        self._put(300, self._y, "Due" if said["kind"] == "invoice" else "Total", 11, _BOLD)
        due = f"{self._money(said['total'])} {said['currency']}"
        self._end(_AMOUNT, self._y, due, 11, _BOLD)
        self._y -= 30

    def _words(self) -> None:
        said = self._document
        words = [tax["note"] for tax in said["taxes"] if tax["note"]]
        words += [said.get("reason", ""), said.get("terms", "")]
        for text in words:
            for line in self._wrap(text, 480, 8):
                self._room(12)
                self._put(_LEFT, self._y, line, 8, ink=_SOFT)
                self._y -= 11
            self._y -= 4 if text else 0

    def _room(self, points: int) -> None:
        """Go on to the next page unless there is so much room."""
        if self._y - points >= _FOOT:
            return
        self._foot()
        self._canvas.showPage()
        self._page += 1
        self._y = 790
        self._columns()

    def _foot(self) -> None:
        said = self._document
        self._rule(52)
        title = f"{_KINDS[said['kind']]} {said['number'] or said['month'] + ', ' + said['state']}"
        self._put(_LEFT, 38, title, 7, ink=_SOFT)
        times = "Times are UTC. Each line is rounded once, half to even."
        self._put(200, 38, times, 7, ink=_SOFT)
        self._end(_RIGHT, 38, f"Page {self._page} of {self._pages or self._page}", 7, ink=_SOFT)


def _name(line: dict[str, Any]) -> str:
    about = [line[key] for key in ("model", "device") if line.get(key)]
    name = f"{line['name']} ({', '.join(about)})" if about else line["name"]
    return f"{name}, late from {line['late']}" if line.get("late") else name


def _quantity(line: dict[str, Any]) -> str:
    if not line.get("unit"):
        return ""
    return f"{_grouped(line['quantity'])} {line['unit']}"


def _grouped(number: str) -> str:
    """A number with its thousands parted."""
    whole, point, rest = number.lstrip("-").partition(".")
    groups = [whole[max(0, n - 3) : n] for n in range(len(whole), 0, -3)][::-1]
    return ("\u2212" if number.startswith("-") else "") + ",".join(groups) + point + rest


def _price(line: dict[str, Any]) -> str:
    return line.get("price", "")


def _small(line: dict[str, Any], month: str) -> list[str]:
    """What stands under a line in small letters."""
    said: list[str] = []
    first, end = line["from"][:10], line["to"][:10]
    if not (first == f"{month}-01" and end[8:] == "01") and not line.get("late"):
        said.append(f"{first} until {end}")
    if line.get("share") and line["share"]["ms"] != line["share"]["of"]:
        days, of = line["share"]["ms"] // 86_400_000, line["share"]["of"] // 86_400_000
        said[-1] += f", {days} of {of} days"
    if line.get("free", "0") != "0":
        said.append(f"of which {_grouped(line['free'])} free or included")
    if line.get("discount"):
        said.append(f"less {written(line['discount'], 2).rstrip('0').rstrip('.')} %")
    return [", ".join(said)] if said else []
