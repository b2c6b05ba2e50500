"""What a caller may do: the closed list that routes ask for and roles are made of.

The grammar is `noun:verb`. Which role holds which, `accounts/roles.py` says; which route asks for
which, the route itself.
"""

from __future__ import annotations

from enum import StrEnum


class Permission(StrEnum):
    """The closed list of permissions (a public contract: added to, never renamed)."""

    ABUSE_DECIDE = "abuse:decide"
    ABUSE_READ = "abuse:read"
    AUDIT_READ = "audit:read"
    BILLING_READ = "billing:read"
    BILLING_WRITE = "billing:write"
    BUDGETS_WRITE = "budgets:write"
    DATA_ERASE = "data:erase"
    DATA_EXPORT = "data:export"
    IDENTITY_REVIEW = "identity:review"
    KEYS_READ = "keys:read"
    KEYS_WRITE = "keys:write"
    MEMBERS_READ = "members:read"
    MEMBERS_WRITE = "members:write"
    METRICS_READ = "metrics:read"
    MODELS_CALL = "models:call"
    MODELS_READ = "models:read"
    MODELS_WRITE = "models:write"
    PRICES_WRITE = "prices:write"
    QUOTAS_READ = "quotas:read"
    QUOTAS_WRITE = "quotas:write"
    SELF_READ = "self:read"
    SELF_WRITE = "self:write"
    SERVER_OPERATE = "server:operate"
    USAGE_READ = "usage:read"
    USERS_READ = "users:read"
    USERS_WRITE = "users:write"
    WEBHOOKS_READ = "webhooks:read"
    WEBHOOKS_WRITE = "webhooks:write"
    WORKSPACES_READ = "workspaces:read"
    WORKSPACES_WRITE = "workspaces:write"


EVERY = frozenset(Permission)
"""All of them: the operator's."""
