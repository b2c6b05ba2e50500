"""The whole OpenAPI, asked at random: nothing is a fault of ours, and the document tells the truth.

Schemathesis makes requests from the server's own document, good and bad ones, with the operator's
key, with a workspace's key and as a person. Every answer is one that the document names, of the
content type it names. Afterwards the same process still answers.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from support.tenants import Site

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]
NEVER = {
    "DELETE /api/v1/sessions/current": "would log the fuzzer out",
    "DELETE /api/v1/sessions": "likewise",
    "POST /api/v1/me/password": "likewise",
    "DELETE /api/v1/me/totp": "gives the session another cookie",
    "POST /api/v1/me/recovery-codes": "likewise",
    "POST /api/v1/me/erasure": "would have the person erased",
    "POST /api/v1/workspace/erasure": "would have the workspace erased",
}
"""Operations that end what the others need."""
CALLERS = ("operator", "key", "session", "nobody")


def fuzz(estate: Site, caller: str, examples: int) -> Counter[int]:
    """Ask everything so often; how often each status came."""
    headers = {
        "operator": {"authorization": f"Bearer {estate.server.key}"},
        "key": {"authorization": f"Bearer {estate.ours.key}"},
        "session": {
            "cookie": f"heliograph={estate.ours.session}",
            "origin": estate.server.address,
        },
        "nobody": {},
    }[caller]
    schema: Any = schemathesis.openapi.from_dict(estate.document())
    seen: Counter[int] = Counter()
    wrong: dict[str, str] = {}

    def ask(case: Any) -> None:
        if caller in {"session", "nobody"}:
            case.headers.pop("Authorization", None)  # made up; it would count instead
        reply = case.call(base_url=estate.server.address, headers=headers, timeout=20.0)
        seen[reply.status_code] += 1
        try:
            case.validate_response(reply, checks=CHECKS)
        except BaseException as error:  # noqa: BLE001 - every finding, of every operation
            label = f"{case.operation.method.upper()} {case.operation.path}"
            wrong.setdefault(label, f"{reply.status_code} {reply.text[:300]} {error}"[:900])

    bounded = settings(
        max_examples=examples,
        derandomize=True,
        database=None,
        deadline=None,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
    )
    for found in schema.get_all_operations():
        operation = found.ok()
        if f"{operation.method.upper()} {operation.path}" not in NEVER:
            bounded(given(case=operation.as_strategy())(ask))()
    assert not wrong, "\n\n".join(f"{label}: {said}" for label, said in wrong.items())
    return seen


@pytest.mark.parametrize("caller", CALLERS)
def test_no_answer_is_undocumented(estate: Site, caller: str) -> None:
    seen = fuzz(estate, caller, 4)
    assert sum(seen.values()) > 200
    assert not [status for status in seen if status >= 500 and status != 503], seen
    assert estate.server.process.poll() is None
    assert estate.by_key(estate.server.key).get("/api/v1/models").status_code == 200
    assert "Traceback" not in estate.server.log()


@pytest.mark.slow
@pytest.mark.parametrize("caller", CALLERS)
def test_no_answer_is_undocumented_however_long_one_asks(estate: Site, caller: str) -> None:
    fuzz(estate, caller, 100)
    assert estate.server.process.poll() is None
