"""Which members a client has been sent, where it loads them lazily.

What an answer holds counts as sent only when the answer's token comes back: what got lost is sent again.
Source: Client-Server API, "Lazy-loading room members".
"""

from collections import OrderedDict
from dataclasses import dataclass, field

_DEVICES = 5_000
_MEMBERS = 20_000
"""Members remembered for each device; beyond that they are sent again, which the specification allows."""


@dataclass(slots=True)
class SentMembers:
    """For one device: the membership events, by number, that it has for certain, and those that are on their way."""

    certain: set[int] = field(default_factory=set)
    pending: dict[str, set[int]] = field(default_factory=dict)

    def arrive(self, since: str | None) -> None:
        """The client came back with a token: what was sent with it has arrived, anything else has not."""
        arrived = self.pending.pop(since, None) if since is not None else None
        if since is None:
            self.certain.clear()
        elif arrived is not None:
            self.certain |= arrived
        if arrived is not None or since is None:
            self.pending.clear()
        if len(self.certain) > _MEMBERS:
            self.certain.clear()


class LazyMembers:
    """What every device has been sent; forgotten when the process ends, which only costs repetition."""

    def __init__(self) -> None:
        self._devices: OrderedDict[tuple[str, str | None], SentMembers] = OrderedDict()

    def of(self, user_id: str, device_id: str | None) -> SentMembers:
        """What one device has been sent."""
        key = (user_id, device_id)
        found = self._devices.get(key)
        if found is None:
            found = self._devices[key] = SentMembers()
            if len(self._devices) > _DEVICES:
                self._devices.popitem(last=False)
        else:
            self._devices.move_to_end(key)
        return found
