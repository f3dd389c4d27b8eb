"""Making rooms: createRoom with its presets and options, as one append.

Source: Client-Server API, "Creation", POST /createRoom.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from secrets import token_urlsafe
from typing import Any, Final, Literal

from ranvier.protocol.identifiers import BadIdentifier, check_room_alias, check_user_id, server_name_of
from ranvier.protocol.refusal import Refusal, bad_json, invalid_param
from ranvier.protocol.room_versions import ROOM_VERSIONS, RoomVersion
from ranvier.rooms.appending import Appending, Draft, Proposal
from ranvier.rooms.heads import MEMBER, Room
from ranvier.rooms.naming_rules import NamingRules
from ranvier.rooms.profiles import MemberProfiles
from ranvier.store import rooms as store
from ranvier.store.database import Transaction
from ranvier.store.numbers import Numbers, NumbersExhausted

PRESETS: Final = {
    "private_chat": ("invite", "shared", "can_join"),
    "trusted_private_chat": ("invite", "shared", "can_join"),
    "public_chat": ("public", "shared", "forbidden"),
}
"""Join rule, history visibility and guest access of each preset."""

TRUSTED: Final = "trusted_private_chat"
MAX_INVITES: Final = 100
MAX_INITIAL_STATE: Final = 200
ENCRYPTION: Final = ("m.room.encryption", "")
TOMBSTONE: Final = "m.room.tombstone"
_TOMBSTONE_LEVEL: Final = 150
"""Above `state_default` and administrators, where creators have power beyond all levels."""
_MEGOLM: Final = {"algorithm": "m.megolm.v1.aes-sha2"}
_SERVER_MADE: Final = frozenset({"m.room.create", MEMBER, "m.room.power_levels"})

Also = Callable[[Transaction, Room], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class RoomDefaults:
    """What rooms are unless their maker says otherwise: their version, and which are encrypted.

    `naming` tells who may give them aliases and publish them.
    """

    version: str
    encrypted: Literal["all", "invite", "off"] = "off"
    naming: NamingRules = field(default_factory=NamingRules)


@dataclass(frozen=True, slots=True)
class RoomRequest:
    """What somebody wants a new room to be; most names are those of the request's body."""

    creator: str
    version: str | None = None
    preset: str | None = None
    by_admin: bool = False
    is_public: bool = False
    alias_localpart: str | None = None
    name: str | None = None
    topic: str | None = None
    invite: Sequence[str] = ()
    is_direct: bool = False
    creation_content: dict[str, Any] = field(default_factory=dict)
    initial_state: Sequence[dict[str, Any]] = ()
    power_level_content_override: dict[str, Any] = field(default_factory=dict)

    def preset_name(self) -> str:
        """The preset that counts: without one, the directory's visibility decides."""
        return self.preset or ("public_chat" if self.is_public else "private_chat")


