"""`ranvier database`: moves a server's rows from SQLite to PostgreSQL while it runs."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from ranvier.cli.options import config_option, configuration_paths, data_option, refuse, say, stop
from ranvier.config import ConfigError, PostgresStore, SqliteStore, load
from ranvier.main.databases import CannotStart
from ranvier.main.postgres_start import open_postgres
from ranvier.store import schema
from ranvier.store.copying import CannotCopy, Copying, until_held
from ranvier.store.database import Unavailable
from ranvier.store.postgres import PostgresDatabase


@click.group()
def database() -> None:
    """Where the server keeps everything."""


@database.command("copy")
@config_option
@data_option
@click.option(
    "--to",
    "target",
    required=True,
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    metavar="FILE",
    help="A YAML file whose key `database` names the PostgreSQL database, which must be empty.",
)
def copy(config_paths: tuple[Path, ...], data: Path, target: Path) -> None:
    """Copy the SQLite database to PostgreSQL; the server goes on running meanwhile.

    When everything is copied and compared, this command asks you to stop the server, takes in what was written last,
    and ends: within seconds. Then put the new `database` into the configuration and start the server. If the command
    is ended in between, the next one goes on from there.
    """
    paths = configuration_paths(config_paths, data)
    try:
        source, goal = load(paths).database, load([*paths, target]).database
    except ConfigError as error:
        refuse(error)
    if not isinstance(source, SqliteStore) or not source.path.exists():
        stop("The configuration names no SQLite database that is there: there is nothing to copy.")
    if not isinstance(goal, PostgresStore):
        stop(f"{target} names no PostgreSQL database: it needs `database` with `name: psycopg2`.")
    try:
        asyncio.run(_copy(source.path, goal))
    except (CannotStart, CannotCopy, Unavailable) as error:
        stop(str(error))
    except sqlite3.Error as error:
        stop(f"{source.path} can't be read: {error}")


async def _copy(path: Path, goal: PostgresStore) -> None:
    target = await open_postgres(goal)
    assert isinstance(target, PostgresDatabase)
    copying = Copying(path, target)
    try:
        _check_version(path, (await schema.upgrade(target))[1])
        await copying.prepare()
        with Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            console=Console(stderr=True),
        ) as progress:
            await _all(copying, progress)
        counts = await copying.finish()
    finally:
        copying.close()
        await target.close()
    for name, rows in counts.items():
        if rows:
            click.echo(f"{rows:>12}  {copying.digests[name][:16]}  {name}")
    say("Everything is copied. Put the new `database` into the configuration and start the server.")


async def _all(copying: Copying, progress: Progress) -> None:
    total = sum(copying.count(table) for table in copying.tables)
    copied = progress.add_task("copying", total=total)
    for table in copying.tables:
        await copying.copy(table, lambda _, rows: progress.advance(copied, rows))
    progress.update(copied, completed=total)
    while await copying.follow():
        pass
    compared = progress.add_task("comparing", total=total)
    for table in copying.tables:
        await copying.verify(table, lambda _, rows: progress.advance(compared, rows))
    say("Everything is copied and compared. Stop the server now: the rest takes seconds.")
    left = progress.add_task("waiting for the server's end", total=None)
    await until_held(copying, lambda number: progress.update(left, completed=number))


def _check_version(path: Path, newest: int) -> None:
    with sqlite3.connect(path) as source:
        version = source.execute("SELECT MAX(version) FROM schema_version").fetchone()[0]
    if version != newest:
        raise CannotCopy(
            f"The SQLite database has schema {version}, and this program's is {newest}: let this version's server "
            "run on it first."
        )
