"""Use cases of workspaces: make, rename, suspend; members and their roles."""

from __future__ import annotations

import unicodedata
from contextlib import suppress

from sqlalchemy import Connection
from sqlalchemy.exc import IntegrityError

from heliograph.accounts.roles import Role
from heliograph.accounts.workspaces import store
from heliograph.accounts.workspaces.values import DEFAULT, Member, State, Workspace
from heliograph.core.clock import Clock
from heliograph.core.errors import Code, HeliographError
from heliograph.core.events import Act, Event
from heliograph.core.ids import new_id
from heliograph.storage.database import Database, Record

_LONGEST = 80


class Workspaces:
    """Workspaces over a database.

    Args:
        database: where they are kept.
        clock: tells the time.
        record: takes audit events.
    """

    def __init__(self, database: Database, clock: Clock, record: Record) -> None:
        self._database = database
        self._clock = clock
        self._record = record

    def prepare(self) -> None:
        """Make the default workspace if this is the first start."""
        with self._database.read() as connection:
            if store.get(connection, DEFAULT):
                return
        # Of several processes that start at once one makes it.
        with suppress(IntegrityError):
            self._database.write(lambda connection: self._make(connection, DEFAULT, "default", ""))

    def create(self, name: str, actor: str, owner: str = "") -> Workspace:
        """Make a workspace, with its owner as first member if one is given.

        Raises:
            HeliographError: `validation`, `name_taken`.
        """
        shown = checked_name(name)

        def work(connection: Connection) -> Workspace:
            made = self._make(connection, new_id("ws"), shown, actor)
            if owner:
                one = Member(made.id, owner, Role.OWNER, self._clock())
                store.add_member(connection, one)
            return made

        try:
            return self._database.write(work)
        except IntegrityError as error:
            raise HeliographError(
                Code.NAME_TAKEN, f"There is a workspace {shown!r} or one that looks like it."
            ) from error

    def _make(self, connection: Connection, id: str, name: str, actor: str) -> Workspace:  # noqa: A002 - as the field
        made = Workspace(id, name, State.ACTIVE, 0, 1, "", self._clock())
        store.add(connection, made, folded(name))
        self._record(connection, Event(Act.WORKSPACE_CREATED, actor or "system", id, id))
        return made

    def get(self, workspace: str) -> Workspace:
        """One workspace.

        Raises:
            HeliographError: `not_found`.
        """
        with self._database.read() as connection:
            return _there(store.get(connection, workspace))

    def page(self, after: str = "", limit: int = 100) -> list[Workspace]:
        """Workspaces by id."""
        with self._database.read() as connection:
            return store.page(connection, after, limit)

    def rename(self, workspace: str, name: str, actor: str) -> Workspace:
        """Give a workspace another name.

        Raises:
            HeliographError: `not_found`, `validation`, `name_taken`.
        """
        shown = checked_name(name)

        def work(connection: Connection) -> Workspace:
            if not store.change(connection, workspace, name=shown, folded=folded(shown)):
                raise _missing()
            self._record(connection, Event(Act.WORKSPACE_CHANGED, actor, workspace, workspace))
            return _there(store.get(connection, workspace))

        try:
            return self._database.write(work)
        except IntegrityError as error:
            raise HeliographError(Code.NAME_TAKEN, f"There is a workspace {shown!r}.") from error

    def weigh(self, workspace: str, share: int, actor: str) -> Workspace:
        """Set a workspace's weight when the server is full, 1 to 100."""
        if not 1 <= share <= 100:
            raise HeliographError(Code.VALIDATION, f"A share is 1 to 100, not {share}.")

        def work(connection: Connection) -> Workspace:
            if not store.change(connection, workspace, share=share):
                raise _missing()
            self._record(
                connection,
                Event(Act.WORKSPACE_CHANGED, actor, workspace, workspace, {"share": share}),
            )
            return _there(store.get(connection, workspace))

        return self._database.write(work)

    # --- sanctions: within somebody's transaction --------------------------------------------

    def suspend(
        self, connection: Connection, workspace: str, until_ms: int, actor: str, case: str
    ) -> None:
        """Refuse every call of a workspace from now on; `until_ms` 0 for no end."""
        self._sanction(connection, workspace, State.SUSPENDED, until_ms, actor, case)

    def terminate(self, connection: Connection, workspace: str, actor: str, case: str) -> None:
        """End a workspace: every call is refused, its data waits for erasure."""
        self._sanction(connection, workspace, State.TERMINATED, 0, actor, case)

    def restore(self, connection: Connection, workspace: str, actor: str, case: str) -> None:
        """Take a workspace's suspension back."""
        self._sanction(connection, workspace, State.ACTIVE, 0, actor, case)

    def _sanction(
        self,
        connection: Connection,
        workspace: str,
        state: State,
        until_ms: int,
        actor: str,
        case: str,
    ) -> None:
        if not store.change(connection, workspace, state=state, until_ms=until_ms):
            raise _missing()
        act = Act.WORKSPACE_RESTORED if state is State.ACTIVE else Act.WORKSPACE_SUSPENDED
        facts = {"state": str(state), "until_ms": until_ms, "case": case}
        self._record(connection, Event(act, actor, workspace, workspace, facts))

    # --- members -----------------------------------------------------------------------------

    def members(self, workspace: str) -> list[Member]:
        """Who belongs to a workspace."""
        with self._database.read() as connection:
            return store.members(connection, workspace)

    def join(self, workspace: str, person: str, role: Role, actor: str) -> Member:
        """Make a person a member.

        Raises:
            HeliographError: `conflict` if it is one.
        """
        one = Member(workspace, person, role, self._clock())

        def work(connection: Connection) -> Member:
            _there(store.get(connection, workspace))
            store.add_member(connection, one)
            self._record(
                connection, Event(Act.MEMBER_ADDED, actor, workspace, person, {"role": str(role)})
            )
            return one

        try:
            return self._database.write(work)
        except IntegrityError as error:
            raise HeliographError(Code.CONFLICT, "This person is a member already.") from error

    def change_role(self, workspace: str, person: str, role: Role, actor: str) -> None:
        """Give a member another role.

        Raises:
            HeliographError: `not_found`; `conflict` if nobody would own the workspace then.
        """

        def work(connection: Connection) -> None:
            _keep_an_owner(connection, workspace, person, role)
            store.change_member(connection, workspace, person, role)
            self._record(
                connection,
                Event(Act.MEMBER_CHANGED, actor, workspace, person, {"role": str(role)}),
            )

        self._database.write(work)

    def leave(self, workspace: str, person: str, actor: str) -> None:
        """End a membership; raises as `change_role` does."""

        def work(connection: Connection) -> None:
            _keep_an_owner(connection, workspace, person, None)
            store.remove_member(connection, workspace, person)
            self._record(connection, Event(Act.MEMBER_REMOVED, actor, workspace, person))

        self._database.write(work)


