"""TLS for every protocol: certificates that are followed, asked for by ACME, and asked of peers."""
