"""`scripts/complement`: run the suite without Docker, and hold its results against the list."""

import argparse
import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from complement import results, table
from complement.databases import Databases
from complement.engine.addresses import Addresses
from complement.engine.api import Engine, serve
from complement.engine.containers import Containers, name_isolation
from complement.engine.images import Images
from complement.servers.local import TREE, LocalServer
from complement.suite import MODULE, NoSuite, Suite

LIST = TREE / "complement" / "results.json"
PAGE = TREE / "docs" / "complement.md"
WORK = TREE / ".cache" / "complement"
SERVERS = ("ranvier", "ranvier-postgres", "synapse")
UNAVAILABLE = 3
_SYNAPSE = "matrix-synapse~=1.163.0"


def parse_arguments() -> argparse.Namespace:
    """What the command line says."""
    parser = argparse.ArgumentParser(prog="scripts/complement", description=__doc__)
    parser.add_argument(
        "packages",
        nargs="*",
        metavar="PACKAGE",
        help="below tests: csapi, msc3391, ... or . for tests itself",
    )
    parser.add_argument("--server", choices=SERVERS, default="ranvier", help="what all servers are [ranvier]")
    parser.add_argument("--hs1", choices=SERVERS, help="what hs1 is, in a mixed deployment")
    parser.add_argument("--hs2", choices=SERVERS, help="what hs2 is, in a mixed deployment")
    parser.add_argument(
        "--run", metavar="REGEX", help="only tests of these names, as go test's -run takes them"
    )
    parser.add_argument(
        "--clean", action="store_true", help="new servers for each test, not the same for many"
    )
    parser.add_argument("--retries", type=int, default=1, help="further tries for tests that got worse [1]")
    parser.add_argument("--minutes", type=int, default=40, help="the longest time of one package [40]")
    parser.add_argument("--write", action="store_true", help="write the results to the list and the table")
    parser.add_argument(
        "--if-possible", action="store_true", help="succeed where the suite can't be had, and say so"
    )
    parser.add_argument("--output", type=Path, metavar="FILE", help="also write this run's results as JSON")
    return parser.parse_args()


