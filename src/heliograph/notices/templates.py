"""The closed list of mails: subjects and plain texts with named blanks.

A blank is replaced by its fact as it is, once; nothing in a fact is looked at again or evaluated.
There is no HTML, so that nobody's name can be markup.

Covered: `{…}`, `%s`, `${…}` in facts stay as they are; control characters and characters that turn
the direction of writing are dropped; a fact in a subject is one short line; what others wrote is
indented, so that it cannot pass for our words.
Not covered: a sentence that deceives without any trick of characters.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from heliograph.notices.values import check_address
from heliograph.notices.ways import Letter

_BLANK = re.compile(r"\{([a-z_]+)(\??)\}")
_BLOCKS = {"reason", "reasons", "facts"}
_WORDS = {"level", "outcome", "role", "state", "what"}
_WORD = re.compile(r"[a-z]+(_[a-z]+)*")
_LINE, _SUBJECT, _BLOCK = 1000, 120, 10_000
_Made = Callable[[str, str], str]


@dataclass(frozen=True, slots=True)
class Template:
    """One mail.

    Attributes:
        subject: one line, with blanks.
        text: with blanks; a line with `{name?}` in it is left out where that fact is missing.
    """

    subject: str
    text: str

    @property
    def needs(self) -> frozenset[str]:
        """The blanks that must be filled, except `house`, which we fill ourselves."""
        found = _BLANK.findall(self.subject + self.text)
        return frozenset(name for name, optional in found if not optional) - {"house"}


TEMPLATES: dict[str, Template] = {
    "verify": Template(
        "Confirm your e-mail address",
        "Somebody, you we hope, has registered this address. To confirm it, open:\n\n"
        "{link}\n\n"
        "It works once, for {minutes?} minutes.\n"
        "If it was not you, do nothing: without the link nothing happens.",
    ),
    "reset": Template(
        "Set a new password",
        "Somebody, you we hope, has asked for a new password. To choose one, open:\n\n"
        "{link}\n\n"
        "It works once, for {minutes?} minutes.\n"
        "If it was not you, do nothing: your password stays as it is.",
    ),
    "invite": Template(
        "You are invited to a workspace",
        "You are invited to this workspace:\n\n"
        "    {workspace}\n"
        "    as {role?}\n\n"
        "To accept, open:\n\n"
        "{link}\n\n"
        "If you do not know it, do nothing.",
    ),
    "changed_mail": Template(
        "Your e-mail address was changed",
        "The e-mail address of your account was changed.\n\n"
        "    now: {mail?}\n\n"
        "If you did not do that, write to those who run this server at once.",
    ),
    "new_sign_in": Template(
        "A new sign-in to your account",
        "Somebody signed in to your account, with a browser that we had not seen before.\n\n"
        "    when: {when?}\n    from: {address?}\n    with: {device?}\n\n"
        "If that was not you, set a new password and end all sessions now.",
    ),
    "identity_decided": Template(
        "Your identity check was decided",
        "The check of your identity has ended.\n\n"
        "    outcome: {state}\n    level: {level?}\n\n"
        "{reason?}\n\n"
        "You may ask for another look by another person.",
    ),
    "identity_expired": Template(
        "Your identity check has run out",
        "The check of your identity has run out and is to be made again.\n\n    level: {level?}",
    ),
    "identity_reopened": Template(
        "Your identity is checked again",
        "Something about your account has changed, so your identity is checked again.\n\n"
        "    level: {level?}",
    ),
    "identity_code": Template(
        "Your code",
        "Your code is:\n\n    {code}\n\nIt works once and for a short time. Give it to nobody.",
    ),
    "budget_reached": Template(
        "A budget has reached {share}",
        "The budget {budget} of your workspace has reached {share}.\n\n"
        "    spent: {spent}\n    of: {limit}",
    ),
    "invoice_ready": Template(
        "Invoice {number}",
        "The invoice {number} is ready.\n\n"
        "    for: {period?}\n    total: {total?}\n\n"
        "It is in the console, as PDF, CSV and JSON.",
    ),
    "suspended": Template(
        "Access is suspended",
        "Access of {subject} is suspended.\n\n"
        "    until: {until?}\n    ground: {ground?}\n    case: {case?}\n\n"
        "The reasons:\n\n{reasons}\n\n"
        "Your data is kept and you can still export it.\n"
        "You may appeal until {appeal?}; another person than the one who decided will look at it.",
    ),
    "warned": Template(
        "A warning",
        "This is a warning about {subject}.\n\n"
        "    ground: {ground?}\n    case: {case?}\n\n"
        "The reasons:\n\n{reasons}\n\n"
        "You may appeal until {appeal?}; another person than the one who decided will look at it.",
    ),
    "decision": Template(
        "A decision in case {case}",
        "The case {case} has been decided.\n\n"
        "    outcome: {outcome}\n    ground: {ground?}\n\n"
        "{reasons?}\n\n"
        "You may appeal until {appeal?}; another person than the one who decided will look at it.",
    ),
    "case_overdue": Template(
        "A case waits too long",
        "This {what} should have been looked at by now.\n\n    id: {id}\n    severity: {severity?}",
    ),
    "export_ready": Template(
        "Your data is ready",
        "The export of your data can be fetched.\n\n{link?}\n\n    until: {until?}",
    ),
    "erasure_done": Template(
        "Your data has been erased",
        "Your account and its data have been erased.\n\n    when: {when?}\n\n"
        "What the law makes us keep, invoices above all, is kept without your name where that is "
        "allowed. This is the last mail to this address.",
    ),
    "key_exposed": Template(
        "An API key was exposed",
        "The API key {key} was seen where others can read it.\n\n    where: {where?}\n\n"
        "Make a new one and revoke this one.",
    ),
    "security_notice": Template(
        "The security of your account",
        "Something about the security of your account has changed:\n\n"
        "    {what}\n    when: {when?}\n    left: {left?}\n\n"
        "If you did not do that, set a new password and end all sessions now.",
    ),
    "webhook_disabled": Template(
        "A webhook was switched off",
        "The webhook {webhook} of your workspace was switched off: {why}. Its address:\n\n"
        "    {url}\n\n"
        "When it answers again, switch it on; what it missed can be sent again by hand.",
    ),
}

_FOOT = "\n\n-- \nSent by {house}. It is not read if you answer.\n"


def write(to: str, template: str, facts: Mapping[str, str], house: str) -> Letter:
    """Fill in a mail.

    Args:
        to: the address.
        template: from the closed list.
        facts: for each blank; more are not looked at.
        house: what the server calls itself, its address above all.

    Raises:
        HeliographError: `validation`: it is not an address.
        LookupError: no such template, or a blank without its fact. This is a bug of the sender.
    """
    chosen = TEMPLATES[template]
    missing = chosen.needs - facts.keys()
    if missing:
        raise LookupError(f"the mail {template!r} lacks {', '.join(sorted(missing))}")
    all_facts = {**facts, "house": house}
    return Letter(
        check_address(to),
        _fill(chosen.subject, all_facts, _in_subject),
        _fill(chosen.text + _FOOT, all_facts, _in_text),
    )


def _fill(text: str, facts: Mapping[str, str], made: _Made) -> str:
    kept = (
        _BLANK.sub(lambda blank: made(blank[1], facts[blank[1]]), line)
        for line in text.split("\n")
        if all(facts.get(name) for name, optional in _BLANK.findall(line) if optional)
    )
    return re.sub(r"\n{3,}", "\n\n", "\n".join(kept))


def _in_subject(name: str, fact: str) -> str:
    del name
    return _one_line(fact)[:_SUBJECT]


def _in_text(name: str, fact: str) -> str:
    if name in _WORDS and _WORD.fullmatch(fact):
        return fact.replace("_", " ")
    if name not in _BLOCKS:
        return _one_line(fact)[:_LINE]
    lines = (_one_line(line) for line in fact[:_BLOCK].splitlines())
    return "\n".join(f"    {line}".rstrip() for line in lines)


def _one_line(fact: str) -> str:
    # Not printable: controls, line breaks of every kind, marks that hide or turn the direction.
    kept = (one if one.isprintable() else " " for one in fact)
    return " ".join("".join(kept).split())
