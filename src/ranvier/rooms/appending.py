"""Appending events to rooms: the decide and append of every walk that makes an event here, or takes one in.

A proposal is one or more events for one room that enter together or not at all. Events are built, authorised and
signed when their batch forms, each upon the head that the one before it left; nobody else sees such a head before the
commit made it true. An event from elsewhere is judged upon that head, too; `rooms.receiving` gathers for it.
"""

from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson
from immutables import Map

from ranvier.protocol import auth_rules, client_format, events, relations
from ranvier.protocol.events import MAX_PREV_EVENTS, BadEvent, Event, reference_hash_of
from ranvier.protocol.refusal import Refusal
from ranvier.protocol.signing import SigningKey
from ranvier.rooms.arrivals import Arrival, look_up, place
from ranvier.rooms.events import Events
from ranvier.rooms.heads import MEMBER, Head, Heads, Room, TimelineItem
from ranvier.rooms.policy import POLICY
from ranvier.rooms.unread import MENTIONED, RoomCounters, Unread
from ranvier.rooms.writing import Made, Stale, announce, next_head, recount, write_made, write_timeline
from ranvier.store import rooms as rooms_store
from ranvier.store import state as state_store
from ranvier.store.database import CommitUnknown, Transaction, Unavailable
from ranvier.store.events import Judgement, StoredEvent
from ranvier.store.numbers import Numbers, NumbersExhausted
from ranvier.store.rooms import RoomRow, TransactionKey
from ranvier.store.state import Key, Root
from ranvier.store.writer import Work, Writer

MOST_BRANCHES = 10
"""Forward extremities of a room until they are joined by an event that says nothing else."""
DUMMY = "org.matrix.dummy_event"
_TRIES = 20
_STRIPPED = ("invite", "knock")
"""Memberships that show the room to one who is not in it."""


class TransactionKnown(Exception):
    """The client's transaction id was used before: its first answer holds."""


@dataclass(slots=True)
class Draft:
    """What an event shall say; where it stands in the room is decided when its batch forms.

    With `unless_same`, a state event that would change nothing (same sender, same content) is answered with the one
    that stands. `stripped_state` goes with an invite or a knock. `at` overrides the time (ms since the epoch), as
    bridges may. `thread` is found while gathering: the root of the thread that the event belongs to, or "main".
    """

    sender: str
    type: str
    content: dict[str, Any]
    state_key: str | None = None
    redacts: str | None = None
    unless_same: bool = False
    at: int | None = None
    thread: str | None = None


@dataclass(slots=True)
class Proposal:
    """Events for one room. `also` writes more in the same transaction, once the room's id is known.

    Instead of drafts it may hold the `arrival` of an event from elsewhere. `base` is the version of the committed
    head on which it was built, `is_overtaken` whether another process was faster then.
    """

    room: Room
    drafts: Sequence[Draft] = ()
    transaction: TransactionKey | None = None
    also: Callable[[Transaction, Room], Awaitable[None]] | None = None
    creates: bool = False
    redacts: StoredEvent | None = None
    arrival: Arrival | None = None
    made: list[Made] = field(default_factory=list)
    event_ids: list[str] = field(default_factory=list)
    head: Head | None = None
    base: int = 0
    is_overtaken: bool = False

    @property
    def is_plain(self) -> bool:
        """Whether it is one new event with a client's transaction id, and nothing else."""
        if self.transaction is None or len(self.drafts) != 1 or self.creates or self.also is not None:
            return False
        return self.arrival is None and self.redacts is None and self.drafts[0].redacts is None


Elsewhere = Callable[[Proposal], Awaitable[list[str] | None]]
"""Lets another process append what should go through it; None if it is to be appended here."""


Recommending = Callable[[Proposal], Awaitable[list[str] | None]]


