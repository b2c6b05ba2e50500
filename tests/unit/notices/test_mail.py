"""Letters: what others wrote stays what they wrote, and they arrive at real mail servers."""

from __future__ import annotations

import ssl
import stat
from email import message_from_bytes, policy
from pathlib import Path

import pytest
import trustme
from hypothesis import given
from hypothesis import strategies as st

from heliograph.core.errors import Code, HeliographError
from heliograph.core.notices import Mail
from heliograph.notices.mailers import FolderMailer, SmtpMailer, compose
from heliograph.notices.templates import TEMPLATES, write
from heliograph.notices.values import check_address
from heliograph.notices.ways import Letter, UndeliveredError
from heliograph.storage.database import Database
from support.notices import NOON, Desk, mail_server

HOUSE = "https://models.example.org"
SENDER = "Heliograph <house@example.org>"
LETTER = Letter("person@example.org", "Grüße", "Zeile eins\n.\nZeile drei\n")


@pytest.mark.parametrize("name", TEMPLATES)
def test_every_template_can_be_filled(name: str) -> None:
    template = TEMPLATES[name]
    letter = write("a@example.org", name, {fact: f"<{fact}>" for fact in template.needs}, HOUSE)
    assert "{" not in letter.subject + letter.text
    assert all(f"<{fact}>" in letter.subject + letter.text for fact in template.needs)
    assert HOUSE in letter.text
    assert all(len(line) <= 998 for line in letter.text.split("\n"))


def test_a_line_without_its_fact_is_left_out() -> None:
    some = write("a@example.org", "new_sign_in", {"device": "Firefox"}, HOUSE)
    assert "with: Firefox" in some.text
    assert "from:" not in some.text
    assert "?" not in some.text


@pytest.mark.parametrize(
    "trick", ["{{7*7}}", "${7*7}", "%s%n", "{0.__class__}", "{link}", "{house}", r"\1", r"\g<1>"]
)
def test_nothing_in_a_fact_is_evaluated(trick: str) -> None:
    facts = {"workspace": trick, "role": "owner", "link": "https://right.example"}
    letter = write("a@example.org", "invite", facts, HOUSE)
    assert f"    {trick}\n" in letter.text
    assert letter.text.count("https://right.example") == 1


def test_a_fact_cannot_pass_for_our_words() -> None:
    workspace = "Ours\n\nYour account is closed. Log in at https://wrong.example\r\u2028\u202egro"
    facts = {"workspace": workspace, "link": "https://right.example"}
    text = write("a@example.org", "invite", facts, HOUSE).text
    (line,) = [line for line in text.split("\n") if "wrong.example" in line]
    assert line.startswith("    Ours Your account is closed.")
    assert line.endswith("gro")
    assert "\u202e" not in text
    facts = {"subject": "ws_a", "reasons": "First.\nSecond.\n\n-- \nSent by somebody else."}
    text = write("a@example.org", "suspended", facts, HOUSE).text
    assert "    First.\n    Second.\n\n    --\n    Sent by somebody else." in text


@given(st.text(max_size=200), st.text(max_size=200))
def test_any_fact_makes_a_mail_of_the_same_headers(number: str, total: str) -> None:
    letter = write("a@example.org", "invoice_ready", {"number": number, "total": total}, HOUSE)
    made = message_from_bytes(
        compose(letter, SENDER, "msg_1", NOON).as_bytes(), policy=policy.default
    )
    assert sorted(made.keys()) == [
        "Auto-Submitted",
        "Content-Transfer-Encoding",
        "Content-Type",
        "Date",
        "From",
        "MIME-Version",
        "Message-ID",
        "Subject",
        "To",
    ]
    assert made["To"] == "a@example.org"
    assert made.get_content_type() == "text/plain"


_NO_ADDRESSES = [
    "a@b\nBcc: c@d.example",
    "a@b\r\nBcc: c@d.example",
    "a@b.example\r",
    "a@b.example, c@d.example",
    "a b@c.example",
    "<a@b.example>",
    "a@b@c.example",
    "a@b.example\x00",
    "a@b.example\u2028Bcc: c@d.example",
    "@b.example",
    "a@",
    "a" * 65 + "@b.example",
    "a@" + "b" * 260,
    "",
]


@pytest.mark.parametrize("address", _NO_ADDRESSES)
def test_an_address_that_is_more_than_one_is_refused(address: str) -> None:
    with pytest.raises(HeliographError) as seen:
        check_address(address)
    assert seen.value.code is Code.VALIDATION
    with pytest.raises(HeliographError):
        compose(Letter(address, "s", "t"), SENDER, "msg_1", NOON)


def test_no_such_address_comes_into_the_outbox(database: Database) -> None:
    notices = Desk(database).notices()
    for address in _NO_ADDRESSES:
        told = Mail(address, "reset", {"link": "l"})
        with pytest.raises(HeliographError):
            database.write(lambda c, told=told: notices.enqueue(c, told))
    assert notices.deliverer.flush() == 0


