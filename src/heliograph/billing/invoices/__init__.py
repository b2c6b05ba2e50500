"""Invoices: a month's usage, rated, taxed, numbered and never changed again."""
