"""The ledger: one row for each answer that a client saw."""
