"""Where rooms that do not know each other meet: what one needs of another, in a few lines each.

Only `house.py` uses these.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from urllib.parse import urlencode

from sqlalchemy import Connection, select

from heliograph.accounts.abuse.parts import Measure
from heliograph.accounts.abuse.values import Action
from heliograph.accounts.keys import store as keys
from heliograph.accounts.people import store as people
from heliograph.accounts.quotas import store as quotas
from heliograph.accounts.quotas.service import Allowances
from heliograph.accounts.quotas.values import Amounts, window
from heliograph.accounts.roles import Role
from heliograph.accounts.workspaces import store as workspaces
from heliograph.accounts.workspaces.service import Workspaces
from heliograph.billing.ledger.store import LEDGER
from heliograph.billing.ledger.values import DEVICE, Row
from heliograph.billing.prices.quoting import CallUse
from heliograph.billing.prices.service import PriceService
from heliograph.core.call import Limit, Usage
from heliograph.core.clock import Clock
from heliograph.core.events import Act, Event
from heliograph.core.money import Cost
from heliograph.core.notices import Hook, Mail
from heliograph.edge.ledger import Settle
from heliograph.outbound.exchange import Bounds, Kept, Question
from heliograph.outbound.fetch import Courier
from heliograph.outbound.targets import PUBLIC
from heliograph.storage.database import Notify, Record

_ANSWERS = {Role.OWNER, Role.ADMIN}
_OPERATORS = 100
_SLOW_CALLS_A_MINUTE = 60
_FORM = "application/x-www-form-urlencoded"


# --- people of a workspace ------------------------------------------------------------------


def owners(connection: Connection, workspace: str) -> list[str]:
    """The addresses of those who answer for a workspace; the operators' for the server itself."""
    if not workspace:
        everybody = people.listed(connection, limit=_OPERATORS)
        return [one.mail for one in everybody if one.operator and one.mail]
    found = (
        people.find(connection, one.person)
        for one in workspaces.members(connection, workspace)
        if one.role in _ANSWERS
    )
    return [one.mail for one in found if one is not None and one.mail]


class Directory:
    """See `accounts.abuse.parts.Directory` and `accounts.identity.parts.People`."""

    def owner(self, connection: Connection, subject: str) -> str:
        """The workspace of an id; empty if nobody knows."""
        if subject.startswith("ws_"):
            return subject if workspaces.get(connection, subject) else ""
        if subject.startswith("key_"):
            key = keys.get(connection, "", subject)
            return key.workspace if key else ""
        if subject.startswith("pred_"):
            query = select(LEDGER.c.workspace).where(LEDGER.c.id == subject)
            return connection.scalar(query) or ""
        own = self.workspaces(connection, subject)
        return own[0] if len(own) == 1 else ""

    def mails(self, connection: Connection, workspace: str) -> Sequence[str]:
        """See `owners`."""
        return owners(connection, workspace)

    def answers(self, connection: Connection, workspace: str, person: str) -> bool:
        """Whether a person is an owner or admin."""
        return any(
            one.person == person and one.role in _ANSWERS
            for one in workspaces.members(connection, workspace)
        )

    def member(self, connection: Connection, workspace: str, person: str) -> bool:
        """Whether a person belongs to a workspace."""
        return any(one.person == person for one in workspaces.members(connection, workspace))

    def mail(self, connection: Connection, person: str) -> str:
        """A person's address; empty if there is none."""
        found = people.find(connection, person)
        return found.mail if found else ""

    def workspaces(self, connection: Connection, person: str) -> Sequence[str]:
        """Where a person is a member."""
        return workspaces.of_person(connection, person)


def owns(connection: Connection, workspace: str, key: str) -> bool:
    """Whether a key is a workspace's."""
    return keys.get(connection, workspace, key) is not None


def hearing(record: Record, acts: Mapping[Act, Callable[[Connection, str], None]]) -> Record:
    """A `Record` that also tells another room of some acts, by their subject."""

    def told(connection: Connection, event: Event) -> None:
        record(connection, event)
        if event.act in acts:
            acts[event.act](connection, event.subject)

    return told


