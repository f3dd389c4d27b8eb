"""What clients ask of other servers beside the events of rooms: aliases, public rooms, summaries of rooms.

Answers that many ask for are kept for a while. A server that does not answer in time is passed over.
"""

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from ranvier.protocol.identifiers import is_valid_server_name, server_name_of
from ranvier.protocol.join_rules import MAX_ALLOWED_ROOMS
from ranvier.protocol.refusal import Refusal, not_found
from ranvier.protocol.space_hierarchy import MAX_CHILDREN, Child, read_child
from ranvier.remote.client import FederationClient
from ranvier.remote.failure import RemoteFailure
from ranvier.remote.public_rooms import PublicRooms, get_public_rooms, query_public_rooms
from ranvier.remote.query import AliasTarget, query_room_directory
from ranvier.remote.space_hierarchy import Hierarchy, get_space_hierarchy

MAX_SERVERS: Final = 3
"""Servers that are asked for one room, one after the other."""
_PATIENCE_SECONDS: Final = 10.0
_KEPT: Final = 1000
_KEPT_MS: Final = 5 * 60_000
_TEXTS: Final = (
    "name",
    "topic",
    "canonical_alias",
    "avatar_url",
    "join_rule",
    "room_type",
    "encryption",
    "room_version",
)

_log = logging.getLogger("ranvier.rooms")


@dataclass(frozen=True, slots=True)
class Described:
    """A room as another server describes it. `children` is None where that server did not tell them."""

    summary: Mapping[str, Any]
    children: tuple[Child, ...] | None

    @property
    def room_id(self) -> str:
        """The room's id."""
        room_id: str = self.summary["room_id"]
        return room_id


class Neighbourhood(NamedTuple):
    """A room, its children as far as the server may see them, and the ids of those that it may not see."""

    room: Described
    children: Mapping[str, Described]
    inaccessible: frozenset[str]


class Elsewhere:
    """Asks other servers."""

    def __init__(self, client: FederationClient, now: Callable[[], int]) -> None:
        self._client = client
        self._now = now
        self._hierarchies: OrderedDict[tuple[str, bool], tuple[int, Neighbourhood]] = OrderedDict()

    async def alias(self, alias: str) -> AliasTarget:
        """The room of another server's alias; M_NOT_FOUND if that knows none."""
        server = server_name_of(alias)
        try:
            async with asyncio.timeout(_PATIENCE_SECONDS):
                return await query_room_directory(self._client, server, alias)
        except RemoteFailure as failure:
            if failure.refused:
                raise not_found(f"There is no room with the alias {alias}.") from failure
            raise _unreachable(server) from failure
        except TimeoutError as error:
            raise _unreachable(server) from error

    async def public_rooms(self, server: str, body: Mapping[str, Any]) -> PublicRooms:
        """A page of another server's room directory; `body` is that of the request."""
        if not is_valid_server_name(server):
            raise Refusal("M_INVALID_PARAM", "'server' must be the name of a server, such as example.org.")
        client = self._client
        try:
            async with asyncio.timeout(_PATIENCE_SECONDS):
                if "filter" in body:
                    return await query_public_rooms(client, server, dict(body))
                return await get_public_rooms(
                    client,
                    server,
                    limit=body.get("limit"),
                    since=body.get("since"),
                    include_all_networks=body.get("include_all_networks", False),
                    third_party_instance_id=body.get("third_party_instance_id"),
                )
        except RemoteFailure as failure:
            if failure.refused:
                reason = f"{server} does not show its room directory: {failure.reason}"
                raise Refusal("M_UNKNOWN", reason, status=502) from failure
            raise _unreachable(server) from failure
        except TimeoutError as error:
            raise _unreachable(server) from error

    async def neighbourhood(
        self, room_id: str, servers: Iterable[str], *, suggested_only: bool = False
    ) -> Neighbourhood | None:
        """A room and its children as the first of some servers tells that answers; None if none does."""
        key = (room_id, suggested_only)
        kept = self._hierarchies.get(key)
        if kept is not None and kept[0] > self._now():
            return kept[1]
        others = [
            name
            for name in dict.fromkeys(servers)
            if name != self._client.server_name and is_valid_server_name(name)
        ]
        for server in others[:MAX_SERVERS]:
            found = await self._ask(server, room_id, suggested_only)
            if found is not None:
                self._keep(key, found)
                return found
        return None

    async def _ask(self, server: str, room_id: str, suggested_only: bool) -> Neighbourhood | None:
        try:
            async with asyncio.timeout(_PATIENCE_SECONDS):
                told = await get_space_hierarchy(self._client, server, room_id, suggested_only=suggested_only)
        except (RemoteFailure, TimeoutError) as failure:
            _log.info("no summary of a room", extra={"room": room_id, "server": server, "why": str(failure)})
            return None
        return _read(told)

    def _keep(self, key: tuple[str, bool], found: Neighbourhood) -> None:
        self._hierarchies[key] = (self._now() + _KEPT_MS, found)
        self._hierarchies.move_to_end(key)
        while len(self._hierarchies) > _KEPT:
            self._hierarchies.popitem(last=False)


def _unreachable(server: str) -> Refusal:
    return Refusal("M_UNKNOWN", f"{server} can't be reached: try again later.", status=502)


def _read(told: Hierarchy) -> Neighbourhood:
    children = [_describe(child) for child in told.children]
    return Neighbourhood(
        _describe(told.room),
        {child.room_id: child for child in children},
        frozenset(told.inaccessible_children),
    )


def described_room(told: Mapping[str, Any]) -> dict[str, Any]:
    """What a peer told of a room, in types that clients can rely on; nothing else that it wrote."""
    summary: dict[str, Any] = {
        "room_id": told["room_id"],
        "num_joined_members": max(0, told["num_joined_members"]),
        "world_readable": told.get("world_readable") is True,
        "guest_can_join": told.get("guest_can_join") is True,
    }
    return summary | {key: told[key] for key in _TEXTS if isinstance(told.get(key), str)}


def _describe(told: Mapping[str, Any]) -> Described:
    summary = described_room(told)
    allowed = told.get("allowed_room_ids")
    if isinstance(allowed, list):
        summary["allowed_room_ids"] = [room for room in allowed if isinstance(room, str)][:MAX_ALLOWED_ROOMS]
    state = told.get("children_state")
    return Described(summary, _children(state) if isinstance(state, list) else None)


def _children(state: Sequence[Any]) -> tuple[Child, ...]:
    found = (read_child(stripped) for stripped in state[: 2 * MAX_CHILDREN])
    return tuple(child for child in found if child is not None)
