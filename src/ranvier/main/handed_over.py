"""What a supervisor hands to a process that it starts: its number, the sockets to listen on, and two pipes.

Sockets are inherited, so the address stays open while processes come and go, and whichever process is free takes the
next connection. On one pipe the process says that it is ready, and then that its event loop still turns; on the other
nothing is ever said: its end tells that the supervisor is gone.
"""

import asyncio
import contextlib
import json
import os
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Self

VARIABLE: Final = "RANVIER_HANDED_OVER"
"""Environment variable of a supervised process: the fields of `HandedOver` as JSON."""
BEAT_S: Final = 1.0
BEAT: Final = b".\n"


@dataclass(frozen=True, slots=True)
class HandedOver:
    """File descriptors of the process. `sockets` has a list for each listener, one socket for each of its addresses.

    `number` counts the equal processes from 1.
    """

    number: int
    sockets: Sequence[Sequence[int]]
    report: int
    lifeline: int

    @classmethod
    def take(cls) -> Self | None:
        """What this process was given, if a supervisor started it; nothing that it starts itself inherits that."""
        text = os.environ.pop(VARIABLE, None)
        if text is None:
            return None
        taken = cls(**json.loads(text))
        for descriptor in taken.descriptors:
            os.set_inheritable(descriptor, False)
        os.set_blocking(taken.report, False)
        return taken

    def text(self) -> str:
        """For the environment variable."""
        return json.dumps(
            {
                "number": self.number,
                "sockets": [list(of_one) for of_one in self.sockets],
                "report": self.report,
                "lifeline": self.lifeline,
            }
        )

    @property
    def descriptors(self) -> list[int]:
        """All of them: the process inherits these."""
        return [*(one for of_one in self.sockets for one in of_one), self.report, self.lifeline]

    def opened(self, listener: int) -> list[socket.socket]:
        """The sockets of a listener, by its place in the configuration."""
        return [socket.socket(fileno=descriptor) for descriptor in self.sockets[listener]]

    def say_ready(self, where: Sequence[str]) -> None:
        """It answers, at these addresses."""
        self._say(json.dumps({"listening": list(where)}).encode() + b"\n")

    def beat(self) -> None:
        """Say from now on, each second, that the loop turns."""
        self._say(BEAT)
        asyncio.get_running_loop().call_later(BEAT_S, self.beat)

    def when_left(self, call: Callable[[], None]) -> None:
        """Call this when the supervisor is gone."""
        loop = asyncio.get_running_loop()

        def left() -> None:
            loop.remove_reader(self.lifeline)
            call()

        loop.add_reader(self.lifeline, left)

    def _say(self, line: bytes) -> None:
        # A supervisor that does not read, or is gone, must not stop the process.
        with contextlib.suppress(OSError):
            os.write(self.report, line)
