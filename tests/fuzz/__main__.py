"""`scripts/fuzz`: runs each target in a process of its own, as a fuzzer ends its process."""

import argparse
import subprocess
import sys
from pathlib import Path

from tests.fuzz.catalogue import BY_NAME, TARGETS
from tests.fuzz.target import Target

FOUND = Path(".cache/fuzz")
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
    """The smallest found inputs that libFuzzer's merge says reach something that the kept ones do not."""
    folder = FOUND / target.name
    short = FOUND / f"{target.name}.short"
    short.mkdir(parents=True, exist_ok=True)
    for path in folder.iterdir() if folder.is_dir() else ():
        if path.stat().st_size <= KEPT_BYTES:
            (short / path.name).write_bytes(path.read_bytes())
    command = [sys.executable, "-m", "tests.fuzz.run", target.name, "merge", str(short)]
    before = set(target.corpus.iterdir())
    subprocess.run(command, check=False, stderr=subprocess.DEVNULL)
    added = sorted(set(target.corpus.iterdir()) - before, key=lambda path: path.stat().st_size)
    for path in added[max(0, KEPT - len(before)) :]:
        path.unlink()
    print(f"{target.name}: {len(before)} kept, {min(len(added), max(0, KEPT - len(before)))} added")


if __name__ == "__main__":
    sys.exit(main())
