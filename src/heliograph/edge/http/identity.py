"""Identity: `/api/v1/identity` for oneself, `/api/v1/identity/reviews` for reviewers.

What an applicant is told does not say whether somebody else has their name and number, nor who
reviews them. A reviewer sees evidence only within a review that they have taken.
"""

from __future__ import annotations

from typing import Annotated

import msgspec

from heliograph.accounts.identity.evidence import MOST_BYTES
from heliograph.accounts.identity.reviews import Case
from heliograph.accounts.identity.service import Identity
from heliograph.accounts.identity.values import Check, Claims, Level, State
from heliograph.core.errors import Code, HeliographError
from heliograph.core.permissions import Permission
from heliograph.edge.http.doors import Asked, Door, Page, Reply
from heliograph.edge.http.paths import named, place

_Text = Annotated[str, msgspec.Meta(min_length=1, max_length=2000)]


class NewCheck(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Who you are, to be checked.

    Attributes:
        name: as it stands in your document.
        number: of the document.
        provider: who checks; `manual` is the reviewers of this house.
    """

    name: Annotated[str, msgspec.Meta(min_length=1, max_length=200)]
    number: Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
    provider: Annotated[str, msgspec.Meta(max_length=40)] = "manual"


class Reason(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Why.

    Attributes:
        reason: in words, for those who look later; with a rejection the applicant is told.
    """

    reason: _Text


class Approval(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """An approval.

    Attributes:
        reason: what was compared.
        override: approve out of the ordinary (a duplicate, a provider's No, no picture); it takes
            two reviewers then.
    """

    reason: _Text
    override: bool = False


class CodeWanted(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Where a code is to be sent.

    Attributes:
        level: `email` for the account's address, or `phone`.
        number: of the phone, international, such as `+4930123456`.
    """

    level: Level
    number: Annotated[str, msgspec.Meta(max_length=20)] = ""


class CodeTyped(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A code that came.

    Attributes:
        level: what it was sent for.
        code: its six digits.
    """

    level: Level
    code: Annotated[str, msgspec.Meta(pattern="^[0-9]{6}$")]


class Queue(Page, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Which checks, and which part of the list.

    Attributes:
        state: only those in this state.
    """

    state: State = State.PENDING


class CheckCard(msgspec.Struct, frozen=True, kw_only=True):
    """A check, as its applicant sees it.

    Attributes:
        id: `idc_…`.
        level: what it is for; `state` where it stands.
        claimed: whether you have said who you are; if not, say it anew.
        reason: of the last decision.
        decided_ms: when it was decided, in milliseconds since 1970; 0 if it was not.
        until_ms: when it runs out; 0 for never.
    """

    id: str
    level: Level
    provider: str
    state: State
    claimed: bool
    reason: str
    created_ms: int
    decided_ms: int
    until_ms: int


class IdentityCard(msgspec.Struct, frozen=True, kw_only=True):
    """How well you are known.

    Attributes:
        level: the highest level that you have reached.
        state: that of your latest check; `none` without one.
        checks: the latest first.
        providers: who can check you.
    """

    level: Level
    state: State
    checks: list[CheckCard]
    providers: list[str]


class Shown(msgspec.Struct, frozen=True, kw_only=True):
    """A picture that was taken in.

    Attributes:
        picture: its id.
    """

    picture: str


class ReviewCard(msgspec.Struct, frozen=True, kw_only=True):
    """A check, as its reviewers see it.

    Attributes:
        check: what the applicant sees of it.
        person: the applicant's id.
        duplicate: somebody else has this name and number; `twins` are the ids of those checks.
        verdict: what a provider outside said: `passed`, `failed` or nothing.
        appealed: it is examined again, since the applicant did not agree.
        second: one reviewer has approved; another one is needed.
        pictures: ids of the pictures that can be looked at.
        reviewer: who has taken it.
    """

    check: CheckCard
    person: str
    duplicate: bool
    twins: list[str]
    verdict: str
    appealed: bool
    second: bool
    pictures: list[str]
    reviewer: str


class ReviewList(msgspec.Struct, frozen=True, kw_only=True):
    """Checks, the oldest first.

    Attributes:
        checks: at most `limit` of them; ask on with `after` = the last one's id.
    """

    checks: list[CheckCard]


class ClaimsCard(msgspec.Struct, frozen=True, kw_only=True):
    """Who the applicant says they are."""

    name: str
    number: str


def doors(identity: Identity) -> list[Door]:
    """The addresses."""
    mine, one = "/api/v1/identity", "/api/v1/identity/reviews/{check}"
    read, write, review = Permission.SELF_READ, Permission.SELF_WRITE, Permission.IDENTITY_REVIEW
    lost, wrong = (Code.NOT_FOUND,), (Code.CONFLICT, Code.FORBIDDEN, Code.NOT_FOUND)
    picture = (Code.CONFLICT, Code.EMPTY_FILE, Code.IMAGE_CORRUPT, Code.IMAGE_TOO_LARGE,
               Code.NOT_FOUND, Code.UNSUPPORTED_MEDIA)  # fmt: skip
    use, look = _Mine(identity), _Review(identity)
    return [
        Door("GET", mine, read, use.get, "How well you are known", "identity", gives=IdentityCard),
        Door("POST", f"{mine}/checks", write, use.submit, "Ask to be checked", "identity",
             takes=NewCheck, gives=CheckCard, codes=(Code.CONFLICT,)),
        Door("POST", f"{mine}/checks/{{check}}/pictures", write, use.picture,
             "Show a picture of your document", "identity", takes=bytes, gives=Shown,
             codes=picture, most=MOST_BYTES),
        Door("POST", f"{mine}/checks/{{check}}/appeal", write, use.appeal,
             "Ask for another reviewer", "identity", takes=Reason, gives=CheckCard,
             codes=(Code.CONFLICT, Code.NOT_FOUND)),
        Door("POST", f"{mine}/codes", write, use.send, "Have a code sent", "identity",
             takes=CodeWanted, codes=(Code.RATE_LIMITED, Code.UNSUPPORTED,
                                      Code.UPSTREAM_FETCH_FAILED), status=204),
        Door("POST", f"{mine}/codes/confirm", write, use.confirm, "Type a code in", "identity",
             takes=CodeTyped, status=204),
        Door("GET", f"{mine}/reviews", review, look.index, "Checks to review", "identity",
             gives=ReviewList, query=Queue),
        Door("GET", one, review, look.get, "One check", "identity", gives=ReviewCard, codes=lost),
        Door("POST", f"{one}/take", review, look.take, "Begin a review", "identity",
             gives=ReviewCard, codes=wrong),
        Door("GET", f"{one}/claims", review, look.claims, "Who the applicant says they are",
             "identity", gives=ClaimsCard, codes=wrong),
        Door("GET", f"{one}/pictures/{{picture}}", review, look.picture,
             "A picture, with your id across it", "identity", gives=bytes, codes=wrong),
        Door("POST", f"{one}/approve", review, look.approve, "Approve", "identity",
             takes=Approval, gives=CheckCard, codes=wrong),
        Door("POST", f"{one}/reject", review, look.reject, "Reject", "identity", takes=Reason,
             gives=CheckCard, codes=wrong),
    ]  # fmt: skip


class _Mine:
    """What people do about themselves."""

    def __init__(self, identity: Identity) -> None:
        self._identity = identity

    def get(self, asked: Asked) -> IdentityCard:
        """How it stands."""
        standing = self._identity.standing(_person(asked))
        return IdentityCard(
            level=standing.level,
            state=standing.state,
            checks=[_card(one) for one in standing.checks],
            providers=list(self._identity.providers),
        )

    def submit(self, asked: Asked) -> CheckCard:
        """Ask."""
        said: NewCheck = asked.body
        claims = Claims(said.name, said.number)
        return _card(self._identity.submit(_person(asked), said.provider, claims))

    def picture(self, asked: Asked) -> Shown:
        """Show."""
        check = named(asked, "check")
        return Shown(picture=self._identity.add_picture(_person(asked), check, asked.body))

    def appeal(self, asked: Asked) -> CheckCard:
        """Complain."""
        return _card(
            self._identity.appeal(_person(asked), named(asked, "check"), asked.body.reason)
        )

    def send(self, asked: Asked) -> None:
        """Have a code sent."""
        self._identity.codes.send(_person(asked), asked.body.level, asked.body.number)

    def confirm(self, asked: Asked) -> None:
        """Type it in."""
        self._identity.codes.confirm(_person(asked), asked.body.level, asked.body.code)


class _Review:
    """What reviewers do."""

    def __init__(self, identity: Identity) -> None:
        self._reviews = identity.reviews

    def index(self, asked: Asked) -> ReviewList:
        """The queue."""
        query: Queue = asked.query
        found = self._reviews.page(query.state, place(query.after), query.limit)
        return ReviewList(checks=[_card(one) for one in found])

    def get(self, asked: Asked) -> ReviewCard:
        """One."""
        return _review(self._reviews.show(named(asked, "check")))

    def take(self, asked: Asked) -> ReviewCard:
        """Begin."""
        return _review(self._reviews.take(named(asked, "check"), _reviewer(asked)))

    def claims(self, asked: Asked) -> ClaimsCard:
        """Who they say they are."""
        said = self._reviews.claims(named(asked, "check"), _reviewer(asked))
        return ClaimsCard(name=said.name, number=said.number)

    def picture(self, asked: Asked) -> Reply:
        """A picture, never to be kept by a cache."""
        check, picture = named(asked, "check"), named(asked, "picture")
        body = self._reviews.picture(check, picture, _reviewer(asked))
        return Reply(body, media="image/png", headers={"content-disposition": "inline"})

    def approve(self, asked: Asked) -> CheckCard:
        """Approve."""
        said: Approval = asked.body
        return _card(
            self._reviews.approve(
                named(asked, "check"), _reviewer(asked), said.reason, override=said.override
            )
        )

    def reject(self, asked: Asked) -> CheckCard:
        """Reject."""
        return _card(
            self._reviews.reject(named(asked, "check"), _reviewer(asked), asked.body.reason)
        )


def _person(asked: Asked) -> str:
    if not asked.caller.person:
        raise HeliographError(Code.FORBIDDEN, "This is about a person: log in as one, not by key.")
    return asked.caller.person


def _reviewer(asked: Asked) -> str:
    """Who reviews: a person, or the administrator; never a key, whose human nobody knows."""
    caller = asked.caller
    if caller.key or not (caller.person or caller.operator):
        raise HeliographError(Code.FORBIDDEN, "A person reviews: log in as one, not by key.")
    return caller.person or caller.name


def _card(check: Check) -> CheckCard:
    return CheckCard(**{name: getattr(check, name) for name in CheckCard.__struct_fields__})


def _review(case: Case) -> ReviewCard:
    check = case.check
    return ReviewCard(
        check=_card(check),
        person=check.person,
        duplicate=check.duplicate or bool(case.twins),
        twins=list(case.twins),
        verdict=check.verdict,
        appealed=check.appealed,
        second=case.second,
        pictures=[one.id for one in case.evidence if one.kind == "picture"],
        reviewer=check.reviewer,
    )
