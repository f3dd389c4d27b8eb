"""The command: options in, table out. Exit code 1 when something was wrong, 2 when a server failed."""

import asyncio
import contextlib
import datetime
import shutil
import signal
import sys
import tempfile
import traceback
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import click
import uvloop
from rich.console import Console

from bench import machine
from bench.arrivals import WrongCount
from bench.connection import UnexpectedAnswer
from bench.figures import Result
from bench.postgresql import Cluster, DatabaseFailed
from bench.progress import Bars
from bench.report import Report, number, spoken_value
from bench.servers import SERVERS, Server, ServerFailed, make
from bench.work import WORK
from bench.world import FULL, QUICK, World

TREE = Path(__file__).resolve().parent.parent
WORK_SECONDS = 900.0
FILE_WIDTH = 170  # the table, whole, where no terminal says how wide it is


@dataclass(frozen=True)
class Options:
    """What was asked for."""

    only: tuple[str, ...]
    servers: tuple[str, ...]
    database: str
    repeat: int
    quick: bool
    folder: Path


class Names(click.ParamType[tuple[str, ...]]):
    """A list of known names, separated by commas."""

    name = "NAME,..."

    def __init__(self, known: Sequence[str]) -> None:
        self._known = tuple(known)

    def convert(
        self, value: str | tuple[str, ...], param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, ...]:
        names = tuple(value.split(",")) if isinstance(value, str) else value
        for name in names:
            if name not in self._known:
                self.fail(f"{name!r} is none of {', '.join(self._known)}", param, ctx)
        return tuple(name for name in self._known if name in names)


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--only", type=Names(list(WORK)), default=",".join(WORK), help="Only this work.", show_default=True
)
@click.option(
    "--servers", type=Names(SERVERS), default=",".join(SERVERS), help="Which servers.", show_default=True
)
@click.option("--database", type=click.Choice(["sqlite", "postgres"]), default="sqlite", show_default=True)
@click.option(
    "--repeat", type=click.IntRange(1, 50), default=1, help="Repeat all; medians are shown.", metavar="N"
)
@click.option("--json", "json_file", type=click.Path(path_type=Path), help="Write results to this file.")
@click.option("--quick", is_flag=True, help="Small amounts: to see that all works, not to compare figures.")
@click.option(
    "--data",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    default=tempfile.gettempdir(),
    help="Where data folders are made: choose the disk that counts.",
    show_default=True,
)
def main(
    only: tuple[str, ...],
    servers: tuple[str, ...],
    database: str,
    repeat: int,
    json_file: Path | None,
    quick: bool,
    data: Path,
) -> None:
    """Put the same load on Ranvier and on Synapse and show the figures side by side."""
    console = Console()
    if not console.is_terminal:
        console = Console(width=FILE_WIDTH)
    folder = Path(tempfile.mkdtemp(prefix="bench-", dir=data))
    folder.chmod(0o711)  # the database's own account has to reach its folder inside
    try:
        report = uvloop.run(run(Options(only, servers, database, repeat, quick, folder), console))
    except (ServerFailed, DatabaseFailed) as failure:
        console.print(f"[bold red]failed[/] {failure}", highlight=False)
        sys.exit(2)
    except asyncio.CancelledError:
        sys.exit(130)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    report.show(console)
    if json_file:
        report.write(json_file)
    sys.exit(1 if report.wrong else 0)


async def run(options: Options, console: Console) -> Report:
    """Every server in turn, as often as asked for, each time from an empty data folder."""
    if running := asyncio.current_task():  # so that no server outlives a run that is ended
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, running.cancel)
    bars = Bars(console)
    drawing = asyncio.create_task(bars.draw())
    versions: dict[str, str] = {}
    repeats: dict[str, list[list[Result]]] = {name: [] for name in options.servers}
    facts = machine.describe(options.folder, TREE)
    try:
        for repeat in range(options.repeat):
            for name in options.servers[:: -1 if repeat % 2 else 1]:  # neither is always the first
                with database_of(options, repeat, name) as cluster:
                    server = make(name, options.folder / f"{name}-{repeat}", cluster, TREE)
                    bars.title(f"{name}: installing")
                    versions[name] = await asyncio.to_thread(server.install)
                    bars.title(f"{name} {versions[name]} ({repeat + 1}/{options.repeat})")
                    repeats[name].append(await measure(server, options, bars))
    finally:
        drawing.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await drawing
    spoken: dict[str, object] = {
        "when": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "database": options.database,
        "repeat": options.repeat,
        "quick": options.quick,
        "only": list(options.only),
    }
    return Report(facts, spoken, versions, repeats)


@contextlib.contextmanager
def database_of(options: Options, repeat: int, server: str) -> Iterator[Cluster | None]:
    """A PostgreSQL cluster for one server's run, or None for SQLite."""
    if options.database == "sqlite":
        yield None
        return
    cluster = Cluster(options.folder / f"postgresql-{server}-{repeat}")
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.stop()


async def measure(server: Server, options: Options, bars: Bars) -> list[Result]:
    """All work on one server; what is wrong is a row too, and the next work goes on."""
    results: list[Result] = []
    world = World(server, QUICK if options.quick else FULL, bars, await server.start())
    try:
        for name in options.only:
            rows = await attempt(name, world)
            results += rows
            for row in rows:
                bars.say(spoken_row(row))
        with contextlib.suppress(ServerFailed):
            await server.stop()
    finally:
        server.kill()
    return results


async def attempt(name: str, world: World) -> list[Result]:
    """One piece of work; whatever goes wrong becomes a row that says so, and the server is started anew."""
    try:
        async with asyncio.timeout(WORK_SECONDS):
            return await WORK[name](world)
    except* Exception as group:
        errors = flatten(group)
        wrong = "; ".join(f"{type(error).__name__}: {error}" for error in errors[:3])
        if not all(isinstance(error, WrongCount | UnexpectedAnswer) for error in errors):
            traceback.print_exception(group)
    world.server.kill()
    await world.server.start()
    return [Result(work=name, wrong=wrong)]


def flatten(group: BaseExceptionGroup[BaseException]) -> list[BaseException]:
    """The exceptions themselves, out of nested groups."""
    found: list[BaseException] = []
    for error in group.exceptions:
        found += flatten(error) if isinstance(error, BaseExceptionGroup) else [error]
    return found


def spoken_row(row: Result) -> str:
    """One line for one row, as soon as it is known."""
    if row.wrong:
        return f"  {row.work}: WRONG: {row.wrong}"
    parts = [f"{fact.name} {spoken_value(fact.value, fact.unit)}" for fact in row.facts]
    if row.operations:
        figures = f"{number(row.rate)}/s, p50 {number(row.p50_ms)} ms, p99 {number(row.p99_ms)} ms"
        costs = f"CPU {number(row.cpu_ms)} ms (generator {number(row.generator_cpu_us)} µs)"
        parts = [f"{figures}, {costs}", row.checked, *parts]
    return f"  {row.work}: " + "; ".join(parts)


if __name__ == "__main__":
    main(prog_name="bench")
