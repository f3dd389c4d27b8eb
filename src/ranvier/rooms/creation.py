"""Making rooms: createRoom with its presets and options, as one append.

Source: Client-Server API, "Creation", POST /createRoom.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from secrets import token_urlsafe
from typing import Any

from ranvier.protocol.refusal import Refusal, bad_json, invalid_param
from ranvier.protocol.room_versions import ROOM_VERSIONS, RoomVersion
from ranvier.rooms.appending import Appending, Draft, Proposal
from ranvier.rooms.heads import Room
from ranvier.store import rooms as store
from ranvier.store.database import Transaction
from ranvier.store.numbers import Numbers, NumbersExhausted

PRESETS = {
    "private_chat": ("invite", "shared", "can_join"),
    "trusted_private_chat": ("invite", "shared", "can_join"),
    "public_chat": ("public", "shared", "forbidden"),
}
"""Join rule, history visibility and guest access of each preset."""

MAX_INVITES = 100
MAX_INITIAL_STATE = 200


@dataclass(frozen=True, slots=True)
class RoomRequest:
    """What somebody wants a new room to be; the names are those of the request's body."""

    creator: str
    version: str
    preset: str
    alias: str | None = None
    name: str | None = None
    topic: str | None = None
    invite: Sequence[str] = ()
    is_direct: bool = False
    creation_content: dict[str, Any] = field(default_factory=dict)
    initial_state: Sequence[dict[str, Any]] = ()
    power_level_content_override: dict[str, Any] = field(default_factory=dict)


Profile = Callable[[str], Awaitable[dict[str, Any]]]
"""The display name and avatar of a local user, as the content of their membership has them."""


class Creation:
    """Makes rooms."""

    def __init__(
        self,
        server_name: str,
        appending: Appending,
        room_numbers: Numbers,
        profile: Profile,
        room_limit: int = 255,
    ) -> None:
        self._server_name = server_name
        self._appending = appending
        self._numbers = room_numbers
        self._profile = profile
        self._longest_name = room_limit

    async def create(
        self, request: RoomRequest, also: Callable[[Transaction, Room], Awaitable[None]] | None = None
    ) -> Room:
        """Make the room; answers it once everything about it is durable.

        `also` writes more in the same transaction.
        """
        version = ROOM_VERSIONS.get(request.version)
        if version is None:
            raise Refusal(
                "M_UNSUPPORTED_ROOM_VERSION",
                f"This server does not know the room version '{request.version}'.",
            )
        if len(request.invite) > MAX_INVITES:
            raise invalid_param(f"At most {MAX_INVITES} users can be invited while making a room.")
        drafts = await self._drafts(request, version)

        async def write_alias(transaction: Transaction, room: Room) -> None:
            if request.alias is not None and not await store.insert_alias(
                transaction, request.alias, room.room_id, request.creator
            ):
                raise Refusal("M_ROOM_IN_USE", f"The alias {request.alias} is taken.")
            if also is not None:
                await also(transaction, room)

        for _ in range(3):
            try:
                number = self._numbers.take()
            except NumbersExhausted:
                await self._numbers.start()
                continue
            room_id = (
                "" if version.room_id_is_create_event_id else f"!{token_urlsafe(14)}:{self._server_name}"
            )
            room = Room(number, room_id, version)
            await self._appending.append(Proposal(room, drafts, also=write_alias, creates=True))
            return room
        raise Refusal("M_UNKNOWN", "No number for a new room could be had; please try again.", status=503)

    async def _drafts(self, request: RoomRequest, version: RoomVersion) -> list[Draft]:
        creator = request.creator
        drafts = [
            Draft(creator, "m.room.create", _create_content(request, version), ""),
            Draft(creator, "m.room.member", {"membership": "join", **await self._profile(creator)}, creator),
            Draft(creator, "m.room.power_levels", power_levels(request, version), ""),
        ]
        drafts += [
            Draft(creator, kind, content, key) for (kind, key), content in self._state(request).items()
        ]
        for invitee in dict.fromkeys(request.invite):
            content = {"membership": "invite", **await self._profile(invitee)}
            if request.is_direct:
                content["is_direct"] = True
            drafts.append(Draft(creator, "m.room.member", content, invitee))
        return drafts

    def _state(self, request: RoomRequest) -> dict[tuple[str, str], dict[str, Any]]:
        """The state that follows the power levels, in the order that the specification gives.

        Initial state takes the place of what the preset says, name and topic that of initial state.
        """
        join_rule, visibility, guests = PRESETS[request.preset]
        state: dict[tuple[str, str], dict[str, Any]] = {}
        if request.alias is not None:
            state["m.room.canonical_alias", ""] = {"alias": request.alias}
        state["m.room.join_rules", ""] = {"join_rule": join_rule}
        state["m.room.history_visibility", ""] = {"history_visibility": visibility}
        if guests != "forbidden":
            state["m.room.guest_access", ""] = {"guest_access": guests}
        for given in request.initial_state:
            kind, key, content = _initial(given)
            state[kind, key] = content
        if request.name is not None:
            state["m.room.name", ""] = {"name": request.name}
        if request.topic is not None:
            state["m.room.topic", ""] = {
                "topic": request.topic,
                "m.topic": {"m.text": [{"body": request.topic}]},
            }
        return state


def _initial(given: Any) -> tuple[str, str, dict[str, Any]]:
    if not isinstance(given, dict):
        raise bad_json("Each entry of 'initial_state' must be an object.")
    kind, key, content = given.get("type"), given.get("state_key", ""), given.get("content")
    if not isinstance(kind, str) or not isinstance(key, str) or not isinstance(content, dict):
        raise bad_json("Each entry of 'initial_state' needs 'type', 'content' and, if need be, 'state_key'.")
    if kind in ("m.room.create", "m.room.member", "m.room.power_levels"):
        raise invalid_param(f"'initial_state' can't hold '{kind}'.")
    return kind, key, content


def _create_content(request: RoomRequest, version: RoomVersion) -> dict[str, Any]:
    content = dict(request.creation_content)
    if version.create_names_creator:
        content["creator"] = request.creator
    else:
        content.pop("creator", None)
    content["room_version"] = version.identifier
    if version.creators_have_infinite_power:
        creators = content.get("additional_creators", [])
        if not isinstance(creators, list) or not all(isinstance(user, str) for user in creators):
            raise invalid_param("'additional_creators' must be a list of user ids.")
        if request.preset == "trusted_private_chat":
            creators = list(dict.fromkeys([*creators, *(u for u in request.invite if u != request.creator)]))
        if creators:
            content["additional_creators"] = creators
    return content


def power_levels(request: RoomRequest, version: RoomVersion) -> dict[str, Any]:
    """The room's first power levels: the preset's, with the request's override on top."""
    users: dict[str, int] = {}
    if not version.creators_have_infinite_power:
        users[request.creator] = 100
        if request.preset == "trusted_private_chat":
            users.update(dict.fromkeys(request.invite, 100))
    levels: dict[str, Any] = {
        "users": users,
        "users_default": 0,
        "events": {
            "m.room.name": 50,
            "m.room.power_levels": 100,
            "m.room.history_visibility": 100,
            "m.room.canonical_alias": 50,
            "m.room.avatar": 50,
            "m.room.tombstone": 150 if version.creators_have_infinite_power else 100,
            "m.room.server_acl": 100,
            "m.room.encryption": 100,
        },
        "events_default": 0,
        "state_default": 50,
        "ban": 50,
        "kick": 50,
        "redact": 50,
        "invite": 50 if request.preset == "public_chat" else 0,
        "historical": 100,
    }
    levels.update(request.power_level_content_override)
    return levels
