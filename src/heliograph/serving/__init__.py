"""The inference path, one file per step; it knows Protocols, not products."""
