"""Ids, the error table, settings and the values that travel with a call; imports nothing of ours."""