class Creation:
    """Makes rooms."""

    def __init__(
        self,
        server_name: str,
        appending: Appending,
        room_numbers: Numbers,
        profiles: MemberProfiles,
        defaults: RoomDefaults,
        now: Callable[[], int],
    ) -> None:
        self._server_name = server_name
        self._appending = appending
        self._numbers = room_numbers
        self._profiles = profiles
        self._defaults = defaults
        self._now = now

    async def create(self, request: RoomRequest, also: Also | None = None) -> Room:
        """Make the room; answers it once everything about it is durable.

        `also` writes more in the same transaction. Those on other servers who shall be invited are still to be.
        """
        version = self.version_named(request.version or self._defaults.version)
        alias = self._alias(request.alias_localpart)
        _check_invites(request)
        drafts = await self._drafts(request, version, alias)

        async def write(transaction: Transaction, room: Room) -> None:
            rules, creator = self._defaults.naming, request.creator
            if alias is not None:
                rules.check_alias(creator, room.room_id, alias)
                if not await store.insert_alias(transaction, alias, room.room_id, creator):
                    raise Refusal("M_ROOM_IN_USE", f"The alias {alias} is taken.")
            if request.is_public:
                aliases = [alias] if alias is not None else []
                rules.check_publication(creator, room.room_id, aliases, is_admin=request.by_admin)
                await store.publish(transaction, room.nid, self._now())
            if also is not None:
                await also(transaction, room)

        return await self.make(version, drafts, write)

    async def make(self, version: RoomVersion, drafts: Sequence[Draft], also: Also) -> Room:
        """A room of these events, the first of which creates it; `also` writes more in the same transaction."""
        for _ in range(3):
            try:
                number = self._numbers.take()
            except NumbersExhausted:
                await self._numbers.reserve()
                continue
            room_id = (
                "" if version.room_id_is_create_event_id else f"!{token_urlsafe(14)}:{self._server_name}"
            )
            room = Room(number, room_id, version)
            try:
                await self._appending.append(Proposal(room, drafts, also=also, creates=True))
            except Refusal as refusal:
                if refusal.errcode != "M_FORBIDDEN":
                    raise
                raise Refusal(
                    "M_INVALID_ROOM_STATE",
                    f"The room's own rules forbid what it shall begin with: {refusal.error}",
                ) from refusal
            return room
        raise Refusal("M_UNKNOWN", "No number for a new room could be had; please try again.", status=503)

    def version_named(self, identifier: str) -> RoomVersion:
        """The room version of that name; refuses those that this server does not know."""
        version = ROOM_VERSIONS.get(identifier)
        if version is None:
            raise Refusal(
                "M_UNSUPPORTED_ROOM_VERSION",
                f"This server does not know the room version '{identifier[:50]}'; it knows "
                f"{', '.join(ROOM_VERSIONS)}.",
            )
        return version

    def _alias(self, localpart: str | None) -> str | None:
        if localpart is None:
            return None
        alias = f"#{localpart}:{self._server_name}"
        if not localpart or ":" in localpart or any(character.isspace() for character in localpart):
            raise invalid_param("'room_alias_name' must be a local part, without spaces and colons.")
        try:
            check_room_alias(alias)
        except BadIdentifier as error:
            raise invalid_param(f"'room_alias_name' makes no room alias: {error}") from error
        return alias

    async def _drafts(self, request: RoomRequest, version: RoomVersion, alias: str | None) -> list[Draft]:
        creator = request.creator
        drafts = [
            Draft(creator, "m.room.create", create_content(request, version), ""),
            Draft(creator, MEMBER, {"membership": "join", **await self._profiles.of(creator)}, creator),
            Draft(creator, "m.room.power_levels", power_levels(request, version), ""),
        ]
        state = self._state(request, alias)
        drafts += [Draft(creator, kind, content, key) for (kind, key), content in state.items()]
        for invitee in dict.fromkeys(request.invite):
            if server_name_of(invitee) != self._server_name:
                # Their server has to sign the invite: that comes once there is a room.
                continue
            content = {"membership": "invite", **await self._profiles.of_invited(invitee, creator)}
            if request.is_direct:
                content["is_direct"] = True
            drafts.append(Draft(creator, MEMBER, content, invitee))
        return drafts

    def _state(self, request: RoomRequest, alias: str | None) -> dict[tuple[str, str], dict[str, Any]]:
        """The state that follows the power levels, in the order that the specification gives.

        Initial state takes the place of what the preset says, name and topic that of initial state.
        """
        preset = request.preset_name()
        join_rule, visibility, guests = PRESETS[preset]
        state: dict[tuple[str, str], dict[str, Any]] = {}
        if alias is not None:
            state["m.room.canonical_alias", ""] = {"alias": alias}
        state["m.room.join_rules", ""] = {"join_rule": join_rule}
        state["m.room.history_visibility", ""] = {"history_visibility": visibility}
        if guests != "forbidden":
            # Without the event guests are kept out just as well.
            state["m.room.guest_access", ""] = {"guest_access": guests}
        if len(request.initial_state) > MAX_INITIAL_STATE:
            raise invalid_param(f"'initial_state' can hold at most {MAX_INITIAL_STATE} events.")
        for given in request.initial_state:
            kind, key, content = _initial(given)
            state[kind, key] = content
        wanted = self._defaults.encrypted
        if wanted == "all" or (wanted == "invite" and preset != "public_chat"):
            state.setdefault(ENCRYPTION, dict(_MEGOLM))
        if request.name is not None:
            state["m.room.name", ""] = {"name": request.name}
        if request.topic is not None:
            state["m.room.topic", ""] = {
                "topic": request.topic,
                "m.topic": {"m.text": [{"body": request.topic}]},
            }
        return state


