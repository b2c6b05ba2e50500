"""Rows, blobs and keys that outlive the process: one database, one blob store, one key ring."""
