"""Auth chains by an index: questions about whole chains, answered in time that follows the difference.

State events form *chains*: an event comes next after the auth event that it takes the place of (the same type and
state key), where that was the newest of its chain; else it begins a chain. So a chain is about one key, each of its
events has all earlier ones in its auth chain, and a *link* says which others an event brings in: what the chain has
linked to already is left out. Which events of a chain an event has in its auth chain is then one number for each
chain that is reached, however long the room's history is.

The questions are generators: they yield what they have to know, with a field for the answer to set, and at last
`Found`. So the index can lie in any store, read in few batches.
"""

from bisect import bisect_right
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

Key = tuple[str, str]
"""(type, state_key)."""

PAGE: Final = 500
"""Links that are told at once of those that lead to a chain."""


class Place(NamedTuple):
    """Where an event is: the chain and, from one, its number there."""

    chain: int
    sequence: int


class Link(NamedTuple):
    """The event at (chain, sequence), and so each later one of its chain, has the other in its auth chain."""

    chain: int
    sequence: int
    to_chain: int
    to_sequence: int


class Span(NamedTuple):
    """Events of one chain, from the first to the last."""

    chain: int
    first: int
    last: int


class Page(NamedTuple):
    """Links to a chain, at `low` or above, in the order of falling (to_sequence, chain).

    The first `PAGE` of those that come after `below`, which is such a pair, or of all.
    """

    to_chain: int
    low: int
    below: tuple[int, int] | None


@dataclass(slots=True)
class LinksFrom:
    """Set `links` to all links from these chains."""

    chains: frozenset[int]
    links: Iterable[Link] = ()


@dataclass(slots=True)
class LinksTo:
    """Set `links` to what the pages hold, all in one."""

    pages: Sequence[Page]
    links: Iterable[Link] = ()


