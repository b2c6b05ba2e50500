"""Budgets: telling people in time, and stopping where they want that."""
