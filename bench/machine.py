"""One line that names the machine a figure was measured on."""

from bench.report import machine as facts


def line() -> str:
    """E.g. `Intel(R) Xeon(R) Processor, 2 cores, 23 GiB, Linux 6.1`."""
    said = facts()
    return ", ".join(f"{name} {value}" for name, value in said.items()) + "."
