from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field

import pytest

from heliograph.accounts.directory import Directory
from heliograph.accounts.gate import AccountsGate, Person
from heliograph.accounts.keys import values
from heliograph.accounts.keys.service import Keys, Wishes
from heliograph.accounts.roles import Role
from heliograph.accounts.tokens import Tokens
from heliograph.accounts.workspaces import store
from heliograph.accounts.workspaces.service import Workspaces
from heliograph.accounts.workspaces.values import DEFAULT
from heliograph.core.call import Caller, Credentials
from heliograph.core.errors import Code, HeliographError
from heliograph.core.permissions import EVERY, Permission
from heliograph.storage.database import Database
from support.clock import Turned
from support.record import Recorded

CALL = Permission.MODELS_CALL
ADMIN = "hg_admin_0123456789abcdef"


@dataclass
class Lodge:
    """A gate and everything behind it."""

    workspaces: Workspaces
    keys: Keys
    tokens: Tokens
    gate: AccountsGate
    directory: Directory
    clock: Turned
    record: Recorded
    people: dict[str, Person] = field(default_factory=dict[str, Person])
    refused: list[tuple[Code, str, str, str]] = field(
        default_factory=list[tuple[Code, str, str, str]]
    )

    def key(self, workspace: str, **wishes: object) -> str:
        said = {"name": "k", **wishes}
        return self.keys.create(workspace, Wishes(**said), "admin", EVERY)[1]  # type: ignore[arg-type]

    def check(self, key: str, needs: Permission = CALL, model: str = "", **said: str) -> Caller:
        return self.gate.check(Credentials(key, **said), needs, model)

    def code(self, key: str, needs: Permission = CALL, model: str = "", **said: str) -> Code:
        with pytest.raises(HeliographError) as failed:
            self.check(key, needs, model, **said)
        return failed.value.code


@pytest.fixture
def lodge(database: Database) -> Lodge:
    clock, record = Turned(), Recorded()
    workspaces = Workspaces(database, clock, record)
    workspaces.prepare()
    directory, tokens = Directory(database, clock, lambda _: ()), Tokens(bytes(32), clock)
    keys = Keys(database, clock, record, store.touch)
    made: Lodge
    people: dict[str, Person] = {}

    def refused(*what: object) -> None:
        made.refused.append(what)  # type: ignore[arg-type]

    gate = AccountsGate(ADMIN, directory, tokens, people.get, clock, refused)
    made = Lodge(workspaces, keys, tokens, gate, directory, clock, record, people)
    directory.refresh()
    return made


def test_a_key_opens_what_its_scopes_say(lodge: Lodge) -> None:
    place = lodge.workspaces.create("acme", "admin")
    key = lodge.key(place.id)
    caller = lodge.check(key)
    assert (caller.workspace, caller.key) == (place.id, caller.name)
    assert not caller.operator
    assert lodge.code(key, Permission.KEYS_WRITE) is Code.FORBIDDEN


def test_the_administrator_key_may_everything_everywhere(lodge: Lodge) -> None:
    place = lodge.workspaces.create("acme", "admin")
    assert lodge.check(ADMIN).workspace == DEFAULT
    assert lodge.check(ADMIN, Permission.PRICES_WRITE, workspace=place.id).workspace == place.id
    assert lodge.code(ADMIN, workspace="ws_nowhere") is Code.NOT_FOUND


def wrong_keys(right: str) -> list[str]:
    public = right.split("_")[1]
    return [
        "", "hg", "hg_admin_", ADMIN[:-1], ADMIN + "x", right[:-1], right + "0", right.lower(),
        right.replace("hg_", "hx_"), right[:10] + ("a" if right[10] != "a" else "b") + right[11:],
        values.make()[1], f"hg_{public}_{'x' * 32}_000000", "ключ", "\x00", "hgt_", "hgt_a.b",
        "hgt_" + "a" * 5000,
    ]  # fmt: skip


