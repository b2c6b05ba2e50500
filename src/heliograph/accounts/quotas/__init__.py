"""Limits of keys and workspaces, kept exactly."""
