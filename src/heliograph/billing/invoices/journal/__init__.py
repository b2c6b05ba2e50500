"""The journal: every movement of money, as two sides that are equal."""
