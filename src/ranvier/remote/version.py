"""Name and version of another server's program (`version.yaml`)."""

from typing import NamedTuple

from ranvier.remote.client import FederationClient
from ranvier.remote.shapes import Shape

_MAX_ANSWER = 64 * 1024


class Program(NamedTuple):
    """What a server runs on, by its own words; empty where it says nothing."""

    name: str
    version: str


async def get_version(client: FederationClient, destination: str) -> Program:
    """What the destination runs on. Raises RemoteFailure."""
    path = "/_matrix/federation/v1/version"
    answer = await client.request(destination, "GET", path, sign=False, max_bytes=_MAX_ANSWER, urgent=True)
    server = Shape(destination, Shape(destination, answer).object("server", {}))
    return Program(server.text("name", ""), server.text("version", ""))
