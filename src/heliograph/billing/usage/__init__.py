"""What was used: sums, charts and single calls, read from the ledger."""
