"""Bringing a model in: what it is, whether it is safe, what it wants, a package made of it."""
