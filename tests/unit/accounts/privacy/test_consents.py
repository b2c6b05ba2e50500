"""Consents: one box a purpose, as easily taken back as given, and asked before a call."""

from __future__ import annotations

from pathlib import Path

import pytest

from heliograph.accounts.privacy.consents import FRESH_SECONDS, Consents
from heliograph.accounts.privacy.texts import ENGLISH, Texts, version
from heliograph.accounts.privacy.values import Purpose
from heliograph.audit.values import Filter
from heliograph.core.errors import Code, HeliographError
from heliograph.core.events import Act
from heliograph.storage.database import Database
from support.privacy import Town

FACES = version(ENGLISH[Purpose.FACES])


def refused(code: Code, *words: str) -> pytest.RaisesExc[HeliographError]:
    return pytest.RaisesExc(
        HeliographError, check=lambda e: e.code == code and all(word in e.detail for word in words)
    )


def test_nothing_is_agreed_to_until_somebody_says_so(database: Database, tmp_path: Path) -> None:
    town = Town(database, tmp_path / "home")
    me = town.person()
    asked = town.privacy.consents.asked(me)
    assert [one.purpose for one in asked] == sorted(Purpose)
    assert not any(one.given for one in asked)
    assert town.privacy.retention.picture_until(me) is None


def test_each_purpose_is_given_and_taken_back_alone(database: Database, tmp_path: Path) -> None:
    town = Town(database, tmp_path / "home")
    me = town.person()
    consents = town.privacy.consents
    consents.give(me, Purpose.FACES, FACES, me, locale="de-CH", channel="console")
    assert consents.agreed(me, Purpose.FACES)
    assert not consents.agreed(me, Purpose.TRAINING)
    consents.require(Purpose.FACES, "", me)
    with refused(Code.CONSENT_REQUIRED, "training"):
        consents.require(Purpose.TRAINING, me, "")
    consents.withdraw(me, Purpose.FACES, me)
    assert not consents.agreed(me, Purpose.FACES)
    first, second = consents.ledger(me)
    assert (first.given, first.version, first.locale, first.channel) == (
        True,
        FACES,
        "en",
        "console",
    )
    assert (second.given, second.version) == (False, "")
    assert consents.words(FACES) == ENGLISH[Purpose.FACES]
    acts = [one.act for one in town.audit.find(Filter(subject=me, limit=2))]
    assert acts == [Act.CONSENT_WITHDRAWN, Act.CONSENT_GIVEN]


def test_an_old_text_cannot_be_agreed_to(database: Database, tmp_path: Path) -> None:
    town = Town(database, tmp_path / "home")
    me = town.person()
    with refused(Code.CONFLICT, "changed"):
        town.privacy.consents.give(me, Purpose.FACES, "0" * 16, me)
    with refused(Code.VALIDATION):
        town.privacy.consents.give(me, Purpose.FACES, FACES, me, locale="../x")
    with refused(Code.NOT_FOUND):
        town.privacy.consents.give("usr_" + "0" * 32, Purpose.FACES, FACES, me)
    with refused(Code.NOT_FOUND):
        town.privacy.consents.withdraw("key_1", Purpose.FACES, me)


def test_texts_of_the_operator_come_in_the_readers_language() -> None:
    texts = Texts({(Purpose.FACES, "de"): "Gesichter: ja."})
    assert texts.text(Purpose.FACES, "de-CH") == (version("Gesichter: ja."), "de", "Gesichter: ja.")
    assert texts.text(Purpose.FACES, "fr")[1] == "en"


def test_a_withdrawal_reaches_other_processes_within_seconds(
    database: Database, tmp_path: Path
) -> None:
    town = Town(database, tmp_path / "home")
    me, now = town.person(), 0.0
    other = Consents(town.privacy.exports._parts, lambda: now)
    town.privacy.consents.give(me, Purpose.FACES, FACES, me)
    assert other.agreed(me, Purpose.FACES)
    town.privacy.consents.withdraw(me, Purpose.FACES, me)
    now = FRESH_SECONDS
    assert not other.agreed(me, Purpose.FACES)
    assert FRESH_SECONDS <= 60


def test_a_model_that_sees_faces_needs_consent(database: Database, tmp_path: Path) -> None:
    town = Town(database, tmp_path / "home")
    me = town.person()
    room = town.room(me)
    ask = town.privacy.consents.require
    with refused(Code.CONSENT_REQUIRED, "faces"):
        ask(Purpose.FACES, "", room)
    town.privacy.consents.give(room, Purpose.FACES, FACES, me)
    ask(Purpose.FACES, "", room)


def test_pictures_are_stored_only_with_a_term_and_consent(
    database: Database, tmp_path: Path
) -> None:
    town = Town(database, tmp_path / "home")
    me = town.person()
    text = version(ENGLISH[Purpose.STORING_IMAGES])
    town.privacy.consents.give(me, Purpose.STORING_IMAGES, text, me)
    until = town.privacy.retention.picture_until("", me)
    assert until == town.clock() + 30 * 86_400_000
