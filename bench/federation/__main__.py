"""The command: options in, table out. Exit code 1 when something was wrong, 2 when a server failed."""

import asyncio
import datetime
import shutil
import sys
import tempfile
import traceback
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

import click
import uvloop
from rich.console import Console

from bench import machine
from bench.__main__ import FILE_WIDTH, TREE, Names, spoken_row
from bench.federation.authority import Authority
from bench.federation.delivery import measure_delivery
from bench.federation.destinations import measure_destinations
from bench.federation.joining import measure_joining
from bench.federation.pair import Pair
from bench.federation.receiving import measure_receiving
from bench.figures import Result
from bench.progress import Bars
from bench.report import Report
from bench.servers import SERVERS, ServerFailed


@dataclass(frozen=True)
class Sizes:
    """How much of each piece of work is done."""

    messages: int = 100
    members: int = 10_000
    rate: int = 1_000
    seconds: int = 20
    broadcasts: int = 40


QUICK = Sizes(messages=15, members=500, rate=200, seconds=3, broadcasts=5)
WORK: dict[str, Callable[[Pair, Sizes], Awaitable[list[Result]]]] = {
    "deliver": lambda pair, sizes: measure_delivery(pair, sizes.messages),
    "join": lambda pair, sizes: measure_joining(pair, sizes.members),
    "receive": lambda pair, sizes: measure_receiving(pair, sizes.rate, sizes.seconds),
    "destinations": lambda pair, sizes: measure_destinations(pair, sizes.broadcasts),
}
_SECONDS = 1_800.0


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--only", type=Names(list(WORK)), default=",".join(WORK), show_default=True)
@click.option("--servers", type=Names(SERVERS), default=",".join(SERVERS), show_default=True)
@click.option("--members", type=click.IntRange(10, 200_000), help="Members of the room that is joined.")
@click.option("--rate", type=click.IntRange(50, 100_000), help="PDUs a second that come in.")
@click.option("--json", "json_file", type=click.Path(path_type=Path), help="Write results to this file.")
@click.option("--quick", is_flag=True, help="Small amounts: to see that all works, not to compare figures.")
def main(
    only: tuple[str, ...],
    servers: tuple[str, ...],
    members: int | None,
    rate: int | None,
    json_file: Path | None,
    quick: bool,
) -> None:
    """Measure what passes between servers of one kind, Ranvier's beside Synapse's."""
    console = Console()
    if not console.is_terminal:
        console = Console(width=FILE_WIDTH)
    sizes = QUICK if quick else Sizes()
    sizes = Sizes(
        sizes.messages, members or sizes.members, rate or sizes.rate, sizes.seconds, sizes.broadcasts
    )
    folder = Path(tempfile.mkdtemp(prefix="bench-"))
    try:
        report = uvloop.run(run(only, servers, sizes, folder, console))
    except ServerFailed as failure:
        console.print(f"[bold red]failed[/] {failure}", highlight=False)
        sys.exit(2)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    report.show(console)
    if json_file:
        report.write(json_file)
    sys.exit(1 if report.wrong else 0)


async def run(
    only: tuple[str, ...], servers: tuple[str, ...], sizes: Sizes, folder: Path, console: Console
) -> Report:
    """Each piece of work with a pair of its own, the kinds of server by turns."""
    bars = Bars(console)
    drawing = asyncio.create_task(bars.draw())
    authority = Authority(folder)
    facts = machine.describe(folder, TREE)
    versions: dict[str, str] = {}
    rows: dict[str, list[Result]] = {kind: [] for kind in servers}
    try:
        for name in only:
            for kind in servers:
                bars.title(f"{kind}: {name}")
                pair = Pair(kind, folder / name, TREE, authority, bars)
                versions[kind] = await asyncio.to_thread(pair.install)
                found = await _attempt(name, pair, sizes)
                rows[kind] += found
                for row in found:
                    bars.say(spoken_row(row))
    finally:
        drawing.cancel()
    options: dict[str, object] = {
        "when": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "database": "sqlite",
        "only": list(only),
        "sizes": vars(sizes),
    }
    return Report(facts, options, versions, {kind: [found] for kind, found in rows.items()})


async def _attempt(name: str, pair: Pair, sizes: Sizes) -> list[Result]:
    """One piece of work; whatever goes wrong becomes a row that says so."""
    try:
        await pair.start()
        async with asyncio.timeout(_SECONDS):
            return await WORK[name](pair, sizes)
    except ServerFailed:
        raise
    except Exception as error:
        traceback.print_exc()
        return [Result(work=name, wrong=f"{type(error).__name__}: {error}")]
    finally:
        pair.kill()


if __name__ == "__main__":
    main(prog_name="bench.federation")