def warning(notify: Notify) -> Callable[[Connection, str], None]:
    """Tells the owners of a key, and their programs, that it was seen where others can read it."""

    def warn(connection: Connection, key: str) -> None:
        found = keys.get(connection, "", key)
        if found is None:
            return
        where = {"key": key, "where": "an address"}
        for to in owners(connection, found.workspace):
            notify(connection, Mail(to, "key_exposed", where))
        notify(connection, Hook(found.workspace, "key.exposed", where))

    return warn


# --- sanctions ------------------------------------------------------------------------------


class Sanctions:
    """See `accounts.abuse.parts.Sanctions`.

    Nothing that callers bring is shown to others by this server, so that there is nothing to label,
    hide or remove yet; those decisions are told to the people concerned and stand in the audit log.
    """

    def __init__(self, rooms: Workspaces) -> None:
        self._rooms = rooms

    def suspend_workspace(
        self, connection: Connection, workspace: str, until_ms: int, case: str
    ) -> None:
        """Refuse every call of a workspace until then; 0 for ever."""
        self._rooms.suspend(connection, workspace, until_ms, "system", case)

    def restore_workspace(self, connection: Connection, workspace: str, case: str) -> None:
        """Take calls again."""
        self._rooms.restore(connection, workspace, "system", case)

    def impose(self, connection: Connection, measure: Measure) -> None:
        """Limit: so many calls a minute and no more."""
        if measure.action is Action.LIMIT and measure.workspace:
            quotas.put(connection, _limit(measure.workspace))
            workspaces.touch(connection)

    def lift(self, connection: Connection, measure: Measure) -> None:
        """Take the limit away."""
        if measure.action is Action.LIMIT and measure.workspace:
            quotas.drop(connection, *_limit(measure.workspace)[:3])
            workspaces.touch(connection)


def _limit(workspace: str) -> Limit:
    return Limit(workspace, "calls", "minute", _SLOW_CALLS_A_MINUTE)


# --- what a call costs and counts for -------------------------------------------------------


def quoting(prices: PriceService) -> Callable[[Usage], Cost]:
    """What a call costs; the traffic of its answer, whose size nobody knows yet, is left out."""

    def quote(used: Usage) -> Cost:
        return prices.quote(
            CallUse(
                model=used.model,
                device=DEVICE,
                images=used.rows if used.pixels else 0,
                rows=used.rows,
                pixels=used.pixels,
                run_us=round(used.timings.get("run", 0.0) * 1000),
                bytes_in=used.bytes_in,
                bytes_out=0,
            )
        )

    return quote


def counting(allowances: Allowances) -> Settle:
    """Counts answered calls for the limits of their callers."""

    def settle(connection: Connection, rows: Sequence[tuple[Usage, Row]]) -> None:
        answered = [
            (used.caller.limits, Amounts(1, row.images, row.pixels, row.cost))
            for used, row in rows
            if used.caller.limits
        ]
        if answered:
            allowances.settle(connection, answered, rows[0][1].at_ms)

    return settle


def seeding(clock: Clock) -> Callable[[Connection, Limit, int], None]:
    """Sets a limit's counter of this month to no less than what was used already."""

    def seed(connection: Connection, limit: Limit, used: int) -> None:
        quotas.seed(connection, limit, window(limit.period, clock()).begin_ms, used)

    return seed


# --- outside --------------------------------------------------------------------------------


def fetching(courier: Courier) -> Callable[..., bytes]:
    """Reads the addresses of OpenID providers; see `accounts.people.providers.Fetch`."""

    def fetch(url: str, form: Mapping[str, str] | None = None) -> bytes:
        bounds = Bounds(1 << 20, 10)
        if form is None:
            return courier.get(url, PUBLIC, bounds).body
        headers = {"content-type": _FORM, "accept": "application/json"}
        question = Question("POST", headers, urlencode(form).encode(), Kept.ALL)
        return courier.send(url, question, PUBLIC, bounds).body

    return fetch
