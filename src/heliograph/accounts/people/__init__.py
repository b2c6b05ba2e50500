"""People: who they are, how they prove it, and how long they are remembered.

    register → verify ┐
    invite  → reset ──┴► active ──► log in: password (+ TOTP or a recovery code) | passkey | OIDC
                                       │
                                    Session, an opaque token ──► the gate asks `sessions.lookup`

`service.People` is the whole of it to others; the parts beside it each tell one thing.
"""
