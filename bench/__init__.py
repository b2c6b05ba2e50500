"""Heliograph beside other model servers, and beside the limit of the machine. See README.md."""
