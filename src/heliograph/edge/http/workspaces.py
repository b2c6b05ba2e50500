"""Workspaces and their members: `/api/v1/workspaces`, `/api/v1/members`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

import msgspec

from heliograph.accounts.roles import Role
from heliograph.accounts.workspaces.service import Workspaces
from heliograph.accounts.workspaces.values import Member, Workspace
from heliograph.core.errors import Code, HeliographError
from heliograph.core.permissions import Permission
from heliograph.edge.http.doors import Asked, Door, Page

_Name = Annotated[str, msgspec.Meta(min_length=1, max_length=80)]


class NewWorkspace(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A workspace to be made.

    Attributes:
        name: what people call it.
        owner: id of the person who owns it; only the operator may leave it out or name another.
    """

    name: _Name
    owner: str = ""


class WorkspaceChange(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What is to be changed of a workspace; what is left out stays.

    Attributes:
        name: what people call it.
        share: its weight when the server is full, 1 to 100; the operator's to set.
    """

    name: _Name | msgspec.UnsetType = msgspec.UNSET
    share: Annotated[int, msgspec.Meta(ge=1, le=100)] | msgspec.UnsetType = msgspec.UNSET


class WorkspaceCard(msgspec.Struct, frozen=True, kw_only=True):
    """A workspace: what is billed, limited and suspended.

    Attributes:
        id: `ws_…`.
        name: what people call it.
        state: `active`, `suspended` or `terminated`.
        until_ms: end of a suspension, in milliseconds since 1970; 0 for none.
        share: its weight when the server is full.
        created_ms: when it was made.
    """

    id: str
    name: str
    state: str
    until_ms: int
    share: int
    created_ms: int


class WorkspaceList(msgspec.Struct, frozen=True, kw_only=True):
    """Workspaces by id.

    Attributes:
        workspaces: at most `limit` of them; ask on with `after` = the last one's id.
    """

    workspaces: list[WorkspaceCard]


class NewMember(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A person who is to join.

    Attributes:
        person: `usr_…`.
        role: what they are to be here.
    """

    person: Annotated[str, msgspec.Meta(pattern="^usr_[0-9a-f]{32}$")]
    role: Role


class NewRole(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A member's role.

    Attributes:
        role: what they are to be from now on.
    """

    role: Role


class MemberCard(msgspec.Struct, frozen=True, kw_only=True):
    """A person in a workspace.

    Attributes:
        person: `usr_…`.
        role: what they are here.
        added_ms: when they joined, in milliseconds since 1970.
    """

    person: str
    role: str
    added_ms: int


class MemberList(msgspec.Struct, frozen=True, kw_only=True):
    """Who belongs to a workspace.

    Attributes:
        members: all of them.
    """

    members: list[MemberCard]


def doors(workspaces: Workspaces, exists: Callable[[str], object]) -> list[Door]:
    """The addresses; `exists` refuses the id of a person whom there is not."""
    one, member = "/api/v1/workspaces/{workspace}", "/api/v1/members/{person}"
    read, write = Permission.WORKSPACES_READ, Permission.WORKSPACES_WRITE
    see, change = Permission.MEMBERS_READ, Permission.MEMBERS_WRITE
    taken = (Code.NAME_TAKEN, Code.NOT_FOUND)
    use = _Use(workspaces, exists)
    return [
        Door("GET", "/api/v1/workspaces", read, use.index, "Your workspace; for the operator, all",
             "workspaces", gives=WorkspaceList, query=Page),
        Door("POST", "/api/v1/workspaces", Permission.SELF_WRITE, use.create, "Make a workspace",
             "workspaces", takes=NewWorkspace, gives=WorkspaceCard, codes=(Code.NAME_TAKEN,)),
        Door("GET", one, read, use.get, "One workspace", "workspaces", gives=WorkspaceCard,
             codes=(Code.NOT_FOUND,)),
        Door("PATCH", one, write, use.amend, "Change a workspace", "workspaces",
             takes=WorkspaceChange, gives=WorkspaceCard, codes=taken),
        Door("GET", "/api/v1/members", see, use.members, "Who belongs to the workspace",
             "workspaces", gives=MemberList),
        Door("POST", "/api/v1/members", change, use.join, "Make a person a member", "workspaces",
             takes=NewMember, gives=MemberCard, codes=(Code.CONFLICT, Code.NOT_FOUND)),
        Door("PATCH", member, change, use.reassign, "Give a member another role", "workspaces",
             takes=NewRole, gives=MemberList, codes=(Code.CONFLICT, Code.NOT_FOUND)),
        Door("DELETE", member, change, use.remove, "End a membership", "workspaces", status=204,
             codes=(Code.CONFLICT, Code.NOT_FOUND)),
    ]  # fmt: skip


class _Use:
    """The use cases behind the addresses."""

    def __init__(self, workspaces: Workspaces, exists: Callable[[str], object]) -> None:
        self._workspaces = workspaces
        self._exists = exists

    def index(self, asked: Asked) -> WorkspaceList:
        """A page of them."""
        if asked.caller.operator:
            found = self._workspaces.page(asked.query.after, asked.query.limit)
        else:
            found = [self._workspaces.get(asked.caller.workspace)]
        return WorkspaceList(workspaces=[_card(each) for each in found])

    def create(self, asked: Asked) -> WorkspaceCard:
        """Make one."""
        caller = asked.caller
        owner = asked.body.owner if caller.operator else caller.person
        if not caller.operator and (not owner or asked.body.owner not in {"", owner}):
            raise HeliographError(Code.FORBIDDEN, "Only people make workspaces, for themselves.")
        return _card(self._workspaces.create(asked.body.name, caller.name, owner))

    def get(self, asked: Asked) -> WorkspaceCard:
        """One."""
        return _card(self._workspaces.get(_own(asked)))

    def amend(self, asked: Asked) -> WorkspaceCard:
        """Change one."""
        place, said = _own(asked), asked.body
        if said.share is not msgspec.UNSET:
            if not asked.caller.operator:
                raise HeliographError(Code.FORBIDDEN, "A workspace's share is the operator's.")
            self._workspaces.weigh(place, said.share, asked.caller.name)
        if said.name is not msgspec.UNSET:
            self._workspaces.rename(place, said.name, asked.caller.name)
        return _card(self._workspaces.get(place))

    def members(self, asked: Asked) -> MemberList:
        """Who belongs to it."""
        found = self._workspaces.members(asked.caller.workspace)
        return MemberList(members=[_member(each) for each in found])

    def join(self, asked: Asked) -> MemberCard:
        """A new member."""
        said, caller = asked.body, asked.caller
        _refuse_owner(asked, said.role)
        self._exists(said.person)
        return _member(self._workspaces.join(caller.workspace, said.person, said.role, caller.name))

    def reassign(self, asked: Asked) -> MemberList:
        """Another role."""
        _refuse_owner(asked, asked.body.role)
        self._refuse_over_owner(asked)
        caller = asked.caller
        self._workspaces.change_role(
            caller.workspace, asked.path["person"], asked.body.role, caller.name
        )
        return self.members(asked)

    def remove(self, asked: Asked) -> None:
        """No member any more."""
        self._refuse_over_owner(asked)
        self._workspaces.leave(asked.caller.workspace, asked.path["person"], asked.caller.name)

    def _refuse_over_owner(self, asked: Asked) -> None:
        """Nor must an admin take an owner's place away."""
        there = self._workspaces.members(asked.caller.workspace)
        roles = {one.person: one.role for one in there}
        if roles.get(asked.path["person"]) is Role.OWNER:
            _refuse_owner(asked, Role.OWNER)


def _own(asked: Asked) -> str:
    """The workspace of the address, which is the caller's or does not exist for it."""
    place = asked.path["workspace"]
    if place != asked.caller.workspace and not asked.caller.operator:
        raise HeliographError(Code.NOT_FOUND, "There is no such workspace.")
    return place


def _refuse_owner(asked: Asked, role: Role) -> None:
    """Owners are made by owners: an admin must not lift itself above them."""
    owns = Permission.DATA_ERASE in asked.caller.permissions
    if role is Role.OWNER and not owns:
        raise HeliographError(Code.FORBIDDEN, "Only an owner makes somebody an owner.")


def _card(one: Workspace) -> WorkspaceCard:
    return WorkspaceCard(
        id=one.id,
        name=one.name,
        state=str(one.state),
        until_ms=one.until_ms,
        share=one.share,
        created_ms=one.created_ms,
    )


def _member(one: Member) -> MemberCard:
    return MemberCard(person=one.person, role=str(one.role), added_ms=one.added_ms)