def test_whatever_is_wrong_with_a_key_is_answered_in_the_same_words(lodge: Lodge) -> None:
    right = lodge.key(DEFAULT)
    ended, gone = lodge.key(DEFAULT, expires_ms=lodge.clock() + 1000), lodge.key(DEFAULT)
    lodge.keys.revoke(DEFAULT, f"key_{gone.split('_')[1]}", "admin")
    lodge.clock.forward(seconds=2)
    said: set[str] = set()
    for key in [*wrong_keys(right), ended, gone]:
        with pytest.raises(HeliographError) as failed:
            lodge.check(key)
        assert failed.value.code is Code.UNAUTHENTICATED, key
        said.add(failed.value.detail)
    assert len(said) == 1
    assert lodge.check(right).workspace == DEFAULT


def test_a_revoked_key_opens_nothing_at_once(lodge: Lodge) -> None:
    key = lodge.key(DEFAULT)
    lodge.check(key)
    lodge.keys.revoke(DEFAULT, f"key_{key.split('_')[1]}", "admin")
    lodge.directory.refresh()
    assert lodge.code(key) is Code.UNAUTHENTICATED


def test_a_key_that_another_process_made_is_found(lodge: Lodge, database: Database) -> None:
    other = Keys(database, lodge.clock, Recorded(), store.touch)
    _, text = other.create(DEFAULT, Wishes("k"), "admin", EVERY)
    assert lodge.check(text).workspace == DEFAULT


def test_a_rotated_key_goes_on_for_its_overlap(lodge: Lodge) -> None:
    old = lodge.key(DEFAULT)
    name = f"key_{old.split('_')[1]}"
    new, text = lodge.keys.rotate(DEFAULT, name, 60_000, "admin")
    lodge.directory.refresh()
    assert lodge.check(old).key == name
    assert lodge.check(text).key == new.id
    lodge.clock.forward(seconds=61)
    assert lodge.code(old) is Code.UNAUTHENTICATED
    assert lodge.check(text).key == new.id


@pytest.mark.parametrize(
    ("address", "let_in"),
    [("192.0.2.7", True), ("::ffff:192.0.2.7", True), ("192.0.3.7", False), ("", False)],
)
def test_a_key_bound_to_networks(lodge: Lodge, address: str, *, let_in: bool) -> None:
    key = lodge.key(DEFAULT, addresses=("192.0.2.0/24",))
    if let_in:
        assert lodge.check(key, address=address)
    else:
        assert lodge.code(key, address=address) is Code.UNAUTHENTICATED


def test_a_key_bound_to_pages(lodge: Lodge) -> None:
    key = lodge.key(DEFAULT, origins=("https://app.example",))
    assert lodge.check(key, origin="https://app.example")
    for other in ("", "https://app.example.evil", "http://app.example", "null"):
        assert lodge.code(key, origin=other) is Code.UNAUTHENTICATED


def test_a_key_bound_to_models(lodge: Lodge) -> None:
    key = lodge.key(DEFAULT, models=("cat-*", "dog"))
    for model in ("cat-7", "dog"):
        assert lodge.check(key, model=model)
    for model in ("cat", "dogs", "bird"):
        assert lodge.code(key, model=model) is Code.FORBIDDEN


def test_a_suspension_stops_keys_but_not_looking_at_the_bill(lodge: Lodge) -> None:
    place = lodge.workspaces.create("acme", "admin")
    key = lodge.key(place.id, scopes=frozenset({CALL, Permission.BILLING_READ}))
    lodge.check(key)
    until = lodge.clock() + 60_000
    database = lodge.keys._database
    database.write(lambda c: lodge.workspaces.suspend(c, place.id, until, "admin", "case_1"))
    lodge.directory.refresh()
    assert lodge.code(key) is Code.SUSPENDED
    assert lodge.check(key, Permission.BILLING_READ)
    lodge.clock.forward(seconds=61)
    assert lodge.check(key)
    database.write(lambda c: lodge.workspaces.terminate(c, place.id, "admin", "case_2"))
    lodge.directory.refresh()
    assert lodge.code(key) is Code.SUSPENDED
    database.write(lambda c: lodge.workspaces.restore(c, place.id, "admin", "case_2"))
    lodge.directory.refresh()
    assert lodge.check(key)