def _check_invites(request: RoomRequest) -> None:
    if len(request.invite) > MAX_INVITES:
        raise invalid_param(f"At most {MAX_INVITES} users can be invited while making a room.")
    for user_id in request.invite:
        check_user(user_id, "invite")
        if user_id == request.creator:
            raise invalid_param("Who makes a room is in it, and can't be invited.")


def check_user(user_id: object, key: str) -> None:
    """Refuse what is no user ID."""
    try:
        if not isinstance(user_id, str):
            raise BadIdentifier("It must be a string.")
        check_user_id(user_id)
    except BadIdentifier as error:
        raise invalid_param(f"'{key}' holds what is not a user ID: {error}") from error


def _initial(given: dict[str, Any]) -> tuple[str, str, dict[str, Any]]:
    kind, key, content = given.get("type"), given.get("state_key", ""), given.get("content")
    if not isinstance(kind, str) or not isinstance(key, str) or not isinstance(content, dict):
        raise bad_json("Each entry of 'initial_state' needs 'type', 'content' and, if need be, 'state_key'.")
    if kind in _SERVER_MADE:
        raise invalid_param(f"'initial_state' can't hold '{kind}': other parameters say what it is.")
    return kind, key, content


def create_content(request: RoomRequest, version: RoomVersion) -> dict[str, Any]:
    """The content of the create event."""
    content = dict(request.creation_content)
    content.pop("creator", None)
    if version.create_names_creator:
        content["creator"] = request.creator
    content["room_version"] = version.identifier
    if version.creators_have_infinite_power:
        creators = _additional_creators(request, content.pop("additional_creators", None))
        if creators:
            content["additional_creators"] = creators
    return content


def _additional_creators(request: RoomRequest, given: object) -> list[str]:
    if given is None:
        given = []
    if not isinstance(given, list):
        raise invalid_param("'additional_creators' must be a list of user IDs.")
    for user_id in given:
        check_user(user_id, "additional_creators")
    invited = request.invite if request.preset_name() == TRUSTED else ()
    return list(dict.fromkeys([*given, *invited]))


def power_levels(request: RoomRequest, version: RoomVersion) -> dict[str, Any]:
    """The room's first power levels: the preset's, with the request's override on top, key by key."""
    users: dict[str, int] = {}
    if not version.creators_have_infinite_power:
        users[request.creator] = 100
        if request.preset_name() == TRUSTED:
            users.update(dict.fromkeys(request.invite, 100))
    levels = {
        "users": users,
        "users_default": 0,
        "events": {
            "m.room.name": 50,
            "m.room.power_levels": 100,
            "m.room.history_visibility": 100,
            "m.room.canonical_alias": 50,
            "m.room.avatar": 50,
            TOMBSTONE: 100,
            "m.room.server_acl": 100,
            "m.room.encryption": 100,
        },
        "events_default": 0,
        "state_default": 50,
        "ban": 50,
        "kick": 50,
        "redact": 50,
        "invite": 50 if request.preset_name() == "public_chat" else 0,
        **request.power_level_content_override,
    }
    events = levels["events"]
    if version.creators_have_infinite_power and isinstance(events, dict):
        # Who overrides the levels of other events does not give away the power to end the room.
        override = request.power_level_content_override.get("events")
        given = override.get(TOMBSTONE) if isinstance(override, dict) else None
        levels["events"] = {**events, TOMBSTONE: _TOMBSTONE_LEVEL if given is None else given}
    return levels