async def main(options: argparse.Namespace) -> int:
    """Run, report; answers the exit status."""
    try:
        suite = Suite(TREE / "complement" / "go.mod", WORK / "suite")
        packages = _choose(suite.packages(), options.packages)
        listed = set() if options.run else suite.list_tests(packages)
    except NoSuite as error:
        say(f"Complement did not run. {error}")
        return 0 if options.if_possible else UNAVAILABLE
    folder = Path(tempfile.mkdtemp(prefix="complement-"))
    try:
        begin = time.monotonic()
        run, verdict = await _run(suite, packages, listed, options, folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return _report(run, verdict, listed, options, time.monotonic() - begin)


async def _run(
    suite: Suite, packages: list[str], listed: set[str], options: argparse.Namespace, folder: Path
) -> tuple[results.Run, results.Verdict]:
    kinds = {kind for kind in (options.server, options.hs1, options.hs2) if kind}
    databases = Databases(folder / "postgresql") if "ranvier-postgres" in kinds else None
    if databases is not None:
        databases.start()
    isolation = name_isolation()
    if isolation is None:
        say(
            "Containers can't have names of their own here (unshare --mount is refused): servers won't find each other."
        )
    containers = Containers(folder / "containers", Addresses(), isolation or ())
    engine = Engine(containers, Images(folder / "images", _bases(kinds, databases)))
    (folder / "images").mkdir()
    listening = await serve(engine, folder / "engine.sock")
    environment = {
        "DOCKER_HOST": f"unix://{folder / 'engine.sock'}",
        "COMPLEMENT_BASE_IMAGE": options.server,
        "COMPLEMENT_ENABLE_DIRTY_RUNS": "0" if options.clean else "1",
    }
    environment |= {
        f"COMPLEMENT_BASE_IMAGE_{hs}": kind for hs in ("hs1", "hs2") if (kind := getattr(options, hs))
    }
    known = results.load(LIST) if _counts(options) else {}
    log = _log(options)
    log.unlink(missing_ok=True)
    try:
        run = await suite.run(
            packages, environment, only=options.run, minutes=options.minutes, log=log, told=_tell
        )
        verdict = results.compare(known, run.results, listed)
        for _ in range(options.retries if known else 0):
            again = sorted({name.split("/")[0] for name in (*verdict.worse, *verdict.missing)})
            if not again:
                break
            say(f"Once more: {', '.join(again)}")
            only = f"^({'|'.join(again)})$"
            run.take_over(
                await suite.run(
                    packages, environment, only=only, minutes=options.minutes, log=log, told=_tell
                )
            )
            verdict = results.compare(known, run.results, listed)
    finally:
        await containers.remove_all()
        await listening.cleanup()
        if databases is not None:
            databases.stop()
    return run, verdict


def _bases(kinds: set[str], databases: Databases | None) -> dict[str, LocalServer]:
    bases = {"ranvier": LocalServer("complement.servers.ranvier")}
    if databases is not None:
        bases["ranvier-postgres"] = LocalServer("complement.servers.ranvier", databases)
    if "synapse" in kinds:
        bases["synapse"] = LocalServer("complement.servers.synapse", SYNAPSE_PYTHON=str(_synapse_python()))
    return bases


def _synapse_python() -> Path:
    """The interpreter of an environment that has Synapse; it is made when it is missing."""
    python = TREE / ".cache" / "synapse" / "bin" / "python"
    if (
        not python.exists()
        or subprocess.run([python, "-c", "import synapse"], capture_output=True, check=False).returncode  # noqa: S603
    ):
        say("Installing Synapse into .cache/synapse ...")
        subprocess.run([sys.executable, "-m", "venv", str(python.parent.parent)], check=True)  # noqa: S603
        subprocess.run([python, "-m", "pip", "install", "--quiet", _SYNAPSE], check=True)  # noqa: S603
    return python


def _choose(packages: list[str], wanted: list[str]) -> list[str]:
    if not wanted:
        return packages
    full = [f"{MODULE}/tests" if name == "." else f"{MODULE}/tests/{name}" for name in wanted]
    unknown = sorted(set(full) - set(packages))
    if unknown:
        raise SystemExit(f"No such package of tests: {', '.join(unknown)}")
    return full


def _counts(options: argparse.Namespace) -> bool:
    """Whether the list is about such a run: this server everywhere, with either database."""
    return options.server != "synapse" and options.hs1 is None and options.hs2 is None


def _log(options: argparse.Namespace) -> Path:
    """Where all output goes; the next run of the same servers begins it anew."""
    kinds = [kind for kind in (options.server, options.hs1, options.hs2) if kind]
    return WORK / f"{'-'.join(kinds)}.log"


def _tell(test: str, run: results.Run) -> None:
    say(f"{run.results[test]:5} {test}")


def _report(
    run: results.Run, verdict: results.Verdict, listed: set[str], options: argparse.Namespace, seconds: float
) -> int:
    by_package: dict[str, dict[str, int]] = {}
    for name, outcome in run.results.items():
        counts = by_package.setdefault(
            run.home[name].removeprefix(f"{MODULE}/"), {"pass": 0, "fail": 0, "skip": 0}
        )
        counts[outcome] += 1
    for package, counts in sorted(by_package.items()):
        say(f"{package:16} {counts['pass']:4} pass {counts['fail']:4} fail {counts['skip']:4} skip")
    if options.output:
        found = {
            name: {"result": outcome, "fault": run.first_fault(name)}
            for name, outcome in sorted(run.results.items())
        }
        options.output.write_text(json.dumps(found, indent=1))
    broken = [
        name
        for name in sorted(run.packages)
        if run.packages[name] == "fail" and name not in run.home.values()
    ]
    for package in broken:
        say(f"{package} did not run:\n{''.join(run.output.get(package, []))[-2000:]}")
    for line in run.stray[-20:]:
        say(line.rstrip())
    say(
        f"{seconds / 60:.1f} minutes; everything that was printed is in {(WORK / 'last.log').relative_to(TREE)}"
    )
    if not _counts(options):
        return 1 if broken or not run.results else 0
    if options.write:
        kept = results.update(
            results.load(LIST), run.results, listed or {name.split("/")[0] for name in run.results}
        )
        results.save(LIST, kept)
        table.write(PAGE, kept)
        verdict = results.compare(kept, run.results, listed)
    _explain(run, verdict)
    counts = {
        outcome: sum(value == outcome for value in run.results.values())
        for outcome in ("pass", "fail", "skip")
    }
    good = verdict.good and not broken and bool(run.results)
    say(
        f"As the list says, or better: {counts['pass']} of {len(run.results)} tests pass."
        if good
        else "Not as the list says."
    )
    return 0 if good else 1


def _explain(run: results.Run, verdict: results.Verdict) -> None:
    for name in verdict.better:
        say(f"passes now (write it down with --write): {name}")
    for name in verdict.worse:
        say(f"passed before: {name}  {run.first_fault(name)}")
    for name in verdict.unlisted:
        say(f"is not in complement/results.json: {name}")
    for name in verdict.missing:
        say(f"did not run: {name}")
    for name in verdict.unexplained:
        say(f"complement/results.json says no reason why it does not pass, or one for a pass: {name}")


def say(text: str) -> None:
    """Print a line at once."""
    print(text, flush=True)  # noqa: T201 - a program's output


async def _until_told(options: argparse.Namespace) -> int:
    """Run as a task, so that a signal ends it with everything that it started."""
    task = asyncio.current_task()
    assert task is not None
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    try:
        return await main(options)
    except asyncio.CancelledError:
        return 128 + signal.SIGTERM


if __name__ == "__main__":
    os.environ.setdefault("PYTHONDONTWRITEBYTECODE", "1")
    sys.exit(asyncio.run(_until_told(parse_arguments())))
