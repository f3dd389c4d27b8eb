"""`ranvier config`: the annotated sample, checks, and files that are missing."""

from __future__ import annotations

from pathlib import Path

import click

from ranvier.cli.options import refuse, say, set_option
from ranvier.config import ConfigError, create_missing, load, sample


@click.command("config")
@click.option(
    "--check",
    "checked",
    multiple=True,
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Say what is wrong with a configuration, with line and column; several are merged in order.",
)
@click.option(
    "--create-missing",
    "completed",
    multiple=True,
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Make the signing key and the registration secret that a configuration names, where they don't exist.",
)
@set_option
def show_config(checked: tuple[Path, ...], completed: tuple[Path, ...], assignments: tuple[str, ...]) -> None:
    """Print an annotated sample configuration, or check one.

    \b
    ranvier config > homeserver.yaml          every key, its meaning and its default
    ranvier config --check homeserver.yaml    what is wrong with a file, and where
    """
    try:
        if completed:
            _complete(completed, assignments)
        if checked:
            _check(checked, assignments)
        elif not completed:
            click.echo(sample(), nl=False)
    except ConfigError as error:
        refuse(error)


def _complete(paths: tuple[Path, ...], assignments: tuple[str, ...]) -> None:
    for path in create_missing(paths, assignments):
        say(f"{path}: written")


def _check(paths: tuple[Path, ...], assignments: tuple[str, ...]) -> None:
    config = load(paths, assignments)
    for warning in config.warnings:
        say(warning)
    key = config.server.signing_key_path
    if not key.exists():
        say(f"{key}: there is no signing key yet; a new server makes one at its first start")
    say(f"The configuration of {config.server.name} is good.")
