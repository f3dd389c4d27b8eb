"""Options that several commands share, and how a wrong configuration is told."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import click

from ranvier.config import CONFIG_NAME, ConfigError

Command = TypeVar("Command", bound=Callable[..., Any])

config_option = click.option(
    "-c",
    "--config",
    "--config-path",
    "config_paths",
    multiple=True,
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Configuration file, or a folder of *.yaml files. Give it several times: later files replace whole "
    "top-level keys of earlier ones.",
)

data_option = click.option(
    "--data",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("data"),
    show_default=True,
    metavar="FOLDER",
    help=f"Data folder; its {CONFIG_NAME} is used when no --config is given.",
)

set_option = click.option(
    "--set",
    "assignments",
    multiple=True,
    metavar="KEY=VALUE",
    help="Replace one value of the configuration, such as `max_upload_size=100M` or `listeners.0.port=8009`.",
)


def say(sentence: str, *, head: str = "") -> None:
    """Tell people on standard error, `head` in bold before it; standard output is kept for what is asked for."""
    click.echo(click.style(head, bold=True) + sentence if head else sentence, err=True)


def refuse(error: ConfigError) -> NoReturn:
    """Tell all that is wrong and end with status 2."""
    for fault in error.faults:
        say(fault.sentence, head=f"{fault.place}: ")
    raise SystemExit(2)


def stop(sentence: str) -> NoReturn:
    """Tell why the command can't go on and end with status 1."""
    say(sentence)
    raise SystemExit(1)


def configuration_paths(config_paths: Sequence[Path], data: Path) -> list[Path]:
    """The files that were asked for, or the data folder's own."""
    return list(config_paths) or [data / CONFIG_NAME]
