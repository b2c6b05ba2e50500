"""A person's life here: registers, secures the account, loses things, leaves."""

from __future__ import annotations

from pyotp.totp import TOTP

from heliograph.accounts.people.ground import Ground
from heliograph.accounts.people.values import Opened, Session
from heliograph.edge.http.sessions import Cookies
from heliograph.storage.database import Database
from support.authenticator import Authenticator
from support.people import MAIL, PASSWORD, serving


def test_a_persons_life(database: Database) -> None:  # noqa: PLR0915 - one life
    with serving(database) as (house, client):
        base = str(client.base_url).rstrip("/")
        api = "/api/v1"

        form = {"mail": MAIL, "password": PASSWORD, "name": "Maria", "locale": "es"}
        asked = client.post(f"{api}/register", json=form)
        assert asked.status_code == 202
        early = client.post(f"{api}/sessions", json={"mail": MAIL, "password": PASSWORD})
        assert early.json()["code"] == "forbidden"
        mail = next(one for one in house.mails if one.template == "verify")
        assert mail.facts["link"].startswith(f"{base}/account/verify#")
        proof = {"link": house.link("verify"), "password": PASSWORD}
        assert client.post(f"{api}/verify", json=proof).json() == {"state": "active"}

        opened = client.post(f"{api}/sessions", json={"mail": MAIL, "password": PASSWORD})
        assert opened.status_code == 201
        assert opened.json()["session"]["strength"] == "password"
        me = client.get(f"{api}/me").json()
        assert (me["mail"], me["name"], me["locale"], me["factors"]) == (MAIL, "Maria", "es", [])
        assert client.patch(f"{api}/me", json={"name": "María"}).json()["name"] == "María"

        first = client.cookies["heliograph"]
        secret = client.post(f"{api}/me/totp").json()
        assert secret["uri"].startswith("otpauth://totp/Heliograph:maria%40example.org?secret=")
        generator = TOTP(secret["secret"])
        said = {"code": generator.at(house.clock.ms // 1000)}
        recovery = client.post(f"{api}/me/totp/confirm", json=said).json()["recovery_codes"]
        assert client.cookies["heliograph"] != first, "a new token"
        stale = house.browser(cookie=f"heliograph={first}").get(f"{api}/me")
        assert stale.status_code == 401

        begun = client.post(f"{api}/me/passkeys/begin").json()
        held = Authenticator(base, "127.0.0.1")
        made = {"ceremony": begun["ceremony"], "credential": held.create(begun["options"])}
        assert client.post(f"{api}/me/passkeys", json={**made, "name": "Key"}).status_code == 201

        house.clock.turn(60)
        phone = house.browser(**{"user-agent": "Phone/2.0"})
        half = phone.post(f"{api}/sessions", json={"mail": MAIL, "password": PASSWORD}).json()
        assert half["needs"] == ["totp", "passkey", "recovery"]
        assert half["session"] is None
        assert phone.get(f"{api}/me").status_code == 401
        said = {"ticket": half["ticket"], "code": generator.at(house.clock.ms // 1000)}
        assert phone.post(f"{api}/sessions/code", json=said).status_code == 201
        told = [one for one in house.mails if one.template == "new_sign_in"]
        assert told[-1].facts["device"] == "Phone/2.0"

        begun = client.post(f"{api}/sessions/passkey/begin").json()
        answer = {"ceremony": begun["ceremony"], "credential": held.get(begun["options"])}
        assert client.post(f"{api}/sessions/passkey", json=answer).json()["needs"] == []
        mine = client.get(f"{api}/sessions").json()["sessions"]
        assert [one["strength"] for one in mine] == ["password", "totp", "passkey"]
        assert [one["current"] for one in mine] == [False, False, True]
        assert client.delete(f"{api}/sessions/{mine[1]['id']}").status_code == 204
        assert phone.get(f"{api}/me").status_code == 401

        client.post(f"{api}/me/mail", json={"mail": "maria@new.example"})
        assert client.post(f"{api}/verify", json={"link": house.link("verify")}).is_success
        assert client.get(f"{api}/me").json()["mail"] == "maria@new.example"

        client.post(f"{api}/forgot", json={"mail": "maria@new.example"})
        fresh = {"link": house.link("reset"), "password": "otters paddle south"}
        assert client.post(f"{api}/reset", json=fresh).status_code == 204
        assert client.get(f"{api}/me").status_code == 401
        said = {"mail": "maria@new.example", "password": "otters paddle south"}
        half = client.post(f"{api}/sessions", json=said).json()
        said = {"ticket": half["ticket"], "code": recovery[0]}
        assert client.post(f"{api}/sessions/code", json=said).status_code == 201

        operator = house.operator()
        (user,) = operator.get(f"{api}/users").json()["users"]
        place = f"{api}/users/{user['id']}"
        assert operator.patch(place, json={"state": "suspended"}).json()["state"] == "suspended"
        assert client.get(f"{api}/me").status_code == 401
        assert operator.patch(place, json={"state": "active"}).json()["state"] == "active"
        assert operator.delete(place).status_code == 204
        assert operator.get(place).json()["mail"] == ""
        again = client.post(f"{api}/sessions", json={"mail": MAIL, "password": PASSWORD})
        assert again.status_code == 401

        said = repr(house.events)
        for secret_of_hers in (MAIL, "maria", "María", PASSWORD, first, recovery[0], "127.0.0.1"):
            assert secret_of_hers not in said


def test_an_operator_invites_somebody_where_registration_is_closed(database: Database) -> None:
    with serving(database, registration="closed") as (house, client):
        form = {"mail": MAIL, "name": "Maria", "operator": True}
        made = house.operator().post("/api/v1/users", json=form)
        assert (made.status_code, made.json()["state"]) == (201, "pending")
        said = {"link": house.link("invite"), "password": PASSWORD}
        assert client.post("/api/v1/reset", json=said).status_code == 204
        client.post("/api/v1/sessions", json={"mail": MAIL, "password": PASSWORD})
        assert client.get("/api/v1/me").json()["operator"]
        assert len(client.get("/api/v1/users").json()["users"]) == 1


def test_over_tls_the_cookies_are_bound_to_the_host(database: Database) -> None:
    def sink(*_: object) -> None:
        pass

    ground = Ground(database, lambda: 0, sink, sink, "https://images.example.org")
    session = Session("ses_1", "usr_1", 0, 0, 0, 0, "", "", "password")
    kept = Cookies(secure=ground.secure).opened(Opened(session, "token", "device"))
    assert [one.partition("=")[0] for one in kept.values()] == [
        "__Host-heliograph", "__Host-heliograph-device",
    ]  # fmt: skip
    assert all("; Secure" in one and "; Path=/;" in one for one in kept.values())
