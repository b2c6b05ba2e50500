"""Meters that are read from time to time: replicas in memory, bytes in store."""