@pytest.mark.parametrize("subject", ["a\nBcc: c@d.example", "a\rb", "a\r\n\r\nbody", "a\u2028b"])
def test_a_subject_of_two_lines_is_refused(subject: str) -> None:
    with pytest.raises(HeliographError) as seen:
        compose(Letter("a@example.org", subject, "t"), SENDER, "msg_1", NOON)
    assert seen.value.code is Code.VALIDATION


def test_without_a_server_letters_are_files(tmp_path: Path) -> None:
    folder = tmp_path / "home" / "outbox"
    FolderMailer(folder).send(LETTER, "msg_1", NOON)
    FolderMailer(folder).send(LETTER, "msg_1", NOON)
    (path,) = folder.iterdir()
    assert path.name == "msg_1.eml"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    mail = message_from_bytes(path.read_bytes(), policy=policy.default)
    assert (mail["To"], mail["Subject"]) == ("person@example.org", "Grüße")
    assert mail["Date"] == "Mon, 21 Sep 2026 14:13:20 +0000"


def test_a_folder_that_cannot_be_written_is_a_way_that_is_closed(tmp_path: Path) -> None:
    (tmp_path / "outbox").write_text("a file")
    with pytest.raises(UndeliveredError) as seen:
        FolderMailer(tmp_path / "outbox").send(LETTER, "msg_1", NOON)
    assert seen.value.down


def test_a_relay_on_this_machine() -> None:
    with mail_server() as server:
        SmtpMailer("127.0.0.1", server.port, SENDER, tls="none").send(LETTER, "msg_1", NOON)
        (mail,) = server.mails
        assert server.recipients == [["person@example.org"]]
    assert mail["From"] == "Heliograph <house@example.org>"
    assert mail["Subject"] == "Grüße"
    assert mail["Message-ID"] == "<msg_1@example.org>"
    assert mail.get_content().replace("\r\n", "\n") == LETTER.text


# The server does not see that its socket is wrapped in TLS already.
@pytest.mark.filterwarnings("ignore:Requiring AUTH while not requiring TLS:UserWarning")
@pytest.mark.parametrize("implicit", [True, False], ids=["implicit", "starttls"])
def test_tls_and_a_login(implicit: bool, tmp_path: Path) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    given = SmtpMailer(
        "127.0.0.1",
        0,
        SENDER,
        user="house",
        password="right",
        tls="implicit" if implicit else "starttls",
        authorities=str(tmp_path / "ca.pem"),
    )

    def mailer(port: int, password: str = "right", authorities: str = "") -> SmtpMailer:
        found = authorities or given.authorities
        return SmtpMailer(given.host, port, SENDER, "house", password, given.tls, authorities=found)

    with mail_server(context=context, implicit=implicit, login=("house", "right")) as server:
        mailer(server.port).send(LETTER, "msg_1", NOON)
        assert len(server.mails) == 1
        with pytest.raises(UndeliveredError) as seen:
            mailer(server.port, password="wrong").send(LETTER, "msg_2", NOON)
        assert (seen.value.code, seen.value.down, seen.value.final) == ("535", True, False)
        # Somebody else's certificate: the password stays at home.
        other = tmp_path / "other.pem"
        trustme.CA().cert_pem.write_to_path(other)
        with pytest.raises(UndeliveredError) as seen:
            mailer(server.port, authorities=str(other)).send(LETTER, "msg_3", NOON)
        assert seen.value.code == "unreachable"
        assert len(server.mails) == 1


def test_a_server_without_starttls_gets_nothing() -> None:
    with mail_server() as server:
        with pytest.raises(UndeliveredError) as seen:
            SmtpMailer("127.0.0.1", server.port, SENDER).send(LETTER, "msg_1", NOON)
        assert seen.value.down
        assert server.mails == []


@pytest.mark.parametrize(("answer", "final"), [("550 nobody", True), ("451 later", False)])
def test_a_refused_recipient(answer: str, final: bool) -> None:
    with mail_server() as server:
        server.refuse = answer
        with pytest.raises(UndeliveredError) as seen:
            SmtpMailer("127.0.0.1", server.port, SENDER, tls="none").send(LETTER, "m", NOON)
        assert (seen.value.code, seen.value.final, seen.value.down) == (answer[:3], final, False)


def test_a_password_is_never_sent_in_the_clear() -> None:
    with pytest.raises(HeliographError) as seen:
        SmtpMailer("mail.example.org", 25, SENDER, user="house", password="p", tls="none")
    assert seen.value.code is Code.VALIDATION
    assert "p4ss" not in repr(SmtpMailer("mail.example.org", 587, SENDER, "house", "p4ss"))


def test_a_mail_server_that_was_down_gets_its_mail_when_it_is_up(database: Database) -> None:
    desk = Desk(database)
    with mail_server() as server:
        port = server.port
    mailer = SmtpMailer("127.0.0.1", port, SENDER, tls="none")
    notices = desk.notices(mailer)
    reset = Mail("person@example.org", "reset", {"link": f"{HOUSE}/account/reset#abc"})
    database.write(lambda c: notices.enqueue(c, reset))
    assert notices.deliverer.flush() == 1
    desk.clock.now += 5_000
    with mail_server(port=port) as server:
        assert notices.deliverer.flush() == 1
        (mail,) = server.mails
    assert "/account/reset#abc" in mail.get_content()
    assert notices.deliverer.flush() == 0
