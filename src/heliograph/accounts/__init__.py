"""Who is calling: until accounts exist, one administrator key."""
