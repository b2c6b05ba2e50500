"""Ids, the error table, settings, the values that travel with a call; imports nothing of ours."""
