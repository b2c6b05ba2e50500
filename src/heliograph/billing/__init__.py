"""What it costs: the ledger, usage, prices, budgets, invoices."""
