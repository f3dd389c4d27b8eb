"""Events that another server proposes for this one to complete and sign: joins, knocks, leaves."""

from typing import Any, NamedTuple

from ranvier.protocol.room_versions import ROOM_VERSIONS
from ranvier.remote.shapes import Shape

_ABSENT_VERSION = "1"
"""What the specification says that a template without `room_version` means."""


class Template(NamedTuple):
    """A proposed event, whose values come from the peer and are still to be checked, and the room's version."""

    event: dict[str, Any]
    room_version: str


def read_template(destination: str, answer: dict[str, Any]) -> Template:
    """The template in an answer; its room version is one that this server knows. Raises RemoteFailure."""
    shape = Shape(destination, answer)
    version = shape.text("room_version", _ABSENT_VERSION)
    if version not in ROOM_VERSIONS:
        raise shape.bad(f"the room version {version[:32]!r} is unknown here.")
    return Template(shape.object("event"), version)


def version_query(versions: tuple[str, ...]) -> list[tuple[str, str]]:
    """The query that says which room versions this server knows."""
    return [("ver", version) for version in versions]
