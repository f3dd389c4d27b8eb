"""`python -m ranvier` is the `ranvier` command."""

from ranvier.cli import main

main(prog_name="ranvier")
