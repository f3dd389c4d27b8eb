"""Addresses that this server does not contact on behalf of others.

Other servers, and users, decide which names are looked up; so a name may stand for an address within the network that
this server is in. What is asked for is checked after it was looked up, and the address that was checked is the one
that is connected to.
"""

from collections.abc import Sequence
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final

IpAddress = IPv4Address | IPv6Address

_ALWAYS: Final = ("0.0.0.0/32", "::/128")
_NAT64: Final = IPv6Network("64:ff9b::/96")


class Blocked(OSError):
    """All addresses of a host are in ranges that must not be contacted; the message names them."""


class IpRanges:
    """Ranges that are blocked (networks as text: `10.0.0.0/8`), and exceptions from them."""

    def __init__(self, blocked: Sequence[str], allowed: Sequence[str] = ()) -> None:
        self._blocked = [ip_network(text, strict=False) for text in (*blocked, *_ALWAYS)]
        self._allowed = [ip_network(text, strict=False) for text in allowed]
        self._is_blocked = lru_cache(maxsize=8192)(self._look)

    def allows(self, address: str) -> bool:
        """Whether the address may be contacted."""
        return not self._is_blocked(address)

    def _look(self, text: str) -> bool:
        try:
            address = ip_address(text.partition("%")[0])
        except ValueError:
            return True
        forms = _forms_of(address)
        if any(form in network for network in self._allowed for form in forms):
            return False
        return any(form in network for network in self._blocked for form in forms)


def _forms_of(address: IpAddress) -> list[IpAddress]:
    """The address, and the IPv4 address that an IPv6 one leads to."""
    forms: list[IpAddress] = [address]
    if isinstance(address, IPv6Address):
        embedded = address.ipv4_mapped or address.sixtofour
        if embedded is None and address in _NAT64:
            embedded = IPv4Address(int(address) & 0xFFFFFFFF)
        if embedded is not None:
            forms.append(embedded)
    return forms
