"""How often a user or an address may do something: buckets that refill, and the refusal when one is empty.

Source: Client-Server API, "Rate limiting". The names of the buckets are the configuration's keys without `rc_`,
dots as underscores: "message", "login_address".
"""

import ipaddress
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache

from ranvier.protocol.refusal import Refusal

_KEYS = 50_000
"""Users or addresses that a bucket remembers at most."""
_LONGEST_KEY = 255
_NEVER = 1e9
"""Seconds until a call is allowed again where `per_second` is 0: thirty years."""


@dataclass(frozen=True, slots=True)
class RateLimit:
    """`burst_count` calls at once, and `per_second` more in each second."""

    per_second: float
    burst_count: int


class Bucket:
    """One limit for many keys. A key that was quiet long enough to be full again costs no memory.

    For each key the time is kept at which its bucket will be full again; a call moves it by one interval, and is
    refused where that would be further ahead than the burst allows.
    """

    __slots__ = ("_ahead", "_full_at", "_interval", "_now")

    def __init__(self, limit: RateLimit, now: Callable[[], float]) -> None:
        self._interval = 1 / limit.per_second if limit.per_second > 0 else _NEVER
        # A burst of nothing would refuse the first call for ever.
        self._ahead = self._interval * (max(limit.burst_count, 1) - 1)
        self._full_at: dict[str, float] = {}
        self._now = now

    def wait(self, key: str) -> float:
        """Seconds until the key's next call is allowed; 0 if it is allowed now. Counts nothing."""
        now = self._now()
        return max(0.0, self._full_at.get(key, now) - self._ahead - now)

    def take(self, key: str) -> float:
        """Count a call, if it is allowed: 0, or the seconds until it will be."""
        now = self._now()
        full_at = self._full_at.get(key)
        if full_at is None or full_at <= now:
            if full_at is None and len(self._full_at) >= _KEYS:
                self._forget(now)
            self._full_at[key] = now + self._interval
            return 0.0
        if full_at - now > self._ahead:
            return full_at - now - self._ahead
        self._full_at[key] = full_at + self._interval
        return 0.0

    def _forget(self, now: float) -> None:
        """Drop the keys that are full again; if that is too few, the oldest too."""
        kept = [(key, full_at) for key, full_at in self._full_at.items() if full_at > now]
        self._full_at = dict(kept[-_KEYS * 3 // 4 :])


class Limits:
    """All buckets by name. `now` counts seconds from any moment and never goes back."""

    def __init__(self, limits: Mapping[str, RateLimit], now: Callable[[], float]) -> None:
        self._buckets = {name: Bucket(limit, now) for name, limit in limits.items()}

    def bucket(self, name: str) -> Bucket:
        """The bucket of that name; raises `LookupError` if there is none."""
        if name not in self._buckets:
            raise LookupError(f"there is no rate limit {name!r}, only {', '.join(sorted(self._buckets))}")
        return self._buckets[name]

    def count(self, name: str, key: str) -> None:
        """Count one call of the key (a user id, an address, a room id); refuses it if it comes too soon."""
        # What a client names may be of any length, and is kept.
        wait = self._buckets[name].take(key[:_LONGEST_KEY])
        if wait > 0:
            raise too_soon(wait)

    def check(self, name: str, key: str) -> None:
        """Refuse if the next call would come too soon, and count nothing: for limits on failures."""
        wait = self._buckets[name].wait(key[:_LONGEST_KEY])
        if wait > 0:
            raise too_soon(wait)


def too_soon(seconds: float) -> Refusal:
    """The refusal that says when to come back."""
    milliseconds = math.ceil(seconds * 1000)
    return Refusal(
        "M_LIMIT_EXCEEDED",
        f"Too many requests: come back in {-(-milliseconds // 1000)} s.",
        retry_after_ms=milliseconds,
    )


@lru_cache(maxsize=4096)
def address_key(address: str) -> str:
    """What an address counts as: itself, or for IPv6 its network of /64, as one customer has all of that."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address
    if isinstance(parsed, ipaddress.IPv6Address):
        if parsed.ipv4_mapped is not None:
            return str(parsed.ipv4_mapped)
        return str(ipaddress.ip_network((int(parsed) >> 64 << 64, 64)))
    return address
