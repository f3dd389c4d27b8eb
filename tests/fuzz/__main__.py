"""`scripts/fuzz`: runs each target in a process of its own, as a fuzzer ends its process."""

import argparse
import subprocess
import sys
from hashlib import sha1
from pathlib import Path
from types import FrameType
from typing import Any

from tests.fuzz.catalogue import BY_NAME, TARGETS
from tests.fuzz.target import Target

Way = tuple[str, int, int]

FOUND = Path(".cache/fuzz")
SOURCE = str(Path(__file__).parents[2] / "src" / "ranvier")
KEPT_BYTES = 2048
"""Longer inputs are not kept: what they reach, a shorter one mostly reaches too."""
KEPT = 60
"""Inputs that are kept of one target at most."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="scripts/fuzz")
    parser.add_argument("target", nargs="*", choices=[*BY_NAME, []], metavar="TARGET")
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--keep", action="store_true")
    wanted = parser.parse_args()
    targets = [BY_NAME[name] for name in wanted.target] or list(TARGETS)
    if wanted.list:
        for target in targets:
            print(f"{target.name}: {target.holds}")
        return 0
    if wanted.keep:
        for target in targets:
            keep(target)
        return 0
    return max(fuzz(target, wanted.seconds) for target in targets)


def fuzz(target: Target, seconds: int) -> int:
    print(f"== {target.name}: {target.holds}", flush=True)
    command = [sys.executable, "-m", "tests.fuzz.run", target.name, str(seconds), str(FOUND / target.name)]
    return subprocess.run(command, check=False).returncode


def keep(target: Target) -> None:
    """Of what was found, the smallest inputs that go ways through the code which no kept one goes."""
    kept = sorted(target.corpus.iterdir())
    gone = set().union(*(ways(target, path.read_bytes()) for path in kept))
    folder = FOUND / target.name
    found = [path.read_bytes() for path in folder.iterdir()] if folder.is_dir() else []
    added = 0
    for data in sorted(
        (data for data in found if len(data) <= KEPT_BYTES), key=lambda data: (len(data), data)
    ):
        new = ways(target, data) - gone
        if new and len(kept) + added < KEPT:
            gone |= new
            added += 1
            (target.corpus / sha1(data, usedforsecurity=False).hexdigest()[:12]).write_bytes(data)
    print(f"{target.name}: {len(kept)} kept, {added} added", flush=True)


def ways(target: Target, data: bytes) -> set[Way]:
    """Each step from one line of the program to the next that the input takes."""
    taken: set[Way] = set()

    def trace(frame: FrameType, event: str, _: object) -> Any:
        path = frame.f_code.co_filename
        if not path.startswith(SOURCE):
            return None
        last = frame.f_lineno

        def step(frame: FrameType, event: str, _: object) -> Any:
            nonlocal last
            taken.add((path, last, frame.f_lineno))
            last = frame.f_lineno
            return step

        return step

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        target.run(data)
    finally:
        sys.settrace(before)
    return taken


if __name__ == "__main__":
    sys.exit(main())
