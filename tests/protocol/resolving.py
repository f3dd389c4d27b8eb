"""Drives state resolutions for tests, over events in memory and an index of their auth chains in memory."""

from bisect import bisect_left, insort
from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import count

from ranvier.protocol import auth_chains
from ranvier.protocol.auth_chains import (
    AgreedIn,
    Found,
    Link,
    LinksFrom,
    LinksTo,
    Place,
    Placing,
    Span,
    Step,
    auth_chain,
    auth_difference,
    conflicted_subgraph,
)
from ranvier.protocol.events import Event
from ranvier.protocol.room_versions import RoomVersion
from ranvier.protocol.state_resolution import (
    Key,
    NeedAuthDifference,
    NeedConflictedSubgraph,
    NeedEvents,
    NeedState,
    Resolved,
    StateMap,
    conflicts,
    resolution,
)


class Index:
    """Chains, places and links of events, as a store would keep them; it counts the rows that it tells."""

    def __init__(self, *, batches: bool = True) -> None:
        numbers = count(1)
        self._new_chain = lambda: next(numbers)
        self._placing = Placing(self._new_chain)
        self._batches = batches
        self.places: dict[str, Place] = {}
        self.events_at: dict[Place, str] = {}
        self.keys: dict[int, Key] = {}
        self.newest: dict[int, int] = {}
        self.links: dict[int, list[Link]] = {}
        self.links_to: dict[int, list[Link]] = {}
        self.told = 0

    def add(self, event: Event) -> None:
        """Place a state event; with `batches` by one Placing for all, else with what is known of each alone."""
        if event.state_key is None:
            return
        placing = self._placing if self._batches else self._knowing(event)
        key = (event.type, event.state_key)
        place, links = placing.place(event.event_id, key, event.auth_events)
        assert place not in self.events_at
        self.places[event.event_id] = place
        self.events_at[place] = event.event_id
        assert self.keys.setdefault(place.chain, key) == key
        self.newest[place.chain] = place.sequence
        self.links.setdefault(place.chain, []).extend(links)
        for link in links:
            insort(self.links_to.setdefault(link.to_chain, []), link, key=_page_order)

    def _knowing(self, event: Event) -> Placing:
        placing = Placing(self._new_chain)
        for auth_id in event.auth_events:
            place = self.places.get(auth_id)
            if place is not None:
                linked: dict[int, int] = {}
                for link in self.links[place.chain]:
                    linked[link.to_chain] = max(link.to_sequence, linked.get(link.to_chain, 0))
                placing.know(auth_id, self.keys[place.chain], place, self.newest[place.chain], linked)
        return placing

    def find(self, steps: Iterable[Step], agreed: StateMap) -> list[Span]:
        """Answer what a question asks."""
        for step in steps:
            match step:
                case LinksFrom():
                    step.links = [link for chain in step.chains for link in self.links[chain]]
                    self.told += len(step.links)
                case LinksTo():
                    step.links = [link for page in step.pages for link in self._page(*page)]
                    self.told += len(step.links)
                case AgreedIn():
                    step.sequences = self._agreed_in(step.chains, agreed)
                    self.told += len(step.chains)
                case Found():
                    return step.spans
        raise AssertionError("No answer.")

    def _page(self, to_chain: int, low: int, below: tuple[int, int] | None) -> list[Link]:
        links = self.links_to.get(to_chain, [])
        end = len(links) if below is None else bisect_left(links, below, key=_page_order)
        start = bisect_left(links, (low, 0), key=_page_order)
        return links[max(start, end - auth_chains.PAGE) : end][::-1] if start < end else []

    def _agreed_in(self, chains: Iterable[int], agreed: StateMap) -> dict[int, int]:
        sequences = {}
        for chain in chains:
            event_id = agreed.get(self.keys[chain])
            if event_id is not None and self.places[event_id].chain == chain:
                sequences[chain] = self.places[event_id].sequence
        return sequences

    def ids(self, spans: Iterable[Span]) -> frozenset[str]:
        """The events of spans, none of which may be empty."""
        spans = list(spans)
        assert all(1 <= first <= last for _, first, last in spans)
        return frozenset(
            self.events_at[Place(chain, sequence)]
            for chain, first, last in spans
            for sequence in range(first, last + 1)
        )

    def places_of(self, event_ids: Iterable[str]) -> list[Place]:
        """Where these events are."""
        return [self.places[event_id] for event_id in event_ids]

    def chain(self, event_ids: Iterable[str]) -> frozenset[str]:
        """The auth chain of these events."""
        return self.ids(self.find(auth_chain(self.places_of(event_ids)), {}))

    def difference(self, states: Sequence[Collection[str]], agreed: StateMap) -> frozenset[str]:
        """The auth difference of states, given without what they agree on."""
        return self.ids(self.find(auth_difference([self.places_of(state) for state in states]), agreed))

    def subgraph(self, conflicted: Iterable[str]) -> frozenset[str]:
        """The conflicted state subgraph."""
        return self.ids(self.find(conflicted_subgraph(self.places_of(conflicted)), {}))


def _page_order(link: Link) -> tuple[int, int]:
    return link.to_sequence, link.chain


def drive(
    version: RoomVersion,
    states: Sequence[StateMap],
    agreed: StateMap,
    events: Mapping[str, Event],
    index: Index,
    rejected: Collection[str] = frozenset(),
) -> Mapping[Key, str | None]:
    """The changes that the states come to, which are given without what they agree on."""
    for step in resolution(version, states):
        match step:
            case NeedEvents():
                step.events = {id_: events[id_] for id_ in step.event_ids if id_ in events}
                step.rejected = [id_ for id_ in step.event_ids if id_ in rejected]
            case NeedState():
                step.state = {key: agreed[key] for key in step.keys if key in agreed}
            case NeedAuthDifference():
                step.event_ids = index.difference(step.states, agreed)
            case NeedConflictedSubgraph():
                step.event_ids = index.subgraph(step.conflicted)
            case Resolved():
                return step.changes
    raise AssertionError("No outcome.")


def resolve(
    version: RoomVersion,
    states: Sequence[StateMap],
    events: Mapping[str, Event],
    index: Index,
    rejected: Collection[str] = frozenset(),
) -> dict[Key, str]:
    """The resolved state of whole states."""
    if not states:
        return {}
    differing = conflicts(states)
    agreed = {key: event_id for key, event_id in states[0].items() if key not in differing}
    cut = [{key: state[key] for key in differing if key in state} for state in states]
    changes = drive(version, cut, agreed, events, index, rejected)
    assert agreed.keys().isdisjoint(changes), "Where all agree nothing may change."
    return agreed | {key: event_id for key, event_id in changes.items() if event_id is not None}
