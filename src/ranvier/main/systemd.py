"""The word to systemd (sd_notify(3)), and to all who ask for it in the same way."""

import contextlib
import os
import socket
import time
from typing import Final

VARIABLE: Final = "NOTIFY_SOCKET"
READY: Final = "READY=1"
STOPPING: Final = "STOPPING=1"


def is_listening() -> bool:
    """Whether somebody wants to know."""
    return bool(os.environ.get(VARIABLE))


def tell_systemd(message: str) -> None:
    """Say it on the socket that systemd named, if it did."""
    where = os.environ.get(VARIABLE)
    if not where:
        return
    path = "\0" + where[1:] if where.startswith("@") else where
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as opened:
        opened.sendto(message.encode(), path)


def reloading() -> str:
    """The message that a reload has begun; `READY` ends it."""
    return f"RELOADING=1\nMONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}"
