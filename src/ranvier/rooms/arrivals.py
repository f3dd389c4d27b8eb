"""An event of another server on its way into a room: what was gathered of it, and what becomes of the head by it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from ranvier.protocol import auth_rules, relations
from ranvier.protocol.events import Event
from ranvier.protocol.policy_server import PolicyServer
from ranvier.protocol.receipt_checks import Fate, ReceiptFailure, judge
from ranvier.protocol.redaction_acceptance import takes_effect
from ranvier.protocol.room_versions import RoomVersion
from ranvier.rooms.heads import MEMBER, Head, Room, TimelineItem
from ranvier.rooms.powers import powers_of
from ranvier.rooms.writing import Branch, Made, Moved, Stale
from ranvier.store.events import Judgement, StoredEvent
from ranvier.store.rooms import TransactionKey
from ranvier.store.state import Key, Root

_MOST_EXTREMITIES = 60
"""Forward extremities that a room keeps, where nobody of this server may join them."""
_JUDGEMENTS = {Fate.REJECTED: Judgement.REJECTED, Fate.SOFT_FAILED: Judgement.SOFT_FAILED}


@dataclass(frozen=True, slots=True)
class Plan:
    """Where an event stands that does not simply come after all that the head has.

    `root` and `changes` are the state before it, of which `state_before` is what concerns it. `extremities` and
    `head_root` are those of the head that this was made for. `moved` is how the current state would change by it. With
    `plain`, neither it nor what it builds on differ from the head's state, so that only the root matters.
    """

    root: Root
    changes: Mapping[Key, int | None]
    state_before: Mapping[Key, Event]
    extremities: tuple[StoredEvent, ...]
    head_root: Root
    moved: Mapping[Key, StoredEvent | None]
    plain: bool

    def fits(self, head: Head) -> bool:
        """Whether what was planned is still right."""
        return head.root == self.head_root and (
            self.plain or [one.nid for one in head.extremities] == [one.nid for one in self.extremities]
        )


@dataclass(slots=True)
class Arrival:
    """An event from elsewhere, with what judging it needs; `kept` is its row, an outlier's until now with `known`.

    `targets` are events that it redacts, be it itself (by a redaction that came before it); `awaits` is the id of one
    that it would redact and that is not here yet. `must_stand`: it is not kept at all unless it is accepted.
    `transaction` is what a client of ours sent it with.
    `assumed`: members on whom a partial state and the event's own auth events did not agree, as that was resolved.
    """

    event: Event
    nid: int
    auth_events: Mapping[str, Event] = field(default_factory=dict)
    rejected: frozenset[str] = frozenset()
    policy_server: PolicyServer | None = None
    known: bool = False
    thread: str = relations.MAIN_TIMELINE
    plan: Plan | None = None
    gaps: Sequence[str] = ()
    built_on: frozenset[str] = frozenset()
    is_built_on: bool = False
    target: StoredEvent | None = None
    awaits: str | None = None
    redactions: Sequence[StoredEvent] = ()
    must_stand: bool = False
    transaction: TransactionKey | None = None
    assumed: Mapping[Key, Event] = field(default_factory=dict)
    kept: StoredEvent | None = None
    failure: ReceiptFailure | None = None

    @property
    def judgement(self) -> Judgement:
        """What was judged of it when it was placed."""
        return self.kept.judgement if self.kept is not None else Judgement.OUTLIER


def place(room: Room, head: Head, arrival: Arrival, line: Callable[[], int], now: int) -> Made:
    """Judge the event, and say what is to be written. Raises `Stale` if the head is not the one that was gathered for.

    `line` hands out numbers of lines; `now` is in milliseconds since the epoch.
    """
    plan = arrival.plan
    event = arrival.event
    if plan is None and not follows_all(event, head):
        raise Stale
    current = state_for(room.version, event, head)
    state_before = dict(plan.state_before) if plan is not None else current
    if head.partial:
        _assume_members(arrival, state_before, current)
    arrival.failure = judge(
        event,
        auth_events=arrival.auth_events,
        rejected=arrival.rejected,
        state_before=state_before,
        current_state=current,
        policy_server_in_use=arrival.policy_server,
    )
    judgement = Judgement.ACCEPTED
    if arrival.failure is not None:
        judgement = _JUDGEMENTS[arrival.failure.fate]
    elif plan is not None and not plan.fits(head):
        raise Stale
    kept = arrival.kept = StoredEvent(
        arrival.nid,
        room.nid,
        event,
        state_line=head.root.line,
        state_version=head.root.version,
        received_ts=now,
        judgement=judgement,
        transaction=(sent.device_id, sent.txn_id) if (sent := arrival.transaction) is not None else None,
    )
    made = Made(kept, None, known=arrival.known, fills_gap=arrival.is_built_on)
    if plan is not None:
        made.branch = Branch(plan.root, plan.changes, line(), head.root.line)
    if judgement is Judgement.ACCEPTED:
        _enter(head, arrival, kept, made)
    elif plan is None and judgement is Judgement.SOFT_FAILED and event.is_state:
        # Its change must not be on the line that the head goes on with.
        made.branch = Branch(head.root, {}, line(), head.root.line)
    return made


def _assume_members(arrival: Arrival, *states: dict[Key, Event]) -> None:
    """Members whom a peer left out are what the event's auth events say, until the whole state has come.

    Source: MSC3902, "Faster remote room joins".
    """
    for state in states:
        state.update(arrival.assumed)
    for auth_event in arrival.auth_events.values():
        if auth_event.type == MEMBER and auth_event.state_key is not None:
            for state in states:
                state.setdefault((MEMBER, auth_event.state_key), auth_event)


def _enter(head: Head, arrival: Arrival, kept: StoredEvent, made: Made) -> None:
    event, plan = arrival.event, arrival.plan
    kept.timeline_version = head.version + 1
    key = (event.type, event.state_key) if event.state_key is not None else None
    replaced = head.state.get(key) if key is not None else None
    if plan is None:
        made.moved = {key: (replaced, kept)} if key is not None else {}
        made.extremities = (kept,)
    else:
        made.moved = _moved(head, plan, kept)
        made.extremities = extremities_after(head, arrival, kept)
    made.gaps = arrival.gaps
    root = Root(head.root.line, head.root.version + len(made.moved))
    ordinary = plan is None or (not made.moved and not event.is_state)
    made.item = TimelineItem(
        kept.timeline_version,
        kept,
        root,
        replaced,
        tangled=not ordinary,
        after_gap=bool(arrival.gaps),
        by_peer=not arrival.must_stand,
    )
    _redact(head, arrival, made)


def _moved(head: Head, plan: Plan, kept: StoredEvent) -> Moved:
    # The plan was made before the event had its row.
    return {
        key: (
            head.state.get(key),
            kept if new is not None and new.nid == kept.nid else new,
        )
        for key, new in plan.moved.items()
    }


def _redact(head: Head, arrival: Arrival, made: Made) -> None:
    """What it redacts, and what redacts it: a redaction counts only if its sender may.

    Source: room versions 3 and later, "Handling redactions".
    """
    if arrival.target is not None:
        if takes_effect(made.kept.event, arrival.target.event, powers_of(head)):
            made.targets = [arrival.target]
        else:
            made.kept.judgement = Judgement.WITHHELD
    elif arrival.awaits is not None:
        made.awaits = arrival.awaits
        made.kept.judgement = Judgement.WITHHELD
    if arrival.redactions:
        powers = powers_of(head)
        made.redacted_by = [
            one for one in arrival.redactions if takes_effect(one.event, made.kept.event, powers)
        ]


def extremities_after(head: Head, arrival: Arrival, kept: StoredEvent) -> tuple[StoredEvent, ...]:
    """The forward extremities once the event is in."""
    others = tuple(one for one in head.extremities if one.event.event_id not in arrival.built_on)
    # Whoever makes ever more branches must not make each event dearer than the last.
    others = others[-_MOST_EXTREMITIES:]
    return others if arrival.is_built_on and others else (*others, kept)


def follows_all(event: Event, head: Head) -> bool:
    """Whether the event builds on just what the head has at its end."""
    if len(event.prev_events) == 1 == len(head.extremities):
        return event.prev_events[0] == head.extremities[0].event.event_id
    return set(event.prev_events) == {kept.event.event_id for kept in head.extremities}


def auth_keys(version: RoomVersion, event: Event) -> list[Key]:
    """The keys of a state on which it depends whether the event is allowed."""
    keys = auth_rules.auth_types(version, event.type, event.sender, event.state_key, event.content)
    if not version.create_is_auth_event:
        keys.append(("m.room.create", ""))
    return keys


def state_for(version: RoomVersion, event: Event, head: Head) -> dict[Key, Event]:
    """What of the head's state the event's authorisation depends on; raises `Stale` if a membership is not at hand."""
    state = {}
    for key in auth_keys(version, event):
        kept = look_up(head, key)
        if kept is not None:
            state[key] = kept.event
    return state


def look_up(head: Head, key: Key) -> StoredEvent | None:
    """A key of the state; raises `Stale` for a membership that nobody faulted in."""
    found = head.state.get(key)
    if found is None and key[0] == MEMBER and not head.complete and key not in head.state:
        raise Stale
    return found