class Appending(Work[Proposal, list[str]]):
    """The one way into a room. Answers the event ids, in the order of the drafts."""

    rank = 0

    def __init__(
        self,
        writer: Writer,
        heads: Heads,
        events: Events,
        numbers: dict[str, Numbers],
        unread: Unread,
        signer: SigningKey,
        now: Callable[[], int],
    ) -> None:
        self._writer = writer
        self._heads = heads
        self._events = events
        self._event_numbers = numbers["event"]
        self._line_numbers = numbers["line"]
        self._unread = unread
        self._signer = signer
        self._now = now
        self._elsewhere: Elsewhere | None = None
        self._tentative: dict[int, Head] = {}
        self._newest_room = 0
        self._recommending: Recommending | None = None

    def send_through(self, elsewhere: Elsewhere) -> None:
        """Let other processes append plain events of clients to the rooms that are theirs."""
        self._elsewhere = elsewhere

    async def append(self, proposal: Proposal) -> list[str]:
        """Commit a proposal; raises `Refusal` if the room's rules or the event's form forbid it."""
        return await self._append(proposal, self._elsewhere if proposal.is_plain else None)

    async def append_here(self, proposal: Proposal) -> list[str]:
        """Commit a proposal in this process, whichever the room's is."""
        return await self._append(proposal, None)

    async def _append(self, proposal: Proposal, elsewhere: Elsewhere | None) -> list[str]:
        room = proposal.room
        for _ in range(_TRIES):
            if elsewhere is not None:
                event_ids = await elsewhere(proposal)
                if event_ids is not None:
                    return event_ids
            if not proposal.creates:
                await self._gather(proposal)
            if not proposal.creates and self._recommending is not None and _names_policy_server(room):
                appended = await self._recommending(proposal)
                if appended is not None:
                    return appended
            if room.turn.locked():
                # Another has been overtaken too often already.
                async with room.turn:
                    pass
            try:
                return await self._writer.submit(self, proposal)
            except (Stale, NumbersExhausted):
                await self._catch_up(proposal)
        raise Refusal("M_UNKNOWN", "The room is too busy; please try again.", status=503)

    def ask_first(self, recommending: Recommending) -> None:
        """Where a room names a policy server, let this append what is proposed; it answers None where it need not."""
        self._recommending = recommending

    async def standing_for(self, room: Room, draft: Draft) -> str | None:
        """The event that says the same already, for a draft that is only to be sent if none does."""
        if not draft.unless_same or draft.state_key is None:
            return None
        head = await self._heads.fault_in(room, [draft.state_key] if draft.type == MEMBER else ())
        standing = look_up(head, (draft.type, draft.state_key))
        return standing.event.event_id if standing is not None and _says_same(standing.event, draft) else None

    async def submit(self, proposal: Proposal) -> list[str]:
        """Commit a proposal once, of which everything was gathered; raises `Stale` if it was not."""
        try:
            return await self._writer.submit(self, proposal)
        except Stale:
            await self._catch_up(proposal)
            raise

    async def _catch_up(self, proposal: Proposal) -> None:
        """Another process was faster: hear of what it did; a head that does not move by that is read anew."""
        if not proposal.is_overtaken:
            return
        proposal.is_overtaken = False
        await self._writer.confirm()
        head = proposal.room.head
        if head is not None and head.version == proposal.base:
            self._heads.drop(proposal.room)

    async def propose(self, room: Room, draft: Draft) -> Event:
        """An event as it would be appended now, built upon the committed head and signed; nothing is appended.

        For templates that other servers complete, and invites that they are to sign. Raises `Refusal`.
        """
        await self._gather(Proposal(room, [draft]))
        head = room.head
        for _ in range(_TRIES):
            if head is not None:
                break
            head = await self._heads.fault_in(room, ())
        if head is None:
            raise Refusal("M_UNKNOWN", "The room is too busy; please try again.", status=503)
        try:
            state = _auth_state(room, head, draft)
            event = self._build(room, head, draft, state)
        except Stale:
            return await self.propose(room, draft)
        except BadEvent as error:
            raise Refusal(error.errcode, str(error)) from error
        failure = auth_rules.check(event, state)
        if failure is not None:
            raise Refusal("M_FORBIDDEN", failure.reason)
        return event

    async def join_branches(self, room: Room) -> None:
        """Let some user of this server who may send an event that shows nothing but builds on all branches of the room.

        Otherwise each event would have to be weighed against ever more of them, where nobody here speaks.
        """
        head = await self._heads.fault_in(room, ())
        if len(head.extremities) <= MOST_BRANCHES:
            return
        server_name = self._signer.server_name
        for user_id in await self._heads.joined_of_server(room, server_name):
            try:
                await self.append(Proposal(room, [Draft(user_id, DUMMY, {})]))
            except Refusal:
                continue
            return

    def take_number(self) -> int:
        """A number for an event from elsewhere; raises `NumbersExhausted`."""
        return self._event_numbers.take()

    async def gather(self, room: Room, users: Iterable[str]) -> Head:
        """The head with the memberships of these users, and what counting needs, into memory."""
        head = await self._heads.fault_in(room, users)
        await self._unread.gather(room)
        return head

    async def _gather(self, proposal: Proposal) -> None:
        """Everything that deciding needs, into memory."""
        room = proposal.room
        users: set[str] = set()
        for draft in proposal.drafts:
            keys = auth_rules.auth_types(
                room.version, draft.type, draft.sender, draft.state_key, draft.content
            )
            users.update(state_key for kind, state_key in keys if kind == MEMBER)
            if draft.type == MEMBER and draft.state_key is not None:
                users.add(draft.state_key)
            users.update(mentioned(draft.content))
            if draft.thread is None and "m.relates_to" in draft.content:
                draft.thread = await self._events.thread_of(draft.content)
        head = await self._heads.fault_in(room, users)
        if head.partial:
            await self._heads.know(room, users)
        await self._unread.gather(room)

    # Forming: on the loop, while nothing of this process commits.

    def form(self, operations: Sequence[Proposal]) -> Sequence[list[str] | Exception | None]:
        """Build each proposal's events; one that can't be drops out and leaves the head as it was."""
        return [self._form(proposal) for proposal in operations]

    def _form(self, proposal: Proposal) -> list[str] | Exception | None:
        room = proposal.room
        proposal.made = []
        proposal.event_ids = []
        proposal.base = room.head.version if room.head is not None else 0
        try:
            head = self._start(proposal)
            if proposal.arrival is not None:
                head = self._admit(proposal, proposal.arrival, head)
            for draft in proposal.drafts:
                head = self._add(proposal, head, draft)
        except Exception as error:
            self._unread.undo(one.counted for one in proposal.made if one.counted is not None)
            return Refusal(error.errcode, str(error)) if isinstance(error, BadEvent) else error
        if not proposal.made:
            # What stands on a head that is still to be committed may yet fall.
            return Stale() if room.nid in self._tentative else proposal.event_ids
        proposal.head = head
        self._tentative[room.nid] = head
        return None

    def _start(self, proposal: Proposal) -> Head:
        if proposal.creates:
            if proposal.room.version.room_id_is_create_event_id:
                # A second attempt makes another create event.
                proposal.room.room_id = ""
            return Head(0, (), Map(), Root(self._line_numbers.take(), 0), complete=True)
        head = self._tentative.get(proposal.room.nid)
        if head is None:
            head = proposal.room.head
            proposal.room.faulted.clear()
        if head is None:
            raise Stale
        return head

    def _add(self, proposal: Proposal, head: Head, draft: Draft) -> Head:
        room = proposal.room
        if draft.unless_same and draft.state_key is not None:
            standing = look_up(head, (draft.type, draft.state_key))
            if standing is not None and _says_same(standing.event, draft):
                proposal.event_ids.append(standing.event.event_id)
                return head
        state = _auth_state(room, head, draft)
        event = self._build(room, head, draft, state)
        failure = auth_rules.check(event, state)
        if failure is not None:
            raise Refusal("M_FORBIDDEN", failure.reason)
        if not room.room_id:
            room.room_id = event.room_id
        made = self._place(proposal, head, draft, event)
        return self._take(proposal, head, made, draft.thread)

    def _take(self, proposal: Proposal, head: Head, made: Made, thread: str | None) -> Head:
        if made.item is not None and made.kept.judgement is Judgement.ACCEPTED:
            where = thread or relations.MAIN_TIMELINE
            made.counted = self._unread.count(proposal.room, head, made.item, where)
        proposal.made.append(made)
        proposal.event_ids.append(made.kept.event.event_id)
        return next_head(head, made)

    def _admit(self, proposal: Proposal, arrival: Arrival, head: Head) -> Head:
        """Judge an event from elsewhere, and let it move the head if it may."""
        made = place(proposal.room, head, arrival, self._line_numbers.take, self._now())
        if arrival.failure is not None and arrival.must_stand:
            raise Refusal("M_FORBIDDEN", arrival.failure.reason)
        event = made.kept.event
        if made.item is not None and event.type == MEMBER and event.content["membership"] in _STRIPPED:
            made.stripped_state = _stripped_state(head, event)
        return self._take(proposal, head, made, arrival.thread)

    def _build(self, room: Room, head: Head, draft: Draft, state: dict[Key, Event]) -> Event:
        hashes = None
        if room.version.references_with_hashes:
            named = [*state.values(), *(kept.event for kept in head.extremities)]
            hashes = {event.event_id: reference_hash_of(event) for event in named}
        return events.build(
            room.version,
            room_id=room.room_id or None,
            sender=draft.sender,
            type=draft.type,
            content=draft.content,
            state_key=draft.state_key,
            prev_events=[kept.event.event_id for kept in head.extremities[-MAX_PREV_EVENTS:]],
            auth_events=[event.event_id for key, event in state.items() if _is_auth_event(room, key)],
            depth=head.depth,
            origin_server_ts=draft.at if draft.at is not None else self._moment(head),
            redacts=draft.redacts,
            reference_hashes=hashes,
            signer=self._signer,
        )

    def _moment(self, head: Head) -> int:
        now = self._now()
        if head.version == 0:
            # Two rooms that their maker begins alike in one millisecond would have one id.
            now = self._newest_room = max(now, self._newest_room + 1)
        return now

    def _place(self, proposal: Proposal, head: Head, draft: Draft, event: Event) -> Made:
        key = proposal.transaction
        kept = StoredEvent(
            self._event_numbers.take(),
            proposal.room.nid,
            event,
            state_line=head.root.line,
            state_version=head.root.version,
            received_ts=self._now(),
            timeline_version=head.version + 1,
            transaction=(key.device_id, key.txn_id) if key is not None else None,
        )
        root = Root(head.root.line, head.root.version + 1) if event.is_state else head.root
        replaced = head.state.get((event.type, event.state_key)) if event.state_key is not None else None
        item = TimelineItem(head.version + 1, kept, root, replaced)
        made = Made(kept, item, (*head.extremities[:-MAX_PREV_EVENTS], kept))
        if event.state_key is not None:
            made.moved = {(event.type, event.state_key): (replaced, kept)}
        if draft.redacts and proposal.redacts is not None:
            made.targets = [proposal.redacts]
        elif draft.redacts:
            made.awaits = draft.redacts
            kept.judgement = Judgement.WITHHELD
        if event.type == MEMBER and event.content.get("membership") in _STRIPPED:
            made.stripped_state = _stripped_state(head, event)
        return made

    # Writing: in the transaction.

    async def write(
        self, transaction: Transaction, operations: Sequence[Proposal], *, alone: bool
    ) -> Sequence[list[str] | Exception]:
        """Write all proposals of a batch in few statements; those in whose room another was faster drop out."""
        stale = await write_timeline(transaction, [one for proposal in operations for one in proposal.made])
        if stale and alone:
            raise Stale
        current = [proposal for proposal in operations if proposal.room.nid not in stale]
        made = [one for proposal in current for one in proposal.made]
        await self._write_transactions(transaction, current)
        creations = [proposal for proposal in current if proposal.creates]
        for proposal in creations:
            assert proposal.head is not None
            room = proposal.room
            await rooms_store.insert_room(
                transaction, RoomRow(room.nid, room.room_id, room.version.identifier)
            )
            await state_store.insert_lines(transaction, [(proposal.head.root.line, room.nid, None, None)])
        # What redacts an event of the same batch looks at what that one counted.
        await self._unread.write(transaction, [one.counted for one in made if one.counted is not None])
        await write_made(transaction, made, self._signer.server_name)
        for proposal in current:
            if proposal.also is not None:
                await proposal.also(transaction, proposal.room)
        announce(transaction, made)
        return [Stale() if proposal.room.nid in stale else proposal.event_ids for proposal in operations]

    async def _write_transactions(self, transaction: Transaction, operations: Iterable[Proposal]) -> None:
        rows = [
            (p.transaction, p.event_ids[-1], self._now()) for p in operations if p.transaction is not None
        ]
        # Whose id is known shows when each proposal is tried alone.
        await rooms_store.put_transactions(transaction, rows, TransactionKnown())

    # Settling: on the loop, after the commit.

    def settle(self, operations: Sequence[Proposal], results: Sequence[list[str] | Exception]) -> None:
        """The tentative heads come true."""
        heads, self._tentative = self._tentative, {}
        by_room: dict[Room, list[Made]] = {}
        for proposal, result in zip(operations, results, strict=True):
            if isinstance(result, Exception):
                proposal.is_overtaken = not proposal.creates
                continue
            by_room.setdefault(proposal.room, []).extend(proposal.made)
            if proposal.creates:
                _begin(proposal.room)
                self._heads.add(proposal.room)
        for room, made in by_room.items():
            room.advance(heads[room.nid], [one.item for one in made if one.item is not None])
            self._heads.settled(room)
            for one in made:
                self._keep(one)
                recount(room, one)
                room.has_gaps = room.has_gaps or bool(one.gaps)
            self._unread.settle(room, [one.counted for one in made if one.counted is not None])

    def _keep(self, made: Made) -> None:
        if made.known:
            self._events.renew(made.kept)
        else:
            self._events.keep(made.kept)
        for redaction in made.redacted_by:
            self._events.forget(redaction.nid)

    def fall(self, operations: Sequence[Proposal], error: Exception) -> None:
        """The batch was rolled back: read the heads anew, unless they can't be why."""
        self._tentative.clear()
        self._unread.fall()
        is_known = not isinstance(error, CommitUnknown)
        if is_known and isinstance(error, (TransactionKnown, Refusal, Unavailable)):
            return
        for proposal in operations:
            if proposal.creates:
                continue
            if isinstance(error, Stale):
                proposal.is_overtaken = True
            else:
                self._heads.drop(proposal.room)


