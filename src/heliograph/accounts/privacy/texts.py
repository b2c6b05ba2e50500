"""What people are asked, word for word: one text for each purpose, each with a box of its own.

A version is the beginning of the text's SHA-256: whoever holds the text can check what was agreed
to. The operator's own texts replace these, by purpose and locale.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from heliograph.accounts.privacy.values import Purpose

FALLBACK = "en"

ENGLISH: dict[Purpose, str] = {
    Purpose.PROCESSING: "You may process the images that I send, for as long as the call takes.",
    Purpose.STORING_IMAGES: "You may keep images that I send for the time that the terms name.",
    Purpose.TRAINING: "You may use images that I send to train or measure models.",
    Purpose.FACES: (
        "You may process faces in the images that I send. I have the consent of those who can be "
        "seen. There is a way to use the service without this."
    ),
    Purpose.CROSS_BORDER: "You may process the images that I send in another country.",
    Purpose.THIRD_PARTY: "You may hand the images that I send to the processors that you name.",
}


class Texts:
    """The texts in force.

    Args:
        own: the operator's, by purpose and locale; what is missing is English.
    """

    def __init__(self, own: Mapping[tuple[Purpose, str], str] | None = None) -> None:
        self._own = dict(own or {})

    def text(self, purpose: Purpose, locale: str) -> tuple[str, str, str]:
        """The text of a purpose for somebody: its version, its locale, its words.

        Args:
            purpose: what for.
            locale: what they read; `de-CH` gets `de` if there is no closer one.
        """
        for one in (locale, locale.partition("-")[0], FALLBACK):
            if words := self._own.get((purpose, one)):
                return version(words), one, words
        return version(ENGLISH[purpose]), FALLBACK, ENGLISH[purpose]


def version(words: str) -> str:
    """The version of a text."""
    return hashlib.sha256(words.encode()).hexdigest()[:16]
