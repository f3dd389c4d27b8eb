"""The engine with the kinds of server that a run needs, for as long as the run lasts."""

import contextlib
import subprocess
import sys
from collections.abc import AsyncIterator, Collection
from pathlib import Path

from complement.databases import Databases
from complement.engine.addresses import Addresses
from complement.engine.api import Engine, serve
from complement.engine.containers import Containers, name_isolation
from complement.engine.images import Images
from complement.servers.local import TREE, LocalServer
from complement.suite import NoSuite

SERVERS = ("ranvier", "ranvier-postgres", "synapse")
_SYNAPSE = "matrix-synapse[url-preview]~=1.163.0"
_INSTALL = ("-m", "pip", "install", "--quiet", "--disable-pip-version-check")


@contextlib.asynccontextmanager
async def run_engine(folder: Path, kinds: Collection[str]) -> AsyncIterator[str]:
    """An engine with these base images; gives its URL, and ends every process that it started.

    Raises NoSuite when Synapse is wanted and can't be installed.
    """
    async with contextlib.AsyncExitStack() as stack:
        databases = None
        if "ranvier-postgres" in kinds:
            databases = Databases(folder / "postgresql")
            stack.callback(databases.stop)
            databases.start()
        images = Images(folder / "images", {kind: _make_base(kind, databases) for kind in kinds})
        containers = Containers(folder / "containers", Addresses(), name_isolation() or ())
        socket = folder / "engine.sock"
        listening = await serve(Engine(containers, images), socket)
        stack.push_async_callback(listening.cleanup)
        stack.push_async_callback(containers.remove_all)
        yield f"unix://{socket}"


def _make_base(kind: str, databases: Databases | None) -> LocalServer:
    if kind == "synapse":
        return LocalServer("complement.servers.synapse", SYNAPSE_PYTHON=str(_find_synapse()))
    return LocalServer("complement.servers.ranvier", databases if kind == "ranvier-postgres" else None)


def _find_synapse() -> Path:
    """The interpreter of the environment that has Synapse, which is made when it is missing."""
    python = TREE / ".cache" / "synapse" / "bin" / "python"
    if not python.exists() or _call(python, "-c", "import synapse, bs4, lxml"):
        # The environment may be there without what URL previews need.
        made = 0 if python.exists() else _call(sys.executable, "-m", "venv", python.parent.parent)
        if made or _call(python, *_INSTALL, _SYNAPSE):
            raise NoSuite(f"{_SYNAPSE} can't be installed into {python.parent.parent.relative_to(TREE)}.")
    return python


def _call(*command: str | Path) -> int:
    """Run a command without its words; answers its status."""
    return subprocess.run(command, stderr=subprocess.DEVNULL, check=False).returncode  # noqa: S603 - our own words