def test_another_workspace_does_not_exist(lodge: Lodge) -> None:
    mine, theirs = (lodge.workspaces.create(name, "admin") for name in ("mine", "theirs"))
    assert lodge.code(lodge.key(mine.id), workspace=theirs.id) is Code.NOT_FOUND


# --- people ---------------------------------------------------------------------------------


def signed_in(lodge: Lodge, person: str, *, operator: bool = False) -> Credentials:
    lodge.people["s"] = Person(person, operator)
    return Credentials(session="s")


@pytest.mark.parametrize("role", Role)
def test_people_may_what_their_role_says(lodge: Lodge, role: Role) -> None:
    place = lodge.workspaces.create("acme", "admin")
    lodge.workspaces.join(place.id, "usr_1", role, "admin")
    lodge.directory.refresh()
    said = signed_in(lodge, "usr_1")
    caller = lodge.gate.check(said, Permission.SELF_READ)
    assert caller.workspace == place.id
    assert not caller.permissions & {Permission.PRICES_WRITE, Permission.MODELS_WRITE}
    assert (Permission.KEYS_WRITE in caller.permissions) == (
        role in {Role.OWNER, Role.ADMIN, Role.DEVELOPER}
    )
    assert (Permission.BILLING_READ in caller.permissions) == (
        role in {Role.OWNER, Role.ADMIN, Role.BILLING}
    )


def test_a_person_of_several_workspaces_says_which(lodge: Lodge) -> None:
    places = [lodge.workspaces.create(name, "admin").id for name in ("a", "b")]
    for place in places:
        lodge.workspaces.join(place, "usr_1", Role.VIEWER, "admin")
    lodge.directory.refresh()
    said = signed_in(lodge, "usr_1")
    assert lodge.gate.check(said, Permission.SELF_READ).workspace == ""
    with pytest.raises(HeliographError, match="Heliograph-Workspace"):
        lodge.gate.check(said, Permission.MODELS_READ)
    chosen = dataclasses.replace(said, workspace=places[1])
    assert lodge.gate.check(chosen, Permission.MODELS_READ).workspace == places[1]
    with pytest.raises(HeliographError) as failed:
        lodge.gate.check(dataclasses.replace(said, workspace=DEFAULT), Permission.SELF_READ)
    assert failed.value.code is Code.NOT_FOUND


def test_operators_are_people_too(lodge: Lodge) -> None:
    caller = lodge.gate.check(signed_in(lodge, "usr_9", operator=True), Permission.PRICES_WRITE)
    assert (caller.operator, caller.person) == (True, "usr_9")


def test_an_ended_session_opens_nothing(lodge: Lodge) -> None:
    with pytest.raises(HeliographError) as failed:
        lodge.gate.check(Credentials(session="gone"), Permission.SELF_READ)
    assert failed.value.code is Code.UNAUTHENTICATED


# --- tokens ---------------------------------------------------------------------------------


def test_a_token_may_less_than_its_key(lodge: Lodge) -> None:
    scopes = frozenset({CALL, Permission.KEYS_READ})
    key = lodge.check(lodge.key(DEFAULT, models=("cat-*",), scopes=scopes))
    text, _ = lodge.tokens.make(key.key, 60, ("cat-1", "dog"), "https://app.example")
    page = {"origin": "https://app.example"}
    assert lodge.check(text, CALL, "cat-1", **page).key == key.key
    for model in ("cat-2", "dog"):
        assert lodge.code(text, CALL, model, **page) is Code.FORBIDDEN
    assert lodge.code(text, Permission.KEYS_READ, **page) is Code.FORBIDDEN
    assert lodge.code(text, origin="https://evil.example") is Code.UNAUTHENTICATED
    lodge.clock.forward(seconds=61)
    assert lodge.code(text, CALL, **page) is Code.UNAUTHENTICATED


