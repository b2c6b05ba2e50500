"""Which role holds which permission: the one table."""

from __future__ import annotations

from enum import StrEnum

from heliograph.core.permissions import Permission


class Role(StrEnum):
    """What a person is in a workspace."""

    ADMIN = "admin"
    BILLING = "billing"
    DEVELOPER = "developer"
    LABELER = "labeler"
    OWNER = "owner"
    VIEWER = "viewer"


SELF = frozenset({Permission.SELF_READ, Permission.SELF_WRITE})
"""What every person may do to what is its own, whatever its roles."""

_VIEWER = {
    *(Permission.MODELS_READ, Permission.MEMBERS_READ, Permission.QUOTAS_READ),
    *(Permission.USAGE_READ, Permission.WORKSPACES_READ),
}
_DEVELOPER = _VIEWER | {
    *(Permission.MODELS_CALL, Permission.KEYS_READ, Permission.KEYS_WRITE),
    *(Permission.WEBHOOKS_READ, Permission.WEBHOOKS_WRITE),
}
_ADMIN = _DEVELOPER | {
    *(Permission.MEMBERS_WRITE, Permission.AUDIT_READ, Permission.WORKSPACES_WRITE),
    *(Permission.BILLING_READ, Permission.DATA_EXPORT),
}
PERMISSIONS: dict[Role, frozenset[Permission]] = {
    Role.ADMIN: frozenset(_ADMIN),
    Role.BILLING: frozenset(
        {
            *(Permission.BILLING_READ, Permission.USAGE_READ, Permission.QUOTAS_READ),
            *(Permission.WORKSPACES_READ, Permission.BUDGETS_WRITE),
        }
    ),
    Role.DEVELOPER: frozenset(_DEVELOPER),
    Role.LABELER: frozenset({Permission.MODELS_READ, Permission.MODELS_CALL}),
    Role.OWNER: frozenset(_ADMIN | {Permission.DATA_ERASE, Permission.BUDGETS_WRITE}),
    Role.VIEWER: frozenset(_VIEWER),
}
"""The models of a server are everybody's: changing them, prices and quotas is the operator's."""

KEY_SCOPES = frozenset(_ADMIN)
"""What a key may be given; never more than its maker holds."""
