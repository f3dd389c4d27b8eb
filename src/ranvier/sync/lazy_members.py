"""Which members a client has been sent, where it loads them lazily.

What an answer holds counts as sent only when the answer's token comes back: what got lost is sent again.
Source: Client-Server API, "Lazy-loading room members".
"""

from collections import OrderedDict
from dataclasses import dataclass, field

_DEVICES = 5_000
_ANSWERS = 100
"""Answers that may be on their way to a device at once; beyond that it is sent members again."""
_MEMBERS = 20_000
"""Members remembered for each device; beyond that they are sent again, which the specification allows."""


@dataclass(slots=True)
class SentMembers:
    """For one device: the membership events, by number, that it has for certain, and those that are on their way.

    What is certain is so for one who has `token`; `pending` has every token that was given out since.
    """

    certain: set[int] = field(default_factory=set)
    pending: dict[str, set[int]] = field(default_factory=dict)
    token: str | None = None

    def arrive(self, since: str | None) -> None:
        """The client came back with a token: what was sent with it has arrived, anything else has not."""
        if since is not None and since == self.token:
            return
        arrived = self.pending.get(since) if since is not None else None
        if arrived is None or len(self.certain) > _MEMBERS:
            # From the beginning, or from a token before those that it was given last: it may have lost the rest.
            self.certain = set()
        self.certain |= arrived or set()
        self.pending.clear()
        self.token = since

    def size(self) -> int:
        """How many members it holds."""
        return len(self.certain) + sum(map(len, self.pending.values()))

    def expect(self, token: str) -> None:
        """An answer with this token goes out."""
        if len(self.pending) > _ANSWERS:
            self.pending.clear()
        self.pending.setdefault(token, set())


class LazyMembers:
    """What every device has been sent; what is forgotten only costs repetition. `capacity` is in members."""

    def __init__(self, capacity: int = 1_000_000) -> None:
        self._capacity = capacity
        self._asked = 0
        self._devices: OrderedDict[tuple[str, str | None], SentMembers] = OrderedDict()

    def of(self, user_id: str, device_id: str | None) -> SentMembers:
        """What one device has been sent."""
        self._asked += 1
        if self._asked % _DEVICES == 0:
            self.trim()
        key = (user_id, device_id)
        found = self._devices.get(key)
        if found is None:
            found = self._devices[key] = SentMembers()
            if len(self._devices) > _DEVICES:
                self._devices.popitem(last=False)
        else:
            self._devices.move_to_end(key)
        return found

    def trim(self) -> None:
        """Keep to the capacity in members, those of the devices that came last."""
        left = self._capacity
        for key, sent in reversed(list(self._devices.items())):
            left -= sent.size()
            if left < 0:
                del self._devices[key]
