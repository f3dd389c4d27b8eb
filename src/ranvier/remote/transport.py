"""The seam between what is asked of another server and how it gets there: the network, or another server in a test."""

from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager
from typing import NamedTuple, Protocol


class Call(NamedTuple):
    """A request to a server by its name; `target` is path and query as they are sent, percent-encoded."""

    destination: str
    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes | None


class Opened(NamedTuple):
    """An answer whose head came; header names are in lower case, `pieces` brings the body, decompressed."""

    status: int
    headers: Mapping[str, str]
    pieces: AsyncIterator[bytes]


class Transport(Protocol):
    """Brings calls to servers."""

    def open(self, call: Call, timeout_s: float) -> AbstractAsyncContextManager[Opened]:
        """Send the call; within the context the answer's body may be read, all in `timeout_s` seconds.

        Raises RemoteFailure, from the iteration too, if no answer or no whole answer comes.
        """
        ...


class Downloading(Protocol):
    """Downloads from addresses that other servers name."""

    def open(self, url: str, timeout_s: float) -> AbstractAsyncContextManager[Opened]:
        """The answer (status 200) behind a URL; whoever reads bounds what is read. Raises RemoteFailure."""
        ...
