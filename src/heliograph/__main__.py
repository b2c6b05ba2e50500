"""`python -m heliograph`: the command line."""

from heliograph.cli.main import main

main()
