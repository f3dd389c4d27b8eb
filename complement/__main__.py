"""`scripts/complement`: run the suite without Docker, and hold its results against the list."""

import argparse
import asyncio
import hashlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

from complement import report, results, table
from complement.engine.containers import name_isolation
from complement.local import SERVERS, run_engine
from complement.report import say
from complement.servers.local import TREE
from complement.suite import MODULE, NoSuite, Suite

LIST = TREE / "complement" / "results.json"
SYNAPSE_LIST = TREE / "complement" / "synapse-results.json"
PAGE = TREE / "docs" / "complement.md"
WORK = TREE / ".cache" / "complement"
UNAVAILABLE = 3


def parse_arguments() -> argparse.Namespace:
    """What the command line says."""
    parser = argparse.ArgumentParser(prog="scripts/complement", description=__doc__)
    add = parser.add_argument
    add(
        "packages",
        nargs="*",
        metavar="PACKAGE",
        help="below tests: csapi, msc3391, ... or . for tests itself",
    )
    add("--server", choices=SERVERS, default="ranvier", help="what all servers are [ranvier]")
    add("--hs1", choices=SERVERS, help="what hs1 is, in a mixed deployment")
    add("--hs2", choices=SERVERS, help="what hs2 is, in a mixed deployment")
    add("--run", metavar="REGEX", help="only tests of these names, as go test's -run takes them")
    add("--share", type=int, metavar="PERCENT", help="only so many of the tests, drawn by the seed")
    add("--seed", default="", help="what a share is drawn by [the commit]")
    add("--clean", action="store_true", help="new servers for each test, not the same for many")
    add("--retries", type=int, default=1, help="further tries for tests that got worse [1]")
    add("--minutes", type=int, default=40, help="the longest time of one package [40]")
    add("--write", action="store_true", help="write the results to the list and the table")
    add("--if-possible", action="store_true", help="succeed where the suite can't be had, and say so")
    add("--output", type=Path, metavar="FILE", help="also write this run's results as JSON")
    return parser.parse_args()


class Runner:
    """One run, as the command line asks for it."""

    def __init__(self, options: argparse.Namespace) -> None:
        self._options = options
        self._kinds = [kind for kind in (options.server, options.hs1, options.hs2) if kind]
        self._log = WORK / f"{'-'.join(self._kinds)}.log"
        self._suite = Suite(TREE / "complement" / "go.mod", WORK / "suite")
        self._packages = _choose(self._suite.packages(), options.packages)
        self._only: str | None = options.run
        self._listed = set() if options.run else self._suite.list_tests(self._packages)
        if options.share is not None and not options.run:
            self._draw(options.share, options.seed or _commit())
        # One list is about this server everywhere, with either database, one about Synapse; none is about both.
        self._list = {frozenset({"synapse"}): SYNAPSE_LIST}.get(frozenset(self._kinds))
        if "synapse" not in self._kinds:
            self._list = LIST
        self._known = results.load(self._list) if self._list is not None else {}

    def _draw(self, percent: int, seed: str) -> None:
        """Leave a share of the tests."""
        self._listed = {name for name in self._listed if is_drawn(name, seed, percent)}
        self._only = f"^({'|'.join(sorted(self._listed))})$"
        say(f"{len(self._listed)} tests, drawn by --share {percent} --seed {seed}")

    async def run(self) -> int:
        """Run and report; answers the exit status."""
        begin = time.monotonic()
        if name_isolation() is None:
            say(
                "Containers can't have names of their own here (unshare --mount is refused): no server finds another."
            )
        folder = Path(tempfile.mkdtemp(prefix="complement-"))
        try:
            async with run_engine(folder, set(self._kinds)) as url:
                run = await self._try(self._environment(url))
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        report.count(run)
        if self._options.output:
            report.write(run, self._options.output)
        minutes = (time.monotonic() - begin) / 60
        say(f"{minutes:.1f} minutes; everything that was printed is in {self._log.relative_to(TREE)}")
        return self._judge(run)

    def _environment(self, engine: str) -> dict[str, str]:
        options = self._options
        named = {
            f"COMPLEMENT_BASE_IMAGE_{hs}": kind for hs in ("hs1", "hs2") if (kind := getattr(options, hs))
        }
        return {
            "DOCKER_HOST": engine,
            "COMPLEMENT_BASE_IMAGE": options.server,
            "COMPLEMENT_ENABLE_DIRTY_RUNS": "0" if options.clean else "1",
            **named,
        }

    async def _try(self, environment: Mapping[str, str]) -> results.Run:
        """All tests once, and those that got worse again."""
        self._log.unlink(missing_ok=True)
        run = await self._ask(environment, self._only)
        for _ in range(self._options.retries if self._known else 0):
            verdict = results.compare(self._known, run.results, self._listed)
            again = sorted({name.split("/")[0] for name in (*verdict.worse, *verdict.missing)})
            if not again:
                break
            say(f"Once more: {', '.join(again)}")
            run.take_over(await self._ask(environment, f"^({'|'.join(again)})$"))
        return run

    async def _ask(self, environment: Mapping[str, str], only: str | None) -> results.Run:
        # The suite leaves out what Synapse is known not to do, if it is told that it tests Synapse.
        tags = ["synapse_blacklist"] if set(self._kinds) == {"synapse"} else []
        return await self._suite.run(
            self._packages,
            environment,
            tags=tags,
            only=only,
            minutes=self._options.minutes,
            log=self._log,
            told=report.tell,
        )

    def _judge(self, run: results.Run) -> int:
        broken = bool(report.find_broken(run)) or not run.results
        if self._list is None:
            return int(broken)
        known = self._known
        if self._options.write:
            names = self._listed or {name.split("/")[0] for name in run.results}
            known = results.update(known, run.results, names)
            results.save(self._list, known)
            if self._list == LIST:
                table.write(PAGE, known)
        verdict = results.compare(known, run.results, self._listed)
        report.explain(run, verdict)
        good = verdict.good and not broken
        passed = sum(outcome == "pass" for outcome in run.results.values())
        say(
            f"{'As the list says' if good else 'Not as the list says'}: {passed} of {len(run.results)} tests pass."
        )
        return int(not good)


def is_drawn(test: str, seed: str, percent: int) -> bool:
    """Whether a test belongs to the share of this seed."""
    return int.from_bytes(hashlib.sha256(f"{seed} {test}".encode()).digest()[:4]) % 100 < percent


def _commit() -> str:
    """The commit that is checked out, or a word where there is none."""
    command = ["git", "rev-parse", "HEAD"]
    asked = subprocess.run(command, cwd=TREE, capture_output=True, text=True, check=False)  # noqa: S603 - git
    return asked.stdout.strip() or "none"


def _choose(packages: list[str], wanted: list[str]) -> list[str]:
    if not wanted:
        return packages
    full = [f"{MODULE}/tests" if name == "." else f"{MODULE}/tests/{name}" for name in wanted]
    unknown = sorted(set(full) - set(packages))
    if unknown:
        raise SystemExit(f"No such package of tests: {', '.join(unknown)}")
    return full


async def main(options: argparse.Namespace) -> int:
    """Run as a task, so that a signal ends it with everything that it started; answers the exit status."""
    task = asyncio.current_task()
    if task is not None:
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    try:
        return await Runner(options).run()
    except NoSuite as error:
        say(f"Complement did not run. {error}")
        return 0 if options.if_possible else UNAVAILABLE
    except asyncio.CancelledError:
        return 128 + signal.SIGTERM


if __name__ == "__main__":
    sys.exit(asyncio.run(main(parse_arguments())))
