"""Histories of one room's state: the same steps for every structure, from a fixed seed."""

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass

Key = tuple[str, str]
MEMBER = "m.room.member"
SERVERS = 40
FORK_EVERY = 20
OLDEST_FORK = 100


@dataclass(frozen=True, slots=True)
class Step:
    """One state after another: which step's state it builds upon, and the one change (key, event's number)."""

    parent: int
    key: Key
    event: int


def user(number: int) -> str:
    """A user id as long as those of real rooms are."""
    return f"@member{number:06}:matrix{number % SERVERS}.example.org"


def _founding(members: int) -> list[Step]:
    keys = [(kind, "") for kind in ("m.room.create", "m.room.power_levels", "m.room.join_rules")]
    keys += [(MEMBER, user(number)) for number in range(members)]
    return [Step(place - 1, key, place + 1) for place, key in enumerate(keys)]


def _keys(members: int, chance: random.Random) -> Iterator[Key]:
    """Members who change their profile, or leave and later return; now and then the room itself changes."""
    while True:
        if chance.random() < 0.01:
            yield chance.choice([("m.room.name", ""), ("m.room.topic", ""), ("m.room.power_levels", "")])
        else:
            yield MEMBER, user(chance.randrange(members))


def straight(members: int, changes: int) -> list[Step]:
    """A room without forks: its founding and joins, then further changes."""
    keys = _keys(members, random.Random(1))
    steps = _founding(members)
    for _ in range(changes):
        steps.append(Step(len(steps) - 1, next(keys), len(steps) + 1))
    return steps


def forked(members: int, changes: int) -> list[Step]:
    """Every 20th change starts a fork of up to three from a state up to 100 steps ago, which is merged again.

    A merge adds what the fork changed to the state of the other side; both sides are steps, so an old state may
    itself be one of a fork.
    """
    chance = random.Random(2)
    keys = _keys(members, chance)
    steps = _founding(members)
    tip, until = len(steps) - 1, len(steps) + changes
    while len(steps) < until:
        if len(steps) % FORK_EVERY:
            steps.append(Step(tip, next(keys), len(steps) + 1))
            tip = len(steps) - 1
            continue
        side = len(steps) - 1 - chance.randrange(1, OLDEST_FORK)
        fork = []
        for _ in range(chance.randrange(1, 4)):
            fork.append(Step(side, next(keys), len(steps) + 1))
            steps.append(fork[-1])
            side = len(steps) - 1
        for step in fork:
            steps.append(Step(tip, step.key, step.event))
            tip = len(steps) - 1
    return steps


def nested(members: int, changes: int) -> list[Step]:
    """The worst that peers can send: each change forks from the last fork, beside a sibling that takes its place."""
    keys = _keys(members, random.Random(3))
    steps = _founding(members)
    until = len(steps) + changes
    tip = len(steps) - 1
    while len(steps) < until:
        steps.append(Step(tip, next(keys), len(steps) + 1))
        steps.append(Step(tip, next(keys), len(steps) + 1))
        tip = len(steps) - 1
    return steps


HISTORIES: dict[str, Callable[[int, int], list[Step]]] = {
    "straight": straight,
    "forked": forked,
    "nested": nested,
}
