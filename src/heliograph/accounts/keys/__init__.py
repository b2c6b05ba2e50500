"""API keys: what a program shows to be let in."""