def _begin(room: Room) -> None:
    """What is known of a room before its first event: so nothing of it need ever be read while it stays in memory."""
    room.counts, room.servers = {}, {}
    room.counters = RoomCounters({})
    room.keep_recent(())


def _names_policy_server(room: Room) -> bool:
    return room.head is not None and room.head.get(POLICY) is not None


def _auth_state(room: Room, head: Head, draft: Draft) -> dict[Key, Event]:
    """The state that the event's authorisation depends on."""
    state = {}
    for key in auth_rules.auth_types(room.version, draft.type, draft.sender, draft.state_key, draft.content):
        kept = look_up(head, key)
        if kept is not None:
            state[key] = kept.event
    if not room.version.create_is_auth_event:
        create = head.state.get(("m.room.create", ""))
        if create is not None:
            state["m.room.create", ""] = create.event
    return state


def _is_auth_event(room: Room, key: Key) -> bool:
    return room.version.create_is_auth_event or key[0] != "m.room.create"


def _says_same(event: Event, draft: Draft) -> bool:
    if event.sender != draft.sender or event.content != draft.content:
        return False
    # To Python, 1 and true are the same.
    return _sorted_json(event.content) == _sorted_json(draft.content)


def _sorted_json(content: dict[str, Any]) -> bytes:
    return orjson.dumps(content, option=orjson.OPT_SORT_KEYS)


def _stripped_state(head: Head, event: Event) -> list[dict[str, Any]]:
    """What shows the room to one who is invited or knocks: its face, the inviter, and the membership itself."""
    faces = [head.state.get((kind, "")) for kind in client_format.STRIPPED_STATE_TYPES]
    inviter = head.state.get((MEMBER, event.sender)) if event.sender != event.state_key else None
    shown = [kept.event for kept in (*faces, inviter) if kept is not None]
    return [client_format.strip_state(one) for one in (*shown, event)]


def mentioned(content: dict[str, Any]) -> list[str]:
    """Users whom the event mentions, up to a bound."""
    mentions = content.get("m.mentions")
    users = mentions.get("user_ids") if isinstance(mentions, dict) else None
    return [user for user in users if isinstance(user, str)][:MENTIONED] if isinstance(users, list) else []
