"""Identity: levels, reviews by others, evidence that is seen by few and goes, duplicates."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sqlalchemy import select

from heliograph.accounts.identity import store
from heliograph.accounts.identity.providers import FolderTexter, Verdict
from heliograph.accounts.identity.values import (
    DAY_MS,
    HOUR_MS,
    Check,
    Claims,
    Feature,
    Level,
    Policy,
    State,
    fingerprint,
)
from heliograph.core.errors import Code, HeliographError
from heliograph.core.events import Act
from heliograph.storage.database import Database
from heliograph.vision.decode import decode
from support.conduct import Office, office

ME, REVIEWER, OTHER = "usr_good", "usr_reviewer", "usr_other"
CLAIMS = Claims("Ada Lovelace", "P-123 456")
STRICT = Policy(
    features={Feature.CALL_MODELS: Level.REAL_NAME},
    quotas={"images": ((1000, Level.EMAIL), (10**6, Level.REAL_NAME))},
)


def picture(seed: int = 0) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 255, (240, 360, 3), np.uint8)
    file = io.BytesIO()
    exif = Image.Exif()
    exif[0x010E] = "taken at home"
    Image.fromarray(pixels).save(file, "JPEG", exif=exif)
    return file.getvalue()


def refused(code: Code, work: object, *args: object, **options: object) -> HeliographError:
    assert callable(work)
    with pytest.raises(HeliographError) as caught:
        work(*args, **options)
    assert caught.value.code is code, caught.value
    return caught.value


def applied(o: Office, person: str = ME, claims: Claims = CLAIMS, *, pictures: int = 1) -> Check:
    check = o.identity.submit(person, "manual", claims)
    for one in range(pictures):
        o.identity.add_picture(person, check.id, picture(one))
    return check


def looked(o: Office, check: str, reviewer: str) -> None:
    for piece in o.identity.reviews.take(check, reviewer).evidence:
        if piece.kind == "picture":
            o.identity.reviews.picture(check, piece.id, reviewer)
        else:
            o.identity.reviews.claims(check, reviewer)


def verified(o: Office, person: str = ME, claims: Claims = CLAIMS) -> Check:
    check = applied(o, person, claims)
    looked(o, check.id, REVIEWER)
    return o.identity.reviews.approve(check.id, REVIEWER, "The document agrees.")


def test_skipping_a_step_is_refused(database: Database, tmp_path: Path) -> None:
    o = office(database, tmp_path, policy=STRICT)
    refused(Code.IDENTITY_REQUIRED, o.identity.require, ME, Feature.CALL_MODELS)
    refused(Code.IDENTITY_REQUIRED, o.identity.require, "", Feature.CALL_MODELS)
    o.identity.require(ME, Feature.CREATE_KEYS)
    check = applied(o)
    refused(Code.IDENTITY_REQUIRED, o.identity.require, ME, Feature.CALL_MODELS)
    refused(Code.CONFLICT, o.identity.reviews.approve, check.id, REVIEWER, "not taken")
    o.identity.reviews.take(check.id, REVIEWER)
    refused(Code.CONFLICT, o.identity.reviews.approve, check.id, REVIEWER, "not looked at")
    looked(o, check.id, REVIEWER)
    done = o.identity.reviews.approve(check.id, REVIEWER, "The document agrees.")
    assert done.state is State.VERIFIED
    o.identity.require(ME, Feature.CALL_MODELS)
    assert o.identity.standing(ME).level is Level.REAL_NAME
    assert [one.workspace for one in o.log.hooks("identity.decided")] == ["ws_good"]
    assert o.log.mails(f"{ME}@example.org")[-1].template == "identity_decided"


def test_a_large_quota_needs_more(database: Database, tmp_path: Path) -> None:
    o = office(database, tmp_path, policy=STRICT)
    o.identity.require_quota(ME, "images", 1000)
    refused(Code.IDENTITY_REQUIRED, o.identity.require_quota, ME, "images", 1001)
    database.write(lambda c: o.identity.attest(c, ME, Level.EMAIL, "link"))
    o.identity.require_quota(ME, "images", 1001)
    refused(Code.IDENTITY_REQUIRED, o.identity.require_quota, ME, "images", 10**6 + 1)


def test_a_role_can_need_a_level() -> None:
    policy = Policy({Feature.CREATE_KEYS: Level.EMAIL}, roles={"owner": Level.REAL_NAME})
    assert policy.required(Feature.CREATE_KEYS) is Level.EMAIL
    assert policy.required(Feature.CREATE_KEYS, "owner") is Level.REAL_NAME
    assert policy.required(Feature.PUBLISH_MODELS) is Level.OFF


def test_nobody_approves_themselves(database: Database, tmp_path: Path) -> None:
    o = office(database, tmp_path)
    check = applied(o)
    refused(Code.FORBIDDEN, o.identity.reviews.take, check.id, ME)
    refused(Code.FORBIDDEN, o.identity.reviews.take, check.id, "")
    refused(Code.FORBIDDEN, o.identity.reviews.approve, check.id, ME, "it is me")
    refused(Code.FORBIDDEN, o.identity.reviews.reject, check.id, ME, "it is me")


def test_a_view_without_the_case_is_refused_and_noted(database: Database, tmp_path: Path) -> None:
    o = office(database, tmp_path)
    check = applied(o)
    piece = o.identity.reviews.show(check.id).evidence[-1]
    assert piece.kind == "picture"
    refused(Code.FORBIDDEN, o.identity.reviews.picture, check.id, piece.id, REVIEWER)
    refused(Code.FORBIDDEN, o.identity.reviews.picture, "idc_0", piece.id, REVIEWER)
    assert [one.actor for one in o.log.of(Act.IDENTITY_VIEW_REFUSED)] == [REVIEWER, REVIEWER]
    assert not o.log.of(Act.IDENTITY_VIEWED)
    o.identity.reviews.take(check.id, REVIEWER)
    refused(Code.FORBIDDEN, o.identity.reviews.picture, check.id, piece.id, OTHER)
    o.identity.reviews.picture(check.id, piece.id, REVIEWER)
    seen = o.log.of(Act.IDENTITY_VIEWED)
    assert [(one.actor, one.facts["evidence"]) for one in seen] == [(REVIEWER, piece.id)]
    o.clock.turn(2 * HOUR_MS)
    refused(Code.FORBIDDEN, o.identity.reviews.picture, check.id, piece.id, REVIEWER)
    # The evidence of another check is not a way around it.
    mine = applied(o, OTHER, Claims("B", "2"))
    o.identity.reviews.take(mine.id, REVIEWER)
    refused(Code.NOT_FOUND, o.identity.reviews.picture, mine.id, piece.id, REVIEWER)


def test_pictures_are_kept_without_metadata_and_shown_stamped(
    database: Database, tmp_path: Path
) -> None:
    o = office(database, tmp_path)
    check = applied(o)
    piece = o.identity.reviews.show(check.id).evidence[-1]
    kept = o.vault.get(piece.ref)
    assert b"Exif" in picture()
    assert b"Exif" not in kept
    assert b"taken at home" not in kept
    assert all(kept[:40] not in file.read_bytes() for file in o.vault.folder.iterdir())
    o.identity.reviews.take(check.id, REVIEWER)
    shown = decode(o.identity.reviews.picture(check.id, piece.id, REVIEWER)).pixels
    plain = decode(kept).pixels
    assert shown.shape == plain.shape
    # Writing stands in every part that could be cut out.
    for rows in np.array_split(np.arange(shown.shape[0]), 4):
        for columns in np.array_split(np.arange(shown.shape[1]), 4):
            assert (shown[np.ix_(rows, columns)] != plain[np.ix_(rows, columns)]).mean() > 0.01
    later = o.identity.reviews.picture(check.id, piece.id, REVIEWER)
    o.clock.turn(61_000)
    assert o.identity.reviews.picture(check.id, piece.id, REVIEWER) != later


def test_what_is_no_picture_is_refused(database: Database, tmp_path: Path) -> None:
    o = office(database, tmp_path)
    check = applied(o, pictures=4)
    before = o.vault.refs()
    refused(Code.UNSUPPORTED_MEDIA, o.identity.add_picture, ME, check.id, b"%PDF-1.7 hello there")
    refused(Code.NOT_FOUND, o.identity.add_picture, OTHER, check.id, picture())
    refused(Code.CONFLICT, o.identity.add_picture, ME, check.id, picture())
    assert o.vault.refs() == before


def test_evidence_is_gone_after_the_window(database: Database, tmp_path: Path) -> None:
    o = office(database, tmp_path)
    verified(o)
    assert len(o.vault.refs()) == 2
    o.clock.turn(30 * DAY_MS - 1)
    assert o.identity.sweep() == {"expired": 0, "shredded": 0}
    o.clock.turn(1)
    assert o.identity.sweep() == {"expired": 0, "shredded": 2}
    assert not o.vault.refs()
    assert o.identity.sweep() == {"expired": 0, "shredded": 0}
    assert len(o.log.of(Act.IDENTITY_EVIDENCE_SHREDDED)) == 2
    assert o.identity.standing(ME).level is Level.REAL_NAME


def test_a_legal_hold_beats_the_sweeper_and_the_erasure(database: Database, tmp_path: Path) -> None:
    held = {ME}
    o = office(database, tmp_path, held=lambda _, person: person in held)
    verified(o)
    o.clock.turn(90 * DAY_MS)
    assert o.identity.sweep()["shredded"] == 0
    assert not o.identity.forget(ME)
    assert len(o.vault.refs()) == 2
    held.clear()
    assert o.identity.forget(ME)
    assert not o.vault.refs()


def test_forgetting_leaves_no_name_number_or_hash(database: Database, tmp_path: Path) -> None:
    o = office(database, tmp_path)
    check = verified(o)
    o.identity.forget(ME)
    with database.read() as connection:
        row = connection.execute(select(store.CHECKS)).one()
        opinions = store.opinions(connection, check.id)
    assert (row.fingerprint, row.reason) == ("", "")
    assert [one.reason for one in opinions] == [""]


def test_a_change_of_name_goes_back_to_pending(database: Database, tmp_path: Path) -> None:
    o = office(database, tmp_path, policy=STRICT)
    check = verified(o)
    database.write(lambda c: o.identity.renamed(c, ME))
    standing = o.identity.standing(ME)
    assert (standing.state, standing.level) == (State.PENDING, Level.OFF)
    refused(Code.IDENTITY_REQUIRED, o.identity.require, ME, Feature.CALL_MODELS)
    o.identity.reviews.take(check.id, OTHER)
    refused(Code.CONFLICT, o.identity.reviews.approve, check.id, OTHER, "as before", override=True)
    # What was shown under the old name is destroyed and counts for nothing.
    assert o.identity.sweep()["shredded"] == 2
    again = o.identity.submit(ME, "manual", Claims("Ada King", "P-123 456"))
    assert again.id == check.id
    o.identity.add_picture(ME, check.id, picture())
    looked(o, check.id, OTHER)
    assert o.identity.reviews.approve(check.id, OTHER, "agrees").state is State.VERIFIED
    assert o.log.of(Act.IDENTITY_REOPENED)


def test_a_duplicate_is_flagged_not_leaked(database: Database, tmp_path: Path) -> None:
    o = office(database, tmp_path)
    first = verified(o)
    twin = Claims("LOVELACE, ada", "p123456")
    check = applied(o, OTHER, twin)
    alone = applied(o, "usr_third", Claims("Grace Hopper", "9"))
    hidden = {"id", "person", "duplicate", "created_ms"}
    told = [{n: getattr(c, n) for n in c.__slots__ if n not in hidden} for c in (check, alone)]
    assert told[0] == told[1]
    case = o.identity.reviews.show(check.id)
    assert case.twins == (first.id,)
    assert case.check.duplicate
    looked(o, check.id, REVIEWER)
    refused(Code.CONFLICT, o.identity.reviews.approve, check.id, REVIEWER, "looks well")
    one = o.identity.reviews.approve(check.id, REVIEWER, "twins", override=True)
    assert one.state is State.PENDING
    # The second approval is another person's.
    refused(Code.FORBIDDEN, o.identity.reviews.take, check.id, REVIEWER)
    looked(o, check.id, "usr_second")
    two = o.identity.reviews.approve(check.id, "usr_second", "twins indeed", override=True)
    assert two.state is State.VERIFIED
    letters = [one for one in o.log.notices if "P-123" in str(one) or first.id in str(one)]
    assert not letters


def test_the_administrator_is_one_person(database: Database, tmp_path: Path) -> None:
    o = office(database, tmp_path)
    check = applied(o, pictures=0)
    looked(o, check.id, "admin")
    o.identity.reviews.approve(check.id, "admin", "seen in person", override=True)
    refused(Code.FORBIDDEN, o.identity.reviews.take, check.id, "command")


def test_an_appeal_is_decided_by_another(database: Database, tmp_path: Path) -> None:
    o = office(database, tmp_path)
    check = applied(o)
    looked(o, check.id, REVIEWER)
    o.identity.reviews.reject(check.id, REVIEWER, "blurred")
    assert o.identity.standing(ME).state is State.REJECTED
    refused(Code.NOT_FOUND, o.identity.appeal, OTHER, check.id, "mine!")
    o.identity.appeal(ME, check.id, "It is sharp.")
    refused(Code.FORBIDDEN, o.identity.reviews.take, check.id, REVIEWER)
    looked(o, check.id, OTHER)
    assert o.identity.reviews.approve(check.id, OTHER, "sharp").state is State.VERIFIED


def test_an_appeal_comes_once_and_in_time(database: Database, tmp_path: Path) -> None:
    o = office(database, tmp_path)
    check = applied(o)
    looked(o, check.id, REVIEWER)
    o.identity.reviews.reject(check.id, REVIEWER, "blurred")
    o.identity.appeal(ME, check.id, "It is sharp.")
    looked(o, check.id, OTHER)
    o.identity.reviews.reject(check.id, OTHER, "still blurred")
    refused(Code.CONFLICT, o.identity.appeal, ME, check.id, "again")
    other = applied(o, OTHER, Claims("C", "3"))
    looked(o, other.id, REVIEWER)
    o.identity.reviews.reject(other.id, REVIEWER, "no")
    o.clock.turn(31 * DAY_MS)
    refused(Code.CONFLICT, o.identity.appeal, OTHER, other.id, "late")


def test_terms_run_out(database: Database, tmp_path: Path) -> None:
    o = office(database, tmp_path, policy=STRICT)
    verified(o)
    waiting = applied(o, OTHER, Claims("C", "3"))
    o.clock.turn(60 * DAY_MS)
    assert o.identity.sweep()["expired"] == 1
    assert o.identity.standing(OTHER).checks[0].state is State.EXPIRED
    assert applied(o, OTHER, Claims("C", "3")).id != waiting.id
    o.clock.turn(670 * DAY_MS)
    # The level is gone by the clock, not by the sweeper.
    refused(Code.IDENTITY_REQUIRED, o.identity.require, ME, Feature.CALL_MODELS)
    o.identity.sweep()
    assert o.identity.standing(ME).state is State.EXPIRED
    assert {one.actor for one in o.log.of(Act.IDENTITY_EXPIRED)} == {"system"}


def test_two_checks_at_once_are_one(database: Database, tmp_path: Path) -> None:
    o = office(database, tmp_path)
    applied(o)
    before = o.vault.refs()
    refused(Code.CONFLICT, o.identity.submit, ME, "manual", CLAIMS)
    refused(Code.VALIDATION, o.identity.submit, ME, "oracle", CLAIMS)
    refused(Code.VALIDATION, o.identity.submit, OTHER, "manual", Claims("a\x00b", "1"))
    refused(Code.VALIDATION, o.identity.submit, OTHER, "manual", Claims("", "1"))
    assert o.vault.refs() == before


def test_neither_database_nor_events_hold_a_name_or_number(
    database: Database, tmp_path: Path
) -> None:
    o = office(database, tmp_path)
    verified(o)
    said = json.dumps([str(one) for one in o.log.events + o.log.notices])
    with database.read() as connection:
        for table in (store.CHECKS, store.EVIDENCE, store.OPINIONS, store.VIEWS):
            said += str(connection.execute(select(table)).all())
    for secret in ("Ada", "Lovelace", "P-123", "p123", "lovelace"):
        assert secret not in said


class Register:
    """A service outside, in a few lines: knows one number."""

    name = "register"
    level = Level.REAL_NAME

    def __init__(self) -> None:
        self.up = True

    def ask(self, check: str, claims: Claims) -> Verdict:
        if not self.up:
            raise HeliographError(Code.UPSTREAM_FETCH_FAILED, "The register does not answer.")
        return Verdict(claims.number == "42", f"ref-{check[-4:]}")


def test_a_provider_outside_says_yes_and_people_look_at_its_no(
    database: Database, tmp_path: Path
) -> None:
    register = Register()
    o = office(database, tmp_path, providers=[register])
    assert o.identity.submit(ME, "register", Claims("A", "42")).state is State.VERIFIED
    # The same name and number again: no machine lets that pass.
    again = o.identity.submit(OTHER, "register", Claims("A", "42"))
    assert (again.state, again.verdict) == (State.PENDING, "passed")
    no = o.identity.submit("usr_third", "register", Claims("B", "41"))
    assert (no.state, no.verdict) == (State.PENDING, "failed")
    o.identity.add_picture("usr_third", no.id, picture())
    looked(o, no.id, REVIEWER)
    error = refused(Code.CONFLICT, o.identity.reviews.approve, no.id, REVIEWER, "yes it is")
    assert "No" in error.detail
    register.up = False
    silent = o.identity.submit("usr_fourth", "register", Claims("C", "42"))
    assert (silent.state, silent.verdict) == (State.PENDING, "")


def test_codes_by_mail(database: Database, tmp_path: Path) -> None:
    o = office(database, tmp_path)
    o.identity.codes.send(ME, Level.EMAIL)
    letter = o.log.mails(f"{ME}@example.org")[0]
    assert letter.template == "identity_code"
    code = letter.facts["code"]
    wrong = f"{(int(code) + 1) % 10**6:06d}"
    refused(Code.VALIDATION, o.identity.codes.confirm, ME, Level.EMAIL, wrong)
    refused(Code.VALIDATION, o.identity.codes.confirm, OTHER, Level.EMAIL, code)
    o.identity.codes.confirm(ME, Level.EMAIL, code)
    assert o.identity.standing(ME).level is Level.EMAIL
    refused(Code.VALIDATION, o.identity.codes.confirm, ME, Level.EMAIL, code)


def test_codes_are_bounded(database: Database, tmp_path: Path) -> None:
    o = office(database, tmp_path)
    o.identity.codes.send(ME, Level.EMAIL)
    refused(Code.RATE_LIMITED, o.identity.codes.send, ME, Level.EMAIL)
    code = o.log.mails(f"{ME}@example.org")[0].facts["code"]
    for _ in range(5):
        refused(Code.VALIDATION, o.identity.codes.confirm, ME, Level.EMAIL, "x")
    refused(Code.VALIDATION, o.identity.codes.confirm, ME, Level.EMAIL, code)
    for _ in range(4):
        o.clock.turn(60_000)
        o.identity.codes.send(ME, Level.EMAIL)
    o.clock.turn(60_000)
    error = refused(Code.RATE_LIMITED, o.identity.codes.send, ME, Level.EMAIL)
    assert error.retry_after is not None
    assert error.retry_after > 60
    last = o.log.mails(f"{ME}@example.org")[-1].facts["code"]
    o.clock.turn(600_000)
    refused(Code.VALIDATION, o.identity.codes.confirm, ME, Level.EMAIL, last)


def test_codes_by_phone(database: Database, tmp_path: Path) -> None:
    none = office(database, tmp_path)
    refused(Code.UNSUPPORTED, none.identity.codes.send, ME, Level.PHONE, "+4930123456")
    o = office(database, tmp_path, texter=FolderTexter(tmp_path / "sms"))
    refused(Code.VALIDATION, o.identity.codes.send, ME, Level.PHONE, "0049 30")
    refused(Code.VALIDATION, o.identity.codes.send, ME, Level.REAL_NAME)
    o.identity.codes.send(ME, Level.PHONE, "+4930123456")
    (file,) = (tmp_path / "sms").glob("*.txt")
    head, _, text = file.read_text().partition("\n\n")
    assert head == "To: +4930123456"
    o.identity.codes.confirm(ME, Level.PHONE, text[:6])
    assert o.identity.standing(ME).level is Level.PHONE
    with database.read() as connection:
        assert "4930123456" not in str(connection.execute(select(store.CHECKS)).all())


def test_fingerprints_agree_on_one_human_and_need_the_secret() -> None:
    one = fingerprint(b"k" * 32, Claims("José  Núñez", "AB-12"))
    assert one == fingerprint(b"k" * 32, Claims("núñez, josé", "ab 12"))
    assert one == fingerprint(b"k" * 32, Claims("JOSÉ NÚÑEZ", "\uff21B12"))
    assert one != fingerprint(b"x" * 32, Claims("José Núñez", "AB-12"))
    assert one != fingerprint(b"k" * 32, Claims("José Núñez", "AB-13"))
