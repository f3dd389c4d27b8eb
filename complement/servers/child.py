"""The server's own process, below the container's first one."""

import asyncio
import contextlib
import os
import signal
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

_LOOK_SECONDS = 1.0


async def run_child(
    command: Sequence[str], folder: Path, environment: Mapping[str, str] | None = None
) -> int:
    """Run a command until it ends, pass SIGTERM on to it, and answer its exit status.

    It is asked to end, too, when the process that started this one has died: no container outlives its engine.
    """
    process = await asyncio.create_subprocess_exec(
        *command, cwd=folder, env={**os.environ, **(environment or {})}
    )

    def end() -> None:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()

    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, end)
    watch = asyncio.create_task(_watch_parent(end))
    try:
        return await process.wait()
    finally:
        watch.cancel()


async def _watch_parent(end: Callable[[], None]) -> None:
    parent = os.getppid()
    while os.getppid() == parent:  # noqa: ASYNC110 - the system has no event for this
        await asyncio.sleep(_LOOK_SECONDS)
    end()
