"""A warning where nobody sends to other servers, and something waits for them."""

import asyncio
import contextlib
import logging
from collections.abc import Callable
from typing import Final

from ranvier.store import log
from ranvier.store import sending as store
from ranvier.store.database import Database

_PATIENCE_S: Final = 60.0
_AGAIN_S: Final = 3_600.0

_log = logging.getLogger("ranvier.federation")


class SendersMissed:
    """Looks now and then whether any process sends; `is_sent` says whether one does. For those that do not."""

    def __init__(
        self, database: Database, is_sent: Callable[[], bool], patience_s: float = _PATIENCE_S
    ) -> None:
        self._database = database
        self._is_sent = is_sent
        self._patience_s = patience_s
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Look from now on."""
        self._task = asyncio.create_task(self._run(), name="senders")

    async def stop(self) -> None:
        """Look no more."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    async def _run(self) -> None:
        pause = self._patience_s
        while True:
            await asyncio.sleep(pause)
            pause = self._patience_s
            with contextlib.suppress(Exception):
                if not self._is_sent() and (waiting := await self._waiting()):
                    _log.warning(
                        "nobody sends to other servers: what is for them waits in the database. Start a process "
                        "with the role 'sending' (in Synapse's form: a federation_sender)",
                        extra={"entries_of_the_log": waiting},
                    )
                    pause = _AGAIN_S

    async def _waiting(self) -> int:
        """Entries of the log that nobody looked at for other servers."""
        positions = await store.read_positions(self._database)
        return await log.read_tip(self._database) - min(positions.values(), default=0)
