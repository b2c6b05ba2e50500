"""Webhooks: a workspace's own addresses that are told what happens.

`GET` and `POST /api/v1/webhooks`; `GET`, `PATCH` and `DELETE …/{webhook}`; `POST …/rotate` and
`…/test`; `GET …/deliveries`, `POST …/deliveries/{delivery}/redeliver`. The operator's webhooks,
made without naming a workspace, are told of the server's own events, such as `model.promoted`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Literal

import msgspec

from heliograph.core.errors import Code, HeliographError
from heliograph.core.permissions import Permission
from heliograph.edge.http.doors import Asked, Door, Page, Reply
from heliograph.notices.service import Notices
from heliograph.notices.values import KINDS, MOST_WEBHOOKS, Message, Webhook

_TAG = "Webhooks"
_Url = Annotated[str, msgspec.Meta(min_length=8, max_length=2048)]
_Use = Callable[[Asked], Any]
_Kinds = Annotated[list[str], msgspec.Meta(max_length=64)]


class NewWebhook(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A webhook to be made.

    Attributes:
        url: where events are sent to, by POST.
        kinds: which events; none for all of them.
    """

    url: _Url
    kinds: _Kinds = []


class WebhookChange(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What is to change; what is left out stays.

    Attributes:
        url: where events are sent to.
        kinds: which events; none for all of them.
        state: `paused` lets messages wait; `active` also switches a disabled webhook on again.
    """

    url: _Url | msgspec.UnsetType = msgspec.UNSET
    kinds: _Kinds | msgspec.UnsetType = msgspec.UNSET
    state: Literal["active", "paused"] | msgspec.UnsetType = msgspec.UNSET


class WebhookRotation(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A change of secret.

    Attributes:
        overlap_hours: how long messages are signed with the old secret too; 0 where it has leaked.
    """

    overlap_hours: Annotated[int, msgspec.Meta(ge=0, le=168)] = 24


class WebhookInfo(msgspec.Struct, frozen=True, kw_only=True):
    """A webhook.

    Attributes:
        id: `hook_…`.
        url: where events are sent to.
        kinds: which events; none for all of them.
        state: `active`, `paused` by its owners, or `disabled` after days of failure.
        failures: tries in a row that failed.
        paused_until_ms: it failed, and nothing is tried before; 0 if all is well.
        old_secret_until_ms: until when messages are signed with the old secret too; 0 if not.
        created_ms: when it was made, in milliseconds since 1970.
    """

    id: str
    url: str
    kinds: list[str]
    state: str
    failures: int
    paused_until_ms: int
    old_secret_until_ms: int
    created_ms: int


class WebhookSecret(msgspec.Struct, frozen=True, kw_only=True):
    """A webhook with its secret, shown this once.

    Attributes:
        webhook: the webhook.
        secret: `whsec_…`; what messages are checked with.
    """

    webhook: WebhookInfo
    secret: str


class Webhooks(msgspec.Struct, frozen=True, kw_only=True):
    """All webhooks of a workspace.

    Attributes:
        webhooks: the oldest first.
        most: how many there may be.
        kinds: every event that there is, and what it means.
    """

    webhooks: list[WebhookInfo]
    most: int
    kinds: dict[str, str]


class Delivery(msgspec.Struct, frozen=True, kw_only=True):
    """One message to a webhook.

    Attributes:
        id: the same over all tries; sent as `webhook-id`.
        kind: of the event.
        state: `waiting`, `sent` or `given_up`.
        attempts: how often it was tried.
        last_code: HTTP status of the last try, or the code of what kept us from getting one.
        created_ms: when the event happened.
        due_ms: when it is tried next, if it waits.
        settled_ms: when it was sent or given up; 0 while it waits.
        body: as it is sent.
    """

    id: str
    kind: str
    state: str
    attempts: int
    last_code: str
    created_ms: int
    due_ms: int
    settled_ms: int
    body: msgspec.Raw


class Deliveries(msgspec.Struct, frozen=True, kw_only=True):
    """Messages to a webhook.

    Attributes:
        deliveries: the newest first.
        next: give it as `after` for older ones; empty if there are none.
    """

    deliveries: list[Delivery]
    next: str


def doors(notices: Notices) -> list[Door]:
    """Everything that owners do with webhooks."""
    many, one = "/api/v1/webhooks", "/api/v1/webhooks/{webhook}"
    read, write = Permission.WEBHOOKS_READ, Permission.WEBHOOKS_WRITE
    gone, busy = (Code.NOT_FOUND,), (Code.NOT_FOUND, Code.CONFLICT)
    bad = (Code.URL_NOT_ALLOWED,)
    return [
        Door("GET", many, read, _list(notices), "List webhooks", _TAG, gives=Webhooks),
        Door(
            "POST",
            many,
            write,
            _create(notices),
            "Make a webhook",
            _TAG,
            takes=NewWebhook,
            gives=WebhookSecret,
            codes=(*bad, Code.CONFLICT),
            status=201,
        ),
        Door("GET", one, read, _read(notices), "A webhook", _TAG, gives=WebhookInfo, codes=gone),
        Door(
            "PATCH",
            one,
            write,
            _change(notices),
            "Change a webhook",
            _TAG,
            takes=WebhookChange,
            gives=WebhookInfo,
            codes=(*bad, *gone),
        ),
        Door("DELETE", one, write, _delete(notices), "Delete a webhook", _TAG, codes=gone),
        Door(
            "POST",
            f"{one}/rotate",
            write,
            _rotate(notices),
            "Change a webhook's secret",
            _TAG,
            takes=WebhookRotation,
            gives=WebhookSecret,
            codes=gone,
        ),
        Door(
            "POST",
            f"{one}/test",
            write,
            _test(notices),
            "Send a test event",
            _TAG,
            gives=Delivery,
            codes=busy,
            status=202,
        ),
        Door(
            "GET",
            f"{one}/deliveries",
            read,
            _deliveries(notices),
            "What a webhook was sent",
            _TAG,
            query=Page,
            gives=Deliveries,
            codes=gone,
        ),
        Door(
            "POST",
            f"{one}/deliveries/{{delivery}}/redeliver",
            write,
            _redeliver(notices),
            "Send a message again",
            _TAG,
            gives=Delivery,
            codes=busy,
            status=202,
        ),
    ]


def _list(notices: Notices) -> _Use:
    def use(asked: Asked) -> Webhooks:
        found = [_info(each) for each in notices.webhooks(_workspace(asked))]
        return Webhooks(webhooks=found, most=MOST_WEBHOOKS, kinds=KINDS)

    return use


def _create(notices: Notices) -> _Use:
    def use(asked: Asked) -> Reply:
        new: NewWebhook = asked.body
        made, secret = notices.create(asked.caller.name, _workspace(asked), new.url, new.kinds)
        body = WebhookSecret(webhook=_info(made), secret=secret)
        return Reply(body, 201, headers={"location": f"/api/v1/webhooks/{made.id}"})

    return use


def _read(notices: Notices) -> _Use:
    return lambda asked: _info(notices.webhook(_workspace(asked), asked.path["webhook"]))


def _change(notices: Notices) -> _Use:
    def use(asked: Asked) -> WebhookInfo:
        change: WebhookChange = asked.body
        changed = notices.change(
            asked.caller.name,
            _workspace(asked),
            asked.path["webhook"],
            url=None if change.url is msgspec.UNSET else change.url,
            kinds=None if change.kinds is msgspec.UNSET else change.kinds,
            state=None if change.state is msgspec.UNSET else change.state,
        )
        return _info(changed)

    return use


def _delete(notices: Notices) -> _Use:
    return lambda asked: notices.delete(asked.caller.name, _workspace(asked), asked.path["webhook"])


def _rotate(notices: Notices) -> _Use:
    def use(asked: Asked) -> WebhookSecret:
        rotated, secret = notices.rotate(
            asked.caller.name,
            _workspace(asked),
            asked.path["webhook"],
            asked.body.overlap_hours,
        )
        return WebhookSecret(webhook=_info(rotated), secret=secret)

    return use


def _test(notices: Notices) -> _Use:
    def use(asked: Asked) -> Reply:
        workspace, webhook = _workspace(asked), asked.path["webhook"]
        return Reply(_delivery(notices.test(asked.caller.name, workspace, webhook)), 202)

    return use


def _deliveries(notices: Notices) -> _Use:
    def use(asked: Asked) -> Deliveries:
        query: Page = asked.query
        found = notices.deliveries(
            _workspace(asked), asked.path["webhook"], query.after, query.limit
        )
        more = found[-1].id if len(found) == query.limit else ""
        return Deliveries(deliveries=[_delivery(each) for each in found], next=more)

    return use


def _redeliver(notices: Notices) -> _Use:
    def use(asked: Asked) -> Reply:
        sent = notices.redeliver(_workspace(asked), asked.path["webhook"], asked.path["delivery"])
        return Reply(_delivery(sent), 202)

    return use


def _workspace(asked: Asked) -> str:
    caller = asked.caller
    if not caller.workspace and not caller.operator:
        # Without this, somebody without a workspace would see the server's own webhooks.
        raise HeliographError(Code.FORBIDDEN, "Name a workspace: Heliograph-Workspace: ws_….")
    return caller.workspace


def _info(webhook: Webhook) -> WebhookInfo:
    return WebhookInfo(
        id=webhook.id,
        url=webhook.url,
        kinds=list(webhook.kinds),
        state=webhook.state,
        failures=webhook.failures,
        paused_until_ms=webhook.paused_until_ms,
        old_secret_until_ms=webhook.old_until_ms,
        created_ms=webhook.created_ms,
    )


def _delivery(message: Message) -> Delivery:
    return Delivery(
        id=message.id,
        kind=message.topic,
        state=message.state,
        attempts=message.attempts,
        last_code=message.last_code,
        created_ms=message.created_ms,
        due_ms=message.due_ms,
        settled_ms=message.settled_ms,
        body=msgspec.Raw(message.payload),
    )
