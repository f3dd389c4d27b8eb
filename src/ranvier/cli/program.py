"""The command's root: what stands under `ranvier --help`."""

from collections.abc import Mapping
from importlib import import_module
from typing import Final

import click

from ranvier import __version__

_COMMANDS: Final[Mapping[str, str]] = {
    "run": "ranvier.cli.run:run",
    "config": "ranvier.cli.configuration:show_config",
    "register": "ranvier.cli.register:register",
    "keys": "ranvier.cli.keys:keys",
    "workers": "ranvier.cli.workers:workers",
    "database": "ranvier.cli.database:database",
    "federation": "ranvier.cli.federation:federation",
}


class _Commands(click.Group):
    """Commands whose modules are loaded when they are called: a server need not wait for what others need."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        module, _, name = _COMMANDS[cmd_name].partition(":")
        command: click.Command = getattr(import_module(module), name)
        return command


@click.group(
    cls=_Commands,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="From nothing to chatting: `ranvier run`, then in another window `ranvier register`.",
)
@click.version_option(__version__, prog_name="ranvier")
def main() -> None:
    """Ranvier, a Matrix homeserver.

    A server lives in one data folder: its configuration (homeserver.yaml), signing key, secrets, database and
    media. `ranvier run` makes the folder at the first start.
    """