def _keep_an_owner(connection: Connection, workspace: str, person: str, role: Role | None) -> None:
    there = {one.person: one.role for one in store.members(connection, workspace, lock=True)}
    if person not in there:
        raise HeliographError(Code.NOT_FOUND, "This workspace has no such member.")
    there[person] = role or Role.VIEWER
    had = role is not Role.OWNER and Role.OWNER not in there.values()
    if had:
        raise HeliographError(
            Code.CONFLICT, "A workspace keeps at least one owner: make somebody else one first."
        )


def checked_name(name: str) -> str:
    """A name as people may choose it: 1 to 80 characters that can be printed, NFC.

    Raises:
        HeliographError: `validation`.
    """
    shown = unicodedata.normalize("NFC", name).strip()
    if not 1 <= len(shown) <= _LONGEST or not shown.isprintable():
        raise HeliographError(
            Code.VALIDATION, f"A name is 1 to {_LONGEST} characters that can be printed."
        )
    return shown


def folded(name: str) -> str:
    """What two names have in common that a person would take for the same."""
    return unicodedata.normalize("NFKC", name).casefold()


def _there(one: Workspace | None) -> Workspace:
    if one is None:
        raise _missing()
    return one


def _missing() -> HeliographError:
    return HeliographError(Code.NOT_FOUND, "There is no such workspace.")
