"""With which servers this one speaks at all (`federation_domain_whitelist`, and the list of those refused)."""

from collections.abc import Iterable


class AllowedServers:
    """A list of server names that are allowed (None: all are), and one of those that are not, which prevails."""

    def __init__(
        self, own_name: str, allowed: Iterable[str] | None = None, denied: Iterable[str] = ()
    ) -> None:
        self._own_name = own_name
        self._allowed = frozenset(allowed) if allowed is not None else None
        self._denied = frozenset(denied)

    def allows(self, server_name: str) -> bool:
        """Whether requests to it are sent and requests of it are answered; this server itself always is."""
        if server_name == self._own_name:
            return True
        if server_name in self._denied:
            return False
        return self._allowed is None or server_name in self._allowed