def test_a_token_ends_with_its_key(lodge: Lodge) -> None:
    key = lodge.check(lodge.key(DEFAULT)).key
    text, _ = lodge.tokens.make(key, 60)
    assert lodge.check(text)
    lodge.keys.revoke(DEFAULT, key, "admin")
    lodge.directory.refresh()
    assert lodge.code(text) is Code.UNAUTHENTICATED


def test_a_token_of_somebody_elses_making(lodge: Lodge) -> None:
    key = lodge.check(lodge.key(DEFAULT)).key
    forged, _ = Tokens(b"x" * 32, lodge.clock).make(key, 60)
    right, _ = lodge.tokens.make(key, 60)
    head, _, tail = right.partition(".")
    for one in (forged, f"{head}.", f"{head}x.{tail}", f".{tail}", right + "=", head, tail):
        assert lodge.code(one) is Code.UNAUTHENTICATED, one


# --- what is told ---------------------------------------------------------------------------


def test_every_refusal_is_told_once(lodge: Lodge) -> None:
    key = lodge.key(DEFAULT)
    lodge.code("hg_wrong", address="192.0.2.9")
    lodge.code(key, Permission.AUDIT_READ)
    assert [(code, address) for code, _, address, _ in lodge.refused] == [
        (Code.UNAUTHENTICATED, "192.0.2.9"),
        (Code.FORBIDDEN, ""),
    ]
    assert lodge.refused[1][3] == DEFAULT


def test_acts_leave_one_event_each_without_secrets(lodge: Lodge) -> None:
    key = lodge.key(DEFAULT)
    name = f"key_{key.split('_')[1]}"
    lodge.keys.rotate(DEFAULT, name, 0, "admin")
    lodge.keys.revoke(DEFAULT, name, "admin")
    acts = [one for one in lodge.record.acts if one.startswith("key:")]
    assert acts == ["key:created", "key:rotated"], "a key that has ended is not ended again"
    assert all(key.split("_")[2] not in repr(one) for one in lodge.record.events)


def test_a_purpose_that_nobody_agreed_to_is_refused_and_told(lodge: Lodge) -> None:
    def consents(caller: Caller, purpose: str) -> None:
        raise HeliographError(
            Code.CONSENT_REQUIRED, f"{caller.workspace} has not agreed: {purpose}"
        )

    told: list[Code] = []

    def refused(code: Code, name: str, address: str, workspace: str) -> None:
        del name, address, workspace
        told.append(code)

    gate = AccountsGate(
        ADMIN,
        lodge.directory,
        lodge.tokens,
        lodge.people.get,
        lodge.clock,
        refused,
        consents=consents,
    )
    with pytest.raises(HeliographError, match="faces"):
        gate.agreed(lodge.check(lodge.key(DEFAULT)), "faces")
    assert told == [Code.CONSENT_REQUIRED]


@pytest.mark.parametrize(
    "wrong",
    [
        {"name": ""}, {"name": "x" * 81}, {"name": "a\nb"}, {"scopes": frozenset()},
        {"scopes": frozenset({Permission.PRICES_WRITE})}, {"models": ("../x",)},
        {"models": ("x" * 64,)}, {"addresses": ("300.1.1.1",)}, {"addresses": ("host",)},
        {"origins": ("app.example",)}, {"origins": ("https://a.example/path",)},
        {"limits": (("calls", "fortnight", 1),)}, {"limits": (("wishes", "day", 1),)},
        {"limits": (("calls", "day", -1),)}, {"expires_ms": 1}, {"models": ("m",) * 65},
    ],
)  # fmt: skip
def test_wishes_that_mean_nothing(lodge: Lodge, wrong: dict[str, object]) -> None:
    with pytest.raises(HeliographError) as failed:
        lodge.key(DEFAULT, **wrong)
    assert failed.value.code is Code.VALIDATION


def test_a_key_never_may_more_than_its_maker(lodge: Lodge) -> None:
    with pytest.raises(HeliographError) as failed:
        lodge.keys.create(DEFAULT, Wishes("k"), "key_1", frozenset({Permission.MODELS_READ}))
    assert failed.value.code is Code.FORBIDDEN
