"""`ranvier workers`: the processes of a server, as each tells of itself every second."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from ranvier.cli.options import config_option, configuration_paths, data_option, refuse, stop
from ranvier.config import ALL_ROLES, Config, ConfigError, SqliteStore, load
from ranvier.main.databases import CannotStart, connect
from ranvier.store.neighbours import ProcessRow, read_processes
from ranvier.store.schema import version_of

_HEAD = ("process", "where", "roles", "up", "load", "lag", "memory", "requests/s", "version")
_MEBI = 1024 * 1024


@click.command()
@config_option
@data_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def workers(config_paths: tuple[Path, ...], data: Path, as_json: bool) -> None:
    """Show the processes of a server: roles, load (of one core), lag of the event loop, memory.

    What is shown is at most a second old; who ended without a word, or stands still, is listed as silent for an hour.
    """
    try:
        config = load(configuration_paths(config_paths, data))
        found = asyncio.run(_read(config))
    except ConfigError as error:
        refuse(error)
    except CannotStart as error:
        stop(str(error))
    if as_json:
        click.echo(json.dumps([_as_json(row) for row in found], indent=2))
        return
    if not found:
        click.echo("No process has been running within the last hour.")
        return
    _show([_HEAD, *(_cells(row) for row in found)])


async def _read(config: Config) -> Sequence[ProcessRow]:
    if isinstance(config.database, SqliteStore):
        raise CannotStart("On SQLite a server is one process, which keeps no list of itself.")
    database = await connect(config.database)
    try:
        if not await version_of(database):
            raise CannotStart("The database is empty: no server has started with it yet.")
        return await read_processes(database)
    finally:
        await database.close()


def _as_json(row: ProcessRow) -> dict[str, Any]:
    process = row.process
    return {
        "instance": process.instance,
        "host": process.host,
        "pid": process.pid,
        "roles": _roles(row),
        "alive": row.is_alive,
        "up_s": round(row.up_s),
        "silent_s": round(row.silent_s, 1),
        **row.figures,
    }


def _roles(row: ProcessRow) -> list[str]:
    return [role for role in sorted(ALL_ROLES) if role in row.process.roles]


def _cells(row: ProcessRow) -> tuple[str, ...]:
    process, figures = row.process, row.figures
    where = f"{process.host}:{process.pid}"
    roles = "all" if len(_roles(row)) == len(ALL_ROLES) else ", ".join(_roles(row)) or "none"
    if not row.is_alive:
        return (process.instance, where, roles, f"silent for {_span(row.silent_s)}")
    return (
        process.instance,
        where,
        roles,
        _span(row.up_s),
        f"{figures.get('cpu', 0):.0%}",
        f"{figures.get('lag_ms', 0):.0f} ms",
        f"{figures.get('memory', 0) / _MEBI:.0f} MB",
        f"{figures.get('requests', 0):.0f}",
        str(figures.get("version", "")),
    )


def _span(seconds: float) -> str:
    """Seconds, as people say them."""
    for unit, size in (("d", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"


def _show(lines: Sequence[Sequence[str]]) -> None:
    # A silent process has fewer cells, the last of which may reach over what it lacks.
    widths = [
        max(len(line[place]) for line in lines if place < len(line) - 1 or len(line) == len(_HEAD))
        for place in range(len(_HEAD))
    ]
    for number, line in enumerate(lines):
        text = "  ".join(f"{cell:{width}}" for cell, width in zip(line, widths, strict=False)).rstrip()
        click.secho(text, bold=number == 0)
