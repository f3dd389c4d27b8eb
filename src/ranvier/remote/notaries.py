"""Servers that are trusted to tell the keys of others (`trusted_key_servers`).

Source: server-server API, "Querying Keys Through Another Server".
"""

import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from ranvier.protocol import server_keys
from ranvier.protocol.server_keys import BadServerKeys, ServerKeys
from ranvier.protocol.signing import signatures_of
from ranvier.remote.client import FederationClient
from ranvier.remote.failure import RemoteFailure
from ranvier.remote.keys_query import bulk_perspectives_key_query

_TIMEOUT_S: Final = 20.0
_SERVERS: Final = 500
"""Servers that one request asks about."""
_log: Final = logging.getLogger("ranvier.remote")

FindKeys = Callable[[str, Sequence[str]], Awaitable[dict[str, bytes]]]
"""Finds the keys of a notary, by its name and the key IDs."""


@dataclass(frozen=True, slots=True)
class Notary:
    """A notary's name and the public keys that the configuration gives, by key ID; without any they are asked for."""

    server_name: str
    verify_keys: Mapping[str, bytes] = field(default_factory=dict)


class Notaries:
    """The notaries, in the order in which they are asked."""

    def __init__(self, client: FederationClient, notaries: Sequence[Notary]) -> None:
        self._client = client
        self._by_name = {notary.server_name: notary for notary in notaries}

    @property
    def names(self) -> list[str]:
        """Their server names."""
        return list(self._by_name)

    async def ask(
        self, name: str, wanted: Mapping[str, Mapping[str, int]], find_keys: FindKeys, now: int
    ) -> list[ServerKeys]:
        """What one notary knows and vouches for, of servers that were asked about; nothing if it does not answer."""
        found: list[ServerKeys] = []
        servers = list(wanted)
        for start in range(0, len(servers), _SERVERS):
            batch = {server: wanted[server] for server in servers[start : start + _SERVERS]}
            try:
                documents = await bulk_perspectives_key_query(self._client, name, batch, _TIMEOUT_S)
            except RemoteFailure as failure:
                _log.info("a notary does not answer", extra={"server": name, "reason": failure.reason})
                return found
            keys = await self._keys_of(name, documents, find_keys)
            for document in documents:
                read = _read(document, name, keys, now)
                if read is not None and read.server_name in batch:
                    found.append(read)
        return found

    async def _keys_of(
        self, name: str, documents: Sequence[dict[str, Any]], find_keys: FindKeys
    ) -> Mapping[str, bytes]:
        configured = self._by_name[name].verify_keys
        if configured:
            return configured
        key_ids = dict.fromkeys(key for document in documents for key in signatures_of(document, name))
        return await find_keys(name, list(key_ids)[: server_keys.MAX_KEYS]) if key_ids else {}


def _read(document: dict[str, Any], notary: str, keys: Mapping[str, bytes], now: int) -> ServerKeys | None:
    if not server_keys.is_cosigned(document, notary, keys):
        _log.info("a notary's answer is not signed by it", extra={"server": notary})
        return None
    try:
        return server_keys.parse(document, now)
    except BadServerKeys as error:
        _log.info("a notary gave a bad document", extra={"server": notary, "reason": str(error)})
        return None
