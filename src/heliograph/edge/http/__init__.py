"""HTTP/1.1: our own API, one file per resource."""
