"""Server access control lists: which servers may take part in a room.

Source: client-server API, "Server Access Control Lists (ACLs) for rooms", `m.room.server_acl`; where they are
asked: server-server API, "Server Access Control Lists (ACLs)".
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

from ranvier.protocol.events import Event
from ranvier.protocol.globs import Glob, has_wildcards

MAX_REMEMBERED: Final = 1_000
"""Server names whose verdicts an ACL keeps at hand."""

_IPV4: Final = re.compile(r"[0-9]{1,3}(?:\.[0-9]{1,3}){3}")


class ServerAcl:
    """The content of an `m.room.server_acl` event, compiled once; ask `server_acl_of` for one."""

    __slots__ = ("_allow", "_allows_ip_literals", "_deny", "_verdicts")

    def __init__(self, content: Mapping[str, Any]) -> None:
        self._allows_ip_literals = content.get("allow_ip_literals") is not False
        self._deny = _Hosts(_texts(content.get("deny")))
        self._allow = _Hosts(_texts(content.get("allow")))
        self._verdicts: dict[str, bool] = {}

    def allows(self, server_name: str) -> bool:
        """Whether the server may take part. Upper and lower case and the port make no difference."""
        verdict = self._verdicts.get(server_name)
        if verdict is None:
            verdict = self._decide(host_of(server_name).lower())
            if len(self._verdicts) >= MAX_REMEMBERED:
                self._verdicts.clear()
            self._verdicts[server_name] = verdict
        return verdict

    def _decide(self, host: str) -> bool:
        if not self._allows_ip_literals and is_ip_literal(host):  # 2
            return False
        if self._deny.include(host):  # 3
            return False
        return self._allow.include(host)  # 4, 5


def server_acl_of(event: Event | None) -> ServerAcl | None:
    """The ACL of a room whose `m.room.server_acl` event (with an empty state key) this is, made once.

    None if the room has none: then every server is allowed (rule 1).
    """
    if event is None:
        return None
    if not isinstance(event.view, ServerAcl):
        acl = ServerAcl(event.content)
        event.view = acl
        return acl
    return event.view


def may_take_part(server_name: str, acl_event: Event | None) -> bool:
    """Whether the room's current `m.room.server_acl` event, or none, lets the server in (rules 1 to 5)."""
    acl = server_acl_of(acl_event)
    return acl is None or acl.allows(server_name)


def host_of(server_name: str) -> str:
    """The server name without its port; an IPv6 address keeps its brackets."""
    if server_name.startswith("["):
        return server_name.partition("]")[0] + "]"
    return server_name.partition(":")[0]


def is_ip_literal(host: str) -> bool:
    """Whether a server name without port is an address, as the grammar of server names understands it."""
    if host.startswith("["):
        return True
    return _IPV4.fullmatch(host) is not None and all(int(number) <= 255 for number in host.split("."))


class _Hosts:
    """A list of globs. Whole names and `*.domain`, which nearly all are, are looked up, not tried in turn."""

    __slots__ = ("_domains", "_everything", "_globs", "_names")

    def __init__(self, patterns: Iterable[str]) -> None:
        names, domains, globs = set(), set(), []
        self._everything = False
        for pattern in dict.fromkeys(patterns):
            if not has_wildcards(pattern):
                names.add(pattern)
            elif pattern == "*":
                self._everything = True
            elif pattern.startswith("*.") and not has_wildcards(pattern[2:]):
                domains.add(pattern[1:])
            else:
                globs.append(Glob(pattern))
        self._names = frozenset(names)
        self._domains = frozenset(domains)
        self._globs = tuple(globs)

    def include(self, host: str) -> bool:
        if self._everything or host in self._names:
            return True
        dot = host.find(".") if self._domains else -1
        while dot >= 0:
            if host[dot:] in self._domains:
                return True
            dot = host.find(".", dot + 1)
        return any(glob.matches(host) for glob in self._globs)


def _texts(value: Any) -> Iterable[str]:
    """The patterns of a list, in lower case; nothing for what is no list of text."""
    return (item.lower() for item in value if isinstance(item, str)) if isinstance(value, list) else ()
