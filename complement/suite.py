"""The suite: a pinned Go module, which Go's own client fetches, checks and builds."""

import asyncio
import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from complement.results import Run

MODULE = "github.com/matrix-org/complement"
_GO_VERSION = (1, 25)
_TEST = re.compile(r"^func (Test(?!Main\b)\w+)\(", re.MULTILINE)
_GO_FOLDERS = ("/usr/local/go/bin", "/usr/lib/go/bin")


class NoSuite(Exception):
    """The suite can't be had on this machine; the sentence says what is missing."""


class Suite:
    """Runs Go in a folder that has the module's pin; Go's own files (go.sum) stay there."""

    def __init__(self, pin: Path, folder: Path) -> None:
        self._folder = folder
        self._go = _find_go()
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "go.mod").write_text(pin.read_text())
        # Go may complete the pin with what the module itself requires; flags that somebody has set come first.
        self._environment = {"GOFLAGS": "-mod=mod", "GOTOOLCHAIN": "local", **os.environ}

    def packages(self) -> list[str]:
        """All packages of tests. Raises NoSuite when Go can't get the module."""
        done = self._ask("list", f"{MODULE}/tests/...")
        found = done.stdout.split()
        if done.returncode or not found:
            raise NoSuite(f"Go's client can't get {MODULE}: {done.stderr.strip()[-600:]}")
        return found

    def list_tests(self, packages: Sequence[str]) -> set[str]:
        """The top-level tests of these packages, read from their files: the programs would look for Docker first."""
        done = self._ask("list", "-json=Dir,TestGoFiles,XTestGoFiles", *packages)
        found: set[str] = set()
        for package in _split_json(done.stdout):
            for name in (*package.get("TestGoFiles", []), *package.get("XTestGoFiles", [])):
                found.update(_TEST.findall(Path(package["Dir"], name).read_text()))
        return found

    async def run(
        self,
        packages: Sequence[str],
        environment: Mapping[str, str],
        *,
        tags: Sequence[str] = (),
        only: str | None,
        minutes: int,
        log: Path,
        told: Callable[[str, Run], None],
    ) -> Run:
        """Run tests (`only`: a regular expression on their names); `told` hears of each top-level test that ends."""
        run = Run()
        arguments = ["test", "-json", "-count=1", "-p=2", f"-timeout={minutes}m"]
        process = await asyncio.create_subprocess_exec(
            self._go,
            *arguments,
            *([f"-tags={','.join(tags)}"] if tags else []),
            *(["-run", only] if only else []),
            *packages,
            cwd=self._folder,
            env={**self._environment, **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            limit=64 * 1024 * 1024,
            start_new_session=True,
        )
        assert process.stdout is not None
        try:
            with log.open("ab") as kept:
                async for line in process.stdout:
                    kept.write(line)
                    ended = run.hear(line.decode("utf-8", "replace"))
                    if ended is not None:
                        told(ended, run)
            await process.wait()
        finally:
            if process.returncode is None:
                os.killpg(process.pid, 15)
                await process.wait()
        return run

    def _ask(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [self._go, *arguments]
        return subprocess.run(  # noqa: S603 - Go, by its path
            command, cwd=self._folder, env=self._environment, capture_output=True, text=True, check=False
        )


def _split_json(text: str) -> Iterator[dict[str, Any]]:
    """The values of a text that has several in a row."""
    decoder, at = json.JSONDecoder(), 0
    while text[at:].strip():
        at += len(text[at:]) - len(text[at:].lstrip())
        value, at = decoder.raw_decode(text, at)
        yield value


def _find_go() -> str:
    path = os.pathsep.join([os.environ.get("PATH", ""), *_GO_FOLDERS])
    go = shutil.which("go", path=path)
    wanted = ".".join(map(str, _GO_VERSION))
    if go is None:
        raise NoSuite(
            f"There is no Go on this machine; Complement needs Go {wanted} or newer (https://go.dev/dl/)."
        )
    said = subprocess.run([go, "version"], capture_output=True, text=True, check=False).stdout  # noqa: S603
    found = re.search(r"go(\d+)\.(\d+)", said)
    if found is None or (int(found[1]), int(found[2])) < _GO_VERSION:
        raise NoSuite(f"Complement needs Go {wanted} or newer, and {go} is {said.strip()}.")
    return go
