"""Model packages: what can be served, where its files come from, what is in service."""
