"""`python -m stopgap`: the command line."""

from stopgap.cli import main

main()
