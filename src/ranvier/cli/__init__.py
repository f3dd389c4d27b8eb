"""The `ranvier` command."""

from ranvier.cli.program import main

__all__ = ["main"]
