"""The wire: parse, call one use case, render; no decisions."""
