"""Upgrading rooms: a new room of another version takes the old one's place.

Source: Client-Server API, "Room Upgrades"; power levels of creators: room version 12.
"""

import contextlib
from collections.abc import Callable, Sequence
from typing import Any, Final

from ranvier.protocol.join_rules import DEFAULT_JOIN_RULE, known_join_rules
from ranvier.protocol.power_levels import creators_of, read_level, read_levels
from ranvier.protocol.refusal import Refusal, forbidden
from ranvier.protocol.room_versions import RoomVersion
from ranvier.rooms.access import Accesses
from ranvier.rooms.aliases import CANONICAL, without_aliases
from ranvier.rooms.appending import Appending, Draft, Proposal
from ranvier.rooms.creation import TOMBSTONE, Creation, check_user
from ranvier.rooms.heads import MEMBER, Head, Room
from ranvier.rooms.powers import may_send_state, powers_of
from ranvier.rooms.profiles import MemberProfiles
from ranvier.store import rooms as store
from ranvier.store.database import Database, Transaction

POWER_LEVELS: Final = "m.room.power_levels"
JOIN_RULES: Final = "m.room.join_rules"
CARRIED: Final = (
    JOIN_RULES,
    "m.room.history_visibility",
    "m.room.guest_access",
    "m.room.encryption",
    "m.room.server_acl",
    "m.room.name",
    "m.room.avatar",
    "m.room.topic",
)
"""State that goes over to the new room, besides power levels and local aliases."""
_NOTICE: Final = "This room has been replaced"
_LEVEL_KEYS: Final = (
    "users_default",
    "events_default",
    "state_default",
    "ban",
    "kick",
    "redact",
    "invite",
    "historical",
)
_LEVEL_MAPS: Final = ("users", "events", "notifications")
_FULL_POWER: Final = 100
_TOMBSTONE_LEVEL: Final = 150
_QUIET: Final = 50


class Upgrading:
    """Upgrades rooms on their members' behalf."""

    def __init__(
        self,
        database: Database,
        accesses: Accesses,
        appending: Appending,
        creation: Creation,
        profiles: MemberProfiles,
        now: Callable[[], int],
    ) -> None:
        self._database = database
        self._accesses = accesses
        self._appending = appending
        self._creation = creation
        self._profiles = profiles
        self._now = now

    async def upgrade(
        self, user_id: str, room_id: str, new_version: str, additional_creators: Sequence[str] = ()
    ) -> str:
        """Make the new room, move what is local, and close the old one; answers the new room's id."""
        version = self._creation.version_named(new_version)
        for creator in additional_creators:
            check_user(creator, "additional_creators")
        access = await self._accesses.joined(user_id, room_id)
        old, head = access.room, access.head
        if not may_send_state(head, user_id, TOMBSTONE):
            raise forbidden("Upgrading a room takes the power to send 'm.room.tombstone'.")
        drafts = await self._drafts(user_id, old, head, version, list(additional_creators))

        async def move(transaction: Transaction, new: Room) -> None:
            await store.move_aliases(transaction, old.room_id, new.room_id)
            if await store.is_published(transaction, old.nid):
                await store.unpublish(transaction, old.nid)
                await store.publish(transaction, new.nid, self._now())

        new = await self._creation.make(version, drafts, move)
        await self._close(user_id, old, head, new.room_id)
        return new.room_id

    async def _drafts(
        self, user_id: str, old: Room, head: Head, version: RoomVersion, additional_creators: list[str]
    ) -> list[Draft]:
        creators = list(dict.fromkeys([user_id, *additional_creators]))
        levels = carried_power_levels(head, version, user_id, creators)
        carried = {kind: head.content(kind) for kind in CARRIED if head.get(kind) is not None}
        if JOIN_RULES in carried:
            carried[JOIN_RULES] = carried_join_rules(carried[JOIN_RULES], version)
        aliases = await self._local_aliases(old, head)
        if aliases:
            carried[CANONICAL] = aliases
        first = with_power_for(levels, version, user_id, carried)
        drafts = [
            Draft(user_id, "m.room.create", self._create_content(user_id, old, head, version, creators), ""),
            Draft(user_id, MEMBER, {"membership": "join", **await self._profiles.of(user_id)}, user_id),
            Draft(user_id, POWER_LEVELS, first, ""),
            *[Draft(user_id, kind, content, "") for kind, content in carried.items()],
        ]
        if first != levels:
            drafts.append(Draft(user_id, POWER_LEVELS, levels, ""))
        return drafts

    def _create_content(
        self, user_id: str, old: Room, head: Head, version: RoomVersion, creators: list[str]
    ) -> dict[str, Any]:
        was = head.content("m.room.create")
        content: dict[str, Any] = {key: was[key] for key in ("type", "m.federate") if key in was}
        content["room_version"] = version.identifier
        content["predecessor"] = {"room_id": old.room_id}
        if not version.room_id_is_create_event_id:
            newest = max(head.extremities, key=lambda kept: (kept.event.depth, kept.nid))
            content["predecessor"]["event_id"] = newest.event.event_id
        if version.create_names_creator:
            content["creator"] = user_id
        if version.creators_have_infinite_power and len(creators) > 1:
            content["additional_creators"] = [creator for creator in creators if creator != user_id]
        return content

    async def _local_aliases(self, old: Room, head: Head) -> dict[str, Any]:
        """The canonical aliases that go over: those of this server, which really point to the old room."""
        content = head.content(CANONICAL)
        local = set(await store.aliases_of(self._database, old.room_id))
        foreign = {alias for alias in _aliases_in(content) if alias not in local}
        kept = without_aliases(content, foreign)
        return {key: kept[key] for key in ("alias", "alt_aliases") if kept.get(key)}

    async def _close(self, user_id: str, old: Room, head: Head, new_room_id: str) -> None:
        """Point from the old room to the new one, and let nobody go on in the old one as far as the user can."""
        tombstone = Draft(user_id, TOMBSTONE, {"body": _NOTICE, "replacement_room": new_room_id}, "")
        await self._appending.append(Proposal(old, [tombstone]))
        rest = [Draft(user_id, POWER_LEVELS, quiet_power_levels(head), "", unless_same=True)]
        content = head.content(CANONICAL)
        gone = {
            alias for alias in _aliases_in(content) if await store.alias(self._database, alias) is not None
        }
        if gone:
            rest.append(Draft(user_id, CANONICAL, without_aliases(content, gone), "", unless_same=True))
        for draft in rest:
            # Without the power for it, the tombstone has to do.
            with contextlib.suppress(Refusal):
                await self._appending.append(Proposal(old, [draft]))


