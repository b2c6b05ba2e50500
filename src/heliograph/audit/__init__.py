"""Append-only events that prove themselves: what happened, in a chain that nobody can mend."""
