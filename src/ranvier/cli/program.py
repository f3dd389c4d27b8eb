"""The command's root: what stands under `ranvier --help`."""

import click

from ranvier import __version__
from ranvier.cli.configuration import show_config
from ranvier.cli.register import register
from ranvier.cli.run import run


@click.group(
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="From nothing to chatting: `ranvier run`, then in another window `ranvier register`.",
)
@click.version_option(__version__, prog_name="ranvier")
def main() -> None:
    """Ranvier, a Matrix homeserver.

    A server lives in one data folder: its configuration (homeserver.yaml), signing key, secrets, database and
    media. `ranvier run` makes the folder at the first start.
    """


main.add_command(run)
main.add_command(show_config)
main.add_command(register)