def _aliases_in(content: dict[str, Any]) -> list[str]:
    alternatives = content.get("alt_aliases")
    aliases = [content.get("alias"), *(alternatives if isinstance(alternatives, list) else ())]
    return [alias for alias in aliases if isinstance(alias, str) and "\0" not in alias]


def carried_join_rules(content: dict[str, Any], version: RoomVersion) -> dict[str, Any]:
    """The join rules as the new version can understand them: what it does not know becomes `invite`."""
    rule = content.get("join_rule")
    known = isinstance(rule, str) and rule in known_join_rules(version)
    return content if known else {"join_rule": DEFAULT_JOIN_RULE}


def carried_power_levels(
    head: Head, version: RoomVersion, user_id: str, creators: Sequence[str]
) -> dict[str, Any]:
    """The power levels for the new room, in the form that its version asks for."""
    create = head.get("m.room.create")
    assert create is not None
    old_version = create.event.room_version
    content: dict[str, Any] = {**head.content(POWER_LEVELS)}
    for key in _LEVEL_KEYS:
        if key in content:
            level = read_level(content[key], old_version)
            if level is None:
                del content[key]
            else:
                content[key] = level
    for key in _LEVEL_MAPS:
        if key in content:
            content[key] = read_levels(content[key], old_version)
    users: dict[str, int] = content.setdefault("users", {})
    events: dict[str, int] = content.setdefault("events", {})
    state_default = content.get("state_default", 50)
    if version.creators_have_infinite_power:
        for creator in creators:
            users.pop(creator, None)
        if events.get(TOMBSTONE, state_default) <= state_default:
            events[TOMBSTONE] = max(_TOMBSTONE_LEVEL, state_default + 1)
        return content
    # Creators whose power was beyond all levels need one here, as has whoever made a room without power levels.
    top = max([_FULL_POWER, *users.values(), *events.values(), state_default])
    lost = creators_of(create.event) if old_version.creators_have_infinite_power else frozenset[str]()
    if head.get(POWER_LEVELS) is None:
        lost |= {user_id}
    for creator in lost:
        users[creator] = max(users.get(creator, 0), top)
    return content


def with_power_for(
    levels: dict[str, Any], version: RoomVersion, user_id: str, carried: dict[str, Any]
) -> dict[str, Any]:
    """The levels that let the user bring over what is carried; the user's own may be too low for that."""
    if version.creators_have_infinite_power:
        return levels
    events = levels["events"]
    state_default = levels.get("state_default", 50)
    needed = max(events.get(kind, state_default) for kind in (*carried, POWER_LEVELS))
    own = levels["users"].get(user_id, levels.get("users_default", 0))
    if own >= needed:
        return levels
    return {**levels, "users": {**levels["users"], user_id: needed}}


def quiet_power_levels(head: Head) -> dict[str, Any]:
    """The old room's power levels, with talking and inviting out of most members' reach."""
    powers = powers_of(head)
    content = dict(head.content(POWER_LEVELS))
    quiet = max(_QUIET, powers.users_default + 1)
    content["events_default"] = max(quiet, powers.events_default)
    content["invite"] = max(quiet, powers.invite)
    return content
