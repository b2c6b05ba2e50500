"""Logging in at a real provider on loopback, and every token that must not do."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import httpx
import pytest
from joserfc import jwt
from joserfc.jwk import OctKey, RSAKey

from heliograph.accounts.people.oidc import Provider as Setting
from heliograph.accounts.people.values import Opened
from heliograph.core.errors import Code, HeliographError
from heliograph.storage.database import Database
from support.people import HERE, House, build
from support.provider import CLIENT, SECRET, Provider, provider


@pytest.fixture
def company() -> Iterator[Provider]:
    with provider() as made:
        yield made


def opened(database: Database, company: Provider, **more: Any) -> House:
    setting = Setting("company", company.issuer, CLIENT, SECRET, create=True)
    return build(database, providers=[setting], **more)


def through(house: House, token: str = "") -> Opened:
    """The whole way, as a browser goes it."""
    sent = house.people.oidc.begin("company", HERE, token)
    with httpx.Client(trust_env=False) as client:
        back = client.get(sent.url).headers["location"]
    assert back.startswith("https://house.test/api/v1/sessions/oidc/company/callback?")
    said = dict(parse_qsl(urlsplit(back).query))
    return house.people.oidc.finish(
        "company", sent.ticket, said["state"], said["code"], HERE, said["iss"]
    )


def test_the_provider_brings_somebody_new_and_knows_them_again(
    database: Database, company: Provider
) -> None:
    house = opened(database, company)
    first = through(house)
    assert first.session.strength == "oidc"
    assert house.people.get(first.session.person).mail == "ada@example.org"
    company.person["email"] = "other@example.org"
    assert through(house).session.person == first.session.person
    assert house.people.oidc.linked(first.session.person) == ["company"]
    assert len(house.people.listed()) == 1


@pytest.mark.parametrize("alg", ["RS256", "ES256", "EdDSA"])
def test_each_algorithm_of_the_list_is_taken(
    database: Database, company: Provider, alg: str
) -> None:
    house = opened(database, company)
    company.sign = lambda claims: company.signed(claims, alg)
    through(house)


def test_somebody_who_is_here_is_not_taken_over_by_an_address(
    database: Database, company: Provider
) -> None:
    house = opened(database, company)
    person = house.person("ada@example.org")
    with pytest.raises(HeliographError) as refused:
        through(house)
    assert refused.value.code is Code.FORBIDDEN
    token = house.enter("ada@example.org").token
    assert through(house, token).session.person == person
    assert through(house).session.person == person
    other = house.person("mallory@example.org")
    theirs = house.enter("mallory@example.org").token
    with pytest.raises(HeliographError) as refused:
        through(house, theirs)
    assert refused.value.code is Code.CONFLICT
    assert house.people.oidc.linked(other) == []
    again = house.enter("ada@example.org").token
    house.people.oidc.unlink(again, "company")
    with pytest.raises(HeliographError):
        through(house)


@pytest.mark.parametrize("registration", ["closed", "invited"])
def test_a_provider_brings_nobody_new_where_registration_is_closed(
    database: Database, company: Provider, registration: Any
) -> None:
    house = opened(database, company, registration=registration)
    with pytest.raises(HeliographError) as refused:
        through(house)
    assert refused.value.code is Code.FORBIDDEN
    assert house.people.listed() == []


@pytest.mark.parametrize(
    "change", [{"email_verified": False}, {"email_verified": "true"}, {"email": None}]
)
def test_an_address_that_the_provider_has_not_proved_brings_nobody(
    database: Database, company: Provider, change: dict[str, Any]
) -> None:
    house = opened(database, company)
    company.change = change
    with pytest.raises(HeliographError) as refused:
        through(house)
    assert refused.value.code is Code.FORBIDDEN


def test_with_approval_the_operator_decides(database: Database, company: Provider) -> None:
    house = opened(database, company, registration="approval")
    with pytest.raises(HeliographError) as refused:
        through(house)
    assert refused.value.code is Code.FORBIDDEN
    (waiting,) = house.people.listed()
    house.people.restore(waiting.id, "admin")
    assert through(house).session.person == waiting.id


def test_a_suspended_person_is_not_let_in_by_a_provider(
    database: Database, company: Provider
) -> None:
    house = opened(database, company)
    house.people.suspend(through(house).session.person, "admin")
    with pytest.raises(HeliographError) as refused:
        through(house)
    assert refused.value.code is Code.SUSPENDED


def b64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def by_hand(header: dict[str, Any], claims: dict[str, Any], signature: bytes) -> str:
    parts = (json.dumps(header).encode(), json.dumps(claims).encode(), signature)
    return ".".join(b64(part) for part in parts)


Forge = Callable[[Provider, dict[str, Any]], str]


def hs_swap(company: Provider, claims: dict[str, Any]) -> str:
    """The public key as the secret of an HMAC."""
    key = company.keys["RS256"]
    assert isinstance(key, RSAKey)
    pem = key.as_pem(private=False)
    header = {"alg": "HS256", "kid": "one", "typ": "JWT"}
    unsigned = by_hand(header, claims, b"").rstrip(".")
    return f"{unsigned}.{b64(hmac.new(pem, unsigned.encode(), hashlib.sha256).digest())}"


def headed(**more: Any) -> Forge:
    """Rightly signed, with something else in its header."""

    def forge(company: Provider, claims: dict[str, Any]) -> str:
        key = company.keys["RS256"]
        header = {"alg": "RS256", "kid": "one", "typ": "JWT", **more}
        start = by_hand(header, claims, b"").rstrip(".")
        assert isinstance(key, RSAKey)
        from cryptography.hazmat.primitives import hashes
        from cryptography.hazmat.primitives.asymmetric import padding

        private: Any = key.private_key
        made = private.sign(start.encode(), padding.PKCS1v15(), hashes.SHA256())
        return f"{start}.{b64(made)}"

    return forge


def claimed(**more: Any) -> Forge:
    def forge(company: Provider, claims: dict[str, Any]) -> str:
        made = {**claims, **more}
        return company.signed({name: value for name, value in made.items() if value is not None})

    return forge


def own_key(company: Provider, claims: dict[str, Any]) -> str:
    del company
    key = RSAKey.generate_key(2048, {"kid": "one"})
    return jwt.encode({"alg": "RS256", "kid": "one"}, claims, key, algorithms=["RS256"])


def mangled(change: Callable[[str], str]) -> Forge:
    return lambda company, claims: change(company.signed(claims))


def flattened(company: Provider, claims: dict[str, Any]) -> str:
    head, body, signature = company.signed(claims).split(".")
    return json.dumps({"protected": head, "payload": body, "signature": signature})


def later(**seconds: int) -> Forge:
    """A claim so many seconds from the moment at which the token is made."""

    def forge(company: Provider, claims: dict[str, Any]) -> str:
        moved = {name: claims["iat"] + by for name, by in seconds.items()}
        return claimed(**moved)(company, claims)

    return forge


FORGED: dict[str, Forge] = {
    "none": lambda _, claims: by_hand({"alg": "none"}, claims, b""),
    "None": lambda _, claims: by_hand({"alg": "None", "kid": "one"}, claims, b"x"),
    "no algorithm": headed(alg=None),
    "HS/RS swap": hs_swap,
    "HS with a known secret": lambda _, claims: jwt.encode(
        {"alg": "HS256"}, claims, OctKey.import_key("a" * 32), algorithms=["HS256"]
    ),
    "another key": own_key,
    "alg of another key": headed(alg="ES256"),
    "kid of another kind": headed(kid="two"),
    "kid is a path": headed(kid="../../x"),
    "kid is SQL": headed(kid="' or 1=1 --"),
    "kid is a number": headed(kid=1),
    "crit": headed(crit=["exp"]),
    "crit b64": headed(crit=["b64"], b64=False),
    "jwk": headed(jwk={"kty": "oct", "k": "AAAA"}),
    "jku": headed(jku="http://127.0.0.1:1/keys"),
    "x5u": headed(x5u="http://127.0.0.1:1/cert"),
    "x5c": headed(x5c=["AAAA"]),
    "zip": headed(zip="DEF"),
    "cty": headed(cty="JWT"),
    "typ at+jwt": headed(typ="at+jwt"),
    "typ logout": headed(typ="logout+jwt"),
    "PS256": headed(alg="PS256"),
    "empty signature": mangled(lambda token: token.rpartition(".")[0] + "."),
    "no signature": mangled(lambda token: token.rpartition(".")[0]),
    "padding": mangled(lambda token: token + "=="),
    "padding inside": mangled(lambda token: token.replace(".", "==.", 1)),
    "four parts": mangled(lambda token: token + ".AAAA"),
    "five parts": mangled(lambda token: token + ".AAAA.AAAA"),
    "cut": mangled(lambda token: token[:-4]),
    "line end": mangled(lambda token: token + "\n"),
    "blank in front": mangled(lambda token: " " + token),
    "another alphabet": mangled(lambda token: token.replace("-", "+").replace("_", "/") + "+"),
    "JSON form": flattened,
    "huge": mangled(lambda token: token + "A" * 20_000),
    "empty": lambda _, __: "",
    "iss": claimed(iss="https://evil.example"),
    "iss with slash": lambda company, claims: claimed(iss=company.issuer + "/")(company, claims),
    "no iss": claimed(iss=None),
    "aud": claimed(aud="somebody else"),
    "aud in a word": claimed(aud="heliograph-other"),
    "no aud": claimed(aud=None),
    "several aud": claimed(aud=[CLIENT, "somebody else"]),
    "azp": claimed(azp="somebody else"),
    "expired": later(exp=-120),
    "no exp": claimed(exp=None),
    "exp as text": claimed(exp="1795300000"),
    "exp is true": claimed(exp=True),
    "nbf": later(nbf=300),
    "nbf as text": claimed(nbf="x"),
    "iat": later(iat=300),
    "no iat": claimed(iat=None),
    "nonce": claimed(nonce="of another"),
    "no nonce": claimed(nonce=None),
    "nonce is a list": claimed(nonce=[]),
    "no sub": claimed(sub=None),
    "sub is a number": claimed(sub=1),
    "sub is huge": claimed(sub="x" * 256),
}


@pytest.fixture(scope="module")
def signer() -> Iterator[Provider]:
    with provider() as made:
        yield made


@pytest.mark.parametrize("name", FORGED)
def test_a_forged_token_opens_nothing(tmp_path: Any, signer: Provider, name: str) -> None:
    """B132."""
    from support.databases import opened as database_of

    with database_of("", tmp_path / "database") as database:
        house = opened(database, signer)
        signer.sign = lambda claims: FORGED[name](signer, claims)
        with pytest.raises(HeliographError) as refused:
            through(house)
        assert refused.value.code is Code.UNAUTHENTICATED
        assert house.acts() == ["session:refused"]
        assert house.people.listed() == []
        signer.sign = signer.signed
        through(house)


def test_a_log_in_belongs_to_its_browser_and_is_good_once(
    database: Database, company: Provider
) -> None:
    house = opened(database, company)
    mine, theirs = (house.people.oidc.begin("company", HERE) for _ in range(2))
    with httpx.Client(trust_env=False) as client:
        back = client.get(theirs.url).headers["location"]
    said = dict(parse_qsl(urlsplit(back).query))
    finish = house.people.oidc.finish

    def refused(*args: Any) -> Code:
        with pytest.raises(HeliographError) as told:
            finish("company", *args)
        return told.value.code

    assert refused(mine.ticket, said["state"], said["code"], HERE) is Code.UNAUTHENTICATED
    assert refused("", said["state"], said["code"], HERE) is Code.UNAUTHENTICATED
    assert refused(theirs.ticket, "made up", said["code"], HERE) is Code.UNAUTHENTICATED
    finish("company", theirs.ticket, said["state"], said["code"], HERE)
    assert refused(theirs.ticket, said["state"], said["code"], HERE) is Code.UNAUTHENTICATED
    house.clock.turn(601)
    assert refused(mine.ticket, "x", "y", HERE) is Code.UNAUTHENTICATED


def test_another_issuer_may_not_answer(database: Database, company: Provider) -> None:
    """RFC 9207: mix-up."""
    house = opened(database, company)
    sent = house.people.oidc.begin("company", HERE)
    state = dict(parse_qsl(urlsplit(sent.url).query))["state"]
    with pytest.raises(HeliographError) as refused:
        house.people.oidc.finish("company", sent.ticket, state, "x", HERE, "https://evil.example")
    assert refused.value.code is Code.UNAUTHENTICATED


def test_a_code_that_is_not_ours_is_worth_nothing(database: Database, company: Provider) -> None:
    house = opened(database, company)
    sent = house.people.oidc.begin("company", HERE)
    state = dict(parse_qsl(urlsplit(sent.url).query))["state"]
    with pytest.raises(HeliographError) as refused:
        house.people.oidc.finish("company", sent.ticket, state, "made up", HERE)
    assert refused.value.code is Code.UPSTREAM_FETCH_FAILED


def test_new_keys_are_read_once_a_minute(database: Database, company: Provider) -> None:
    house = opened(database, company)
    through(house)
    assert company.asked == 1
    company.keys["RS256"] = RSAKey.generate_key(2048, {"kid": "newer"})
    with pytest.raises(HeliographError):
        through(house)
    assert company.asked == 1, "nobody makes us ask again at once"
    house.clock.turn(61)
    through(house)
    assert company.asked == 2


def test_a_provider_that_says_it_is_another_is_none(database: Database, company: Provider) -> None:
    house = build(database, providers=[Setting("company", company.issuer + "/", CLIENT, SECRET)])
    with pytest.raises(HeliographError) as refused:
        house.people.oidc.begin("company", HERE)
    assert refused.value.code is Code.UPSTREAM_FETCH_FAILED
    with pytest.raises(HeliographError) as refused:
        house.people.oidc.begin("another", HERE)
    assert refused.value.code is Code.NOT_FOUND


def test_a_provider_is_asked_over_tls(database: Database) -> None:
    house = build(database, providers=[Setting("company", "http://id.example.org", CLIENT)])
    with pytest.raises(HeliographError) as refused:
        house.people.oidc.begin("company", HERE)
    assert refused.value.code is Code.UPSTREAM_FETCH_FAILED