@dataclass(slots=True)
class AgreedIn:
    """Set `sequences` to where in these chains the event is that all states have for the chain's key.

    Chains without such an event are left out: the states differ on the key, lack it, or have it elsewhere.
    """

    chains: frozenset[int]
    sequences: Mapping[int, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Found:
    """The answer."""

    spans: list[Span]


Step = LinksFrom | LinksTo | AgreedIn | Found


class Placing:
    """Gives state events their places, in an order in which auth events come before what they authorise.

    It is told the places of auth events that stand already (`know`), and keeps those that it gives.
    """

    def __init__(self, new_chain: Callable[[], int]) -> None:
        self._new_chain = new_chain
        self._places: dict[str, Place] = {}
        self._keys: dict[int, Key] = {}
        self._newest: dict[int, int] = {}
        self._linked: dict[int, dict[int, int]] = {}

    def know(
        self, event_id: str, key: Key, place: Place, newest: int, linked: Mapping[int, int] | None = None
    ) -> None:
        """An event that has a place, and the newest sequence of its chain.

        `linked`: the greatest `to_sequence` of the chain's links by `to_chain`. Without it nothing is wrong, but
        links are made that say nothing new; it matters only where the next event of this key is to be placed.
        """
        self._places[event_id] = place
        self._keys[place.chain] = key
        self._newest[place.chain] = max(newest, self._newest.get(place.chain, 0))
        if linked is not None:
            self._linked.setdefault(place.chain, {}).update(linked)

    def place(self, event_id: str, key: Key, auth_events: Iterable[str]) -> tuple[Place, list[Link]]:
        """The event's place and the links that it brings; auth events that are not known are passed over.

        An event that has a place keeps it, and brings no links.
        """
        standing = self._places.get(event_id)
        if standing is not None:
            return standing, []
        # A malformed event may name one twice.
        targets = {place for place in map(self._places.get, auth_events) if place is not None}
        place = self._next(key, targets)
        self._places[event_id] = place
        self._keys[place.chain] = key
        self._newest[place.chain] = place.sequence
        linked = self._linked.setdefault(place.chain, {})
        links = []
        for target in sorted(targets):
            if target.chain != place.chain and linked.get(target.chain, 0) < target.sequence:
                linked[target.chain] = target.sequence
                links.append(Link(*place, *target))
        return place, links

    def _next(self, key: Key, targets: Iterable[Place]) -> Place:
        for chain, sequence in sorted(targets):
            if self._keys[chain] == key and self._newest[chain] == sequence:
                return Place(chain, sequence + 1)
        return Place(self._new_chain(), 1)


def auth_chain(places: Collection[Place]) -> Iterator[Step]:
    """The auth chain of these events: asks `LinksFrom`."""
    reach = _Reach(places)
    yield from _explore(reach, {})
    yield Found([Span(chain, 1, last) for chain, last in reach.reached.items()])


def auth_difference(states: Sequence[Collection[Place]]) -> Iterator[Step]:
    """What is in the auth chains of some states, but not of all (room version 2, "Auth difference").

    The states are given without the events on which all agree; what is in the auth chain of one of these is found
    by asking for it (`LinksTo`, `AgreedIn`), and only as far as the difference has to do with it.
    """
    links: dict[int, list[Link]] = {}
    every = _Reach([place for places in states for place in places])
    yield from _explore(every, links)
    reached = []
    for places in states:
        reach = _Reach(places)
        reach.advance(links)
        reached.append(reach.reached)
    spans = []
    for chain, last in every.reached.items():
        shared = min(each.get(chain, 0) for each in reached)
        if shared < last:
            spans.append(Span(chain, shared + 1, last))
    agreement = _Agreement(spans)
    yield from agreement.explore()
    yield Found(agreement.outside())


def conflicted_subgraph(conflicted: Collection[Place]) -> Iterator[Step]:
    """Paths along auth events from any of these events to any other, ends included; asks `LinksFrom`.

    Source: room version 12, "Conflicted state subgraph".
    """
    links: dict[int, list[Link]] = {}
    reach = _Reach(conflicted)
    yield from _explore(reach, links)
    # Forwards: the last event of each chain that a conflicted one has in its auth chain, or that is one.
    last = dict(reach.reached)
    # Backwards: the first event of each chain that has a conflicted one in its auth chain, or is one.
    first: dict[int, int] = {}
    for chain, sequence in conflicted:
        last[chain] = max(sequence, last.get(chain, 0))
        first[chain] = min(sequence, first.get(chain, sequence))
    leading: dict[int, list[Link]] = {}
    for chain, of_chain in links.items():
        for link in of_chain:
            if link.sequence <= last.get(chain, 0):
                leading.setdefault(link.to_chain, []).append(link)
    changed = list(first)
    while changed:
        to_chain = changed.pop()
        for link in leading.get(to_chain, ()):
            if link.to_sequence >= first[to_chain] and link.sequence < first.get(
                link.chain, link.sequence + 1
            ):
                first[link.chain] = link.sequence
                changed.append(link.chain)
    yield Found([Span(chain, start, last[chain]) for chain, start in first.items()])


class _Reach:
    """How far into each chain the auth chains of some events reach; the events themselves don't count."""

    __slots__ = ("_done", "_open", "_through", "reached")

    def __init__(self, starts: Iterable[Place]) -> None:
        self.reached: dict[int, int] = {}
        # Up to where links are followed: those of the starts themselves are.
        self._through: dict[int, int] = {}
        self._done: dict[int, int] = {}
        for chain, sequence in starts:
            if sequence > self._through.get(chain, 0):
                self._through[chain] = sequence
                if sequence > 1:
                    self.reached[chain] = sequence - 1
        self._open = list(self._through)

    def advance(self, links: Mapping[int, Sequence[Link]]) -> frozenset[int]:
        """Follow links by chain, sorted by sequence; the chains whose links have to be known to go on."""
        unknown: list[int] = []
        reached, through, done = self.reached, self._through, self._done
        while self._open:
            chain = self._open.pop()
            of_chain = links.get(chain)
            if of_chain is None:
                unknown.append(chain)
                continue
            since, upto = done.get(chain, 0), through[chain]
            if upto <= since:
                continue
            done[chain] = upto
            for link in _between(of_chain, since, upto):
                to_chain, to_sequence = link.to_chain, link.to_sequence
                if to_sequence > reached.get(to_chain, 0):
                    reached[to_chain] = to_sequence
                    if to_sequence > through.get(to_chain, 0):
                        through[to_chain] = to_sequence
                        self._open.append(to_chain)
        self._open = unknown
        return frozenset(unknown)


def _between(links: Sequence[Link], since: int, upto: int) -> Sequence[Link]:
    if len(links) < 8:
        return [link for link in links if since < link.sequence <= upto]
    start = bisect_right(links, since, key=_sequence_of)
    return links[start : bisect_right(links, upto, key=_sequence_of)]


def _sequence_of(link: Link) -> int:
    return link.sequence


def _explore(reach: _Reach, links: dict[int, list[Link]]) -> Iterator[Step]:
    while unknown := reach.advance(links):
        ask = LinksFrom(unknown)
        yield ask
        for chain in unknown:
            links[chain] = []
        for link in ask.links:
            links[link[0]].append(Link(*link))
        for chain in unknown:
            links[chain].sort()


class _Incoming:
    """What is known of the links that lead to one chain."""

    __slots__ = ("below", "links", "low")

    def __init__(self) -> None:
        # In the order of `Page`.
        self.links: list[Link] = []
        self.below: tuple[int, int] | None = None
        # All links at this and above are known.
        self.low: int | None = None


class _Agreement:
    """Which of some events are in the auth chain of an event on which all states agree.

    Whatever is cited by an agreed event, or by one that is in such an auth chain, is in it too. So citing events are
    looked at, the newest first, since these are likely to be agreed; once one is found, all earlier of the chain are
    settled with it.
    """

    def __init__(self, spans: Sequence[Span]) -> None:
        self._spans = spans
        # By chain: up to where events are in the auth chain of an agreed one; up to where they are that or agreed.
        self._inside: dict[int, int] = {}
        self._covered: dict[int, int] = {}
        self._incoming: dict[int, _Incoming] = {}
        self._outgoing: dict[int, list[Link]] = {}
        self._asked: set[int] = set()

    def outside(self) -> list[Span]:
        """The spans less what is in agreed events' auth chains."""
        left = []
        for chain, first, last in self._spans:
            start = max(first, self._inside.get(chain, 0) + 1)
            if start <= last:
                left.append(Span(chain, start, last))
        return left

    def explore(self) -> Iterator[Step]:
        """Ask until it is settled."""
        while True:
            open_chains = self._open_chains()
            unknown = open_chains.keys() - self._asked
            if unknown:
                agreed = AgreedIn(frozenset(unknown))
                yield agreed
                self._asked |= unknown
                for chain, sequence in agreed.sequences.items():
                    self._settle(chain, inside=sequence - 1, covered=sequence)
                continue
            pages = self._missing(open_chains)
            if not pages:
                return
            ask = LinksTo(pages)
            yield ask
            self._learn(pages, ask.links)

    def _open_chains(self) -> dict[int, int]:
        """Chains that may prove something yet, with the earliest event there that would."""
        inside = self._inside
        low = {
            chain: max(first, inside.get(chain, 0) + 1)
            for chain, first, last in self._spans
            if inside.get(chain, 0) < last
        }
        changed = list(low)
        while changed:
            chain = changed.pop()
            incoming = self._incoming.get(chain)
            for link in () if incoming is None else incoming.links:
                if link.to_sequence < low[chain] or link.to_sequence <= inside.get(chain, 0):
                    break
                if link.sequence < low.get(link.chain, link.sequence + 1):
                    low[link.chain] = link.sequence
                    changed.append(link.chain)
        return low

    def _missing(self, open_chains: Mapping[int, int]) -> list[Page]:
        pages = []
        for chain, low in open_chains.items():
            incoming = self._incoming.setdefault(chain, _Incoming())
            if incoming.low is None or low < incoming.low:
                pages.append(Page(chain, low, incoming.below))
        return pages

    def _learn(self, pages: Sequence[Page], links: Iterable[Link]) -> None:
        told: dict[int, list[Link]] = {page.to_chain: [] for page in pages}
        for row in links:
            link = Link(*row)
            told[link.to_chain].append(link)
        for page in pages:
            of_page = sorted(told[page.to_chain], key=_page_order, reverse=True)
            incoming = self._incoming[page.to_chain]
            incoming.links += of_page
            if of_page:
                incoming.below = _page_order(of_page[-1])
            if len(of_page) < PAGE:
                incoming.low = page.low
            for link in of_page:
                self._outgoing.setdefault(link.chain, []).append(link)
                if link.sequence <= self._covered.get(link.chain, 0):
                    self._settle(link.to_chain, inside=link.to_sequence, covered=link.to_sequence)

    def _settle(self, chain: int, *, inside: int, covered: int) -> None:
        """Events of a chain were found to be agreed or inside, and so are those that they lead to."""
        waiting = [(chain, inside, covered)]
        while waiting:
            chain, inside, covered = waiting.pop()
            self._inside[chain] = max(inside, self._inside.get(chain, 0))
            since = self._covered.get(chain, 0)
            if covered <= since:
                continue
            self._covered[chain] = covered
            for link in self._outgoing.get(chain, ()):
                if since < link.sequence <= covered:
                    waiting.append((link.to_chain, link.to_sequence, link.to_sequence))


def _page_order(link: Link) -> tuple[int, int]:
    return link.to_sequence, link.chain
