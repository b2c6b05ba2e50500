"""What leaves the house, guarded: pictures by address, messages to other people's programs."""
