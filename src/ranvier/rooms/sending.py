"""Sending events into rooms on a user's behalf: messages, state, redactions."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from ranvier.protocol import relations
from ranvier.protocol.identifiers import BadIdentifier, check_room_alias, server_name_of
from ranvier.protocol.owned_state import owner_of
from ranvier.protocol.power_levels import creators_of
from ranvier.protocol.refusal import Refusal, bad_json, forbidden, invalid_param, not_found
from ranvier.rooms.appending import Appending, Draft, Proposal, TransactionKnown
from ranvier.rooms.events import Events
from ranvier.rooms.guests import GUEST_ACCESS, Guests
from ranvier.rooms.heads import MEMBER, Head, Heads, Room
from ranvier.rooms.powers import powers_of
from ranvier.store import relations as relations_store
from ranvier.store import rooms as store
from ranvier.store.database import Database
from ranvier.store.rooms import TransactionKey

REDACTION = "m.room.redaction"
SERVER_MADE = frozenset({"m.room.create"})
"""Types that only the server itself may send."""


class Sending:
    """The door through which users' events go in."""

    def __init__(
        self, database: Database, heads: Heads, events: Events, appending: Appending, guests: Guests
    ) -> None:
        self._database = database
        self._heads = heads
        self._events = events
        self._appending = appending
        self._guests = guests
        self._in_flight: dict[TransactionKey, asyncio.Future[str]] = {}

    async def joined_room(self, user_id: str, room_id: str) -> tuple[Room, Head]:
        """The room, if the user is in it; refuses as for a room that does not exist otherwise."""
        room = self._heads.at_hand(room_id) or await self._heads.get(room_id)
        if room is not None:
            head = await self._heads.fault_in(room, [user_id])
            member = head.state.get((MEMBER, user_id))
            if member is not None and member.event.content.get("membership") == "join":
                return room, head
        raise forbidden(f"{user_id} is not in the room {room_id}, or there is no such room.")

    async def send(
        self,
        sender: str,
        room_id: str,
        kind: str,
        content: dict[str, Any],
        *,
        transaction: TransactionKey | None = None,
        at: int | None = None,
        own_only: bool = False,
        is_admin: bool = False,
    ) -> str:
        """Send a message event; a transaction id that was used before is answered with its first event.

        A redaction names its target in the content, whatever the room's version; see `redact` for the rest.
        """
        if kind == REDACTION:
            target = content.get("redacts")
            if not isinstance(target, str):
                raise bad_json("A redaction needs 'redacts', the ID of the event that it redacts.")
            rest = {key: value for key, value in content.items() if key != "redacts"}
            return await self.redact(
                sender,
                room_id,
                target,
                rest,
                transaction=transaction,
                own_only=own_only,
                is_admin=is_admin,
            )

        async def append() -> str:
            room, _ = await self.joined_room(sender, room_id)
            if "m.relates_to" in content:
                await self._check_relation(room, sender, kind, content)
            draft = Draft(sender, kind, content, at=at)
            return (await self._appending.append(Proposal(room, [draft], transaction)))[0]

        return await self._once(transaction, append)

    async def set_state(
        self,
        sender: str,
        room_id: str,
        kind: str,
        state_key: str,
        content: dict[str, Any],
        *,
        transaction: TransactionKey | None = None,
        at: int | None = None,
    ) -> str:
        """Send a state event; one that would change nothing is answered with the event that stands."""
        if kind in SERVER_MADE:
            raise invalid_param(f"'{kind}' events are made by the server only.")

        async def append() -> str:
            room, head = await self.joined_room(sender, room_id)
            if kind == "m.room.canonical_alias":
                await self._check_aliases(room, head, content)
            if kind == "m.room.power_levels":
                _refuse_levels_of_creators(room, head, content)
            if room.version.owned_state and state_key.startswith("@") and owner_of(state_key) is None:
                raise bad_json(
                    "A state key that begins with @ must be a user ID, or begin with one and an underscore."
                )
            draft = Draft(sender, kind, content, state_key, unless_same=True, at=at)
            event_id = (await self._appending.append(Proposal(room, [draft], transaction)))[0]
            if kind == GUEST_ACCESS:
                await self._guests.expel(room)
            return event_id

        return await self._once(transaction, append)

    async def redact(
        self,
        sender: str,
        room_id: str,
        event_id: str,
        content: dict[str, Any],
        *,
        transaction: TransactionKey | None = None,
        own_only: bool = False,
        is_admin: bool = False,
    ) -> str:
        """Redact an event of the room: one's own, or unless `own_only` any with the power to.

        An administrator may redact the events of this server's users, which needs no power.
        """

        async def append() -> str:
            room, head = await self.joined_room(sender, room_id)
            target = await self._events.by_id(event_id)
            if target is None and event_id.startswith("$") and not own_only:
                # It may be on its way: whether the redaction counts shows when it is here, on each server.
                draft = Draft(sender, REDACTION, content, redacts=event_id)
                return (await self._appending.append(Proposal(room, [draft], transaction)))[0]
            if target is None or target.room != room.nid:
                raise not_found(f"There is no event {event_id} in this room.")
            if target.event.type == "m.room.create":
                raise forbidden("A room's create event can't be redacted.")
            if target.event.sender != sender:
                if own_only:
                    raise Refusal("M_USER_SUSPENDED", "While suspended you may only redact your own events.")
                powers = powers_of(head)
                by_admin = is_admin and server_name_of(target.event.sender) == server_name_of(sender)
                if not by_admin and powers.of_user(sender) < powers.redact:
                    raise forbidden("Redacting another user's event takes a higher power level.")
            draft = Draft(sender, REDACTION, content, redacts=event_id)
            proposal = Proposal(room, [draft], transaction, redacts=target)
            return (await self._appending.append(proposal))[0]

        return await self._once(transaction, append)

    async def _once(self, key: TransactionKey | None, append: Callable[[], Awaitable[str]]) -> str:
        """Run `append` once for a transaction id: a retry waits for, or reads, the first answer."""
        if key is None:
            return await append()
        running = self._in_flight.get(key)
        if running is not None:
            return await asyncio.shield(running)
        future: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._in_flight[key] = future
        try:
            try:
                event_id = await append()
            except (TransactionKnown, Refusal):
                # A retry may be refused for what its first try did: a reaction that now is a duplicate, say.
                known = await store.transaction_result(self._database, key)
                if known is None:
                    raise
                event_id = known
            future.set_result(event_id)
        except BaseException as error:
            future.set_exception(
                error if isinstance(error, Exception) else Refusal("M_UNKNOWN", "Interrupted.")
            )
            future.exception()
            raise
        else:
            return event_id
        finally:
            del self._in_flight[key]

    async def _check_relation(self, room: Room, sender: str, kind: str, content: dict[str, Any]) -> None:
        """Refuse a reaction that is there already, and a thread off an event that is itself a child."""
        relation = relations.relation_of(content)
        if relation is None:
            return
        if relation.rel_type == relations.ANNOTATION and relation.key is not None:
            if await relations_store.annotation_exists(
                self._database, relation.event_id, sender, kind, relation.key
            ):
                raise Refusal("M_DUPLICATE_ANNOTATION", "You have already reacted to this event in this way.")
        elif relation.rel_type == relations.THREAD:
            root = await self._events.by_id(relation.event_id)
            if (
                root is not None
                and root.room == room.nid
                and not relations.may_root_thread(root.event.content)
            ):
                raise Refusal(
                    "M_UNKNOWN", "A thread can't start from an event that itself relates to another."
                )

    async def _check_aliases(self, room: Room, head: Head, content: dict[str, Any]) -> None:
        """New aliases of a canonical alias event must point to the room."""
        standing = head.content("m.room.canonical_alias")
        known = {standing.get("alias"), *_strings(standing.get("alt_aliases"))}
        main = content.get("alias")
        if main is not None and not isinstance(main, str):
            raise invalid_param("'alias' must be a room alias.")
        alternatives = content.get("alt_aliases", [])
        if not isinstance(alternatives, list) or not all(isinstance(a, str) for a in alternatives):
            raise invalid_param("'alt_aliases' must be a list of room aliases.")
        new = sorted({*([main] if main else []), *alternatives} - known)
        for alias in new:
            try:
                check_room_alias(alias)
            except BadIdentifier as error:
                raise invalid_param(f"One of the aliases is none: {error}") from error
        targets = await store.alias_targets(self._database, new) if new else {}
        for alias in new:
            if targets.get(alias) != room.room_id:
                raise Refusal("M_BAD_ALIAS", f"The alias {alias} does not point to this room.")


def _strings(value: object) -> list[str]:
    return [item for item in value if isinstance(item, str)] if isinstance(value, list) else []


def _refuse_levels_of_creators(room: Room, head: Head, content: dict[str, Any]) -> None:
    """Where creators have infinite power, a level for one of them says nothing, and the room's rules forbid it."""
    create, users = head.get("m.room.create"), content.get("users")
    if not room.version.creators_have_infinite_power or create is None or not isinstance(users, dict):
        return
    for creator in creators_of(create.event):
        if creator in users:
            raise bad_json(f"{creator} is a creator of the room and needs no power level.")
