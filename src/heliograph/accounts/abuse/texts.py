"""Text that strangers write, checked before it is kept: data, never markup, never a header."""

from __future__ import annotations

import re
import unicodedata

from heliograph.core.errors import Code, HeliographError

_MAIL = re.compile(r"[^\s@<>\",;:\\()\[\]]{1,64}@[^\s@<>\",;:\\()\[\]]{1,190}")


def checked(text: str, what: str, most: int, least: int = 1) -> str:
    """Text without control characters, in NFC, no longer than `most` characters.

    Raises:
        HeliographError: `validation`.
    """
    plain = unicodedata.normalize("NFC", text.replace("\r\n", "\n")).strip()
    if not least <= len(plain) <= most:
        raise HeliographError(Code.VALIDATION, f"{what} is {least} to {most} characters.")
    if any(unicodedata.category(sign) in {"Cc", "Cs"} and sign not in "\n\t" for sign in plain):
        raise HeliographError(Code.VALIDATION, f"{what} may not hold control characters.")
    return plain


def checked_line(text: str, what: str, most: int, least: int = 1) -> str:
    """As `checked`, on one line."""
    plain = checked(text, what, most, least)
    if "\n" in plain or "\t" in plain:
        raise HeliographError(Code.VALIDATION, f"{what} is one line.")
    return plain


def checked_mail(text: str) -> str:
    """An e-mail address, or empty.

    Raises:
        HeliographError: `validation`, for anything that could end a header too.
    """
    plain = checked_line(text, "The contact", 254, least=0)
    if plain and not _MAIL.fullmatch(plain):
        raise HeliographError(Code.VALIDATION, "The contact is one e-mail address, or empty.")
    return plain


def cell(text: str) -> str:
    """Text for a cell of a table, which no program takes for a formula."""
    return f"'{text}" if text[:1] in {"=", "+", "-", "@", "\t", "\r"} else text
