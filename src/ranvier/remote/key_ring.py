"""Public keys of servers: from memory, from the store, from their servers, and from notaries.

Source: server-server API, "Retrieving server keys".
"""

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, Final

from ranvier.protocol import canonical_json, server_keys
from ranvier.protocol.identifiers import is_valid_server_name
from ranvier.protocol.server_keys import BadServerKeys, ServerKeys, VerifyKey
from ranvier.remote.client import FederationClient
from ranvier.remote.failure import RemoteFailure
from ranvier.remote.keys_server import get_server_key
from ranvier.remote.notaries import Notaries
from ranvier.remote.own_keys import OwnKeys
from ranvier.store import server_keys as stored
from ranvier.store.database import Database
from ranvier.store.server_keys import ServerKeyRow
from ranvier.store.writer import Writer

Wanted = tuple[str, str, int]
"""Server name, key ID, and the moment (milliseconds) at which the key must be valid; 0 where that is all the same."""
Key = tuple[str, str]

_REMEMBERED: Final = 20_000
_FEW: Final = 3
"""So many servers are asked themselves first; of more, a notary is asked about all in one request first."""
_AT_ONCE: Final = 32
"""Servers that are asked for their keys at the same time."""
_NOTARY_AT_ONCE: Final = 8
"""Of these, on behalf of others who ask this server as a notary."""
_NOTARY_ASKS: Final = 100
_NOTARY_WAIT_S: Final = 15.0
_DIRECT_TIMEOUT_S: Final = 10.0
_FIRST_PAUSE_MS: Final = 10_000
_LONGEST_PAUSE_MS: Final = 3_600_000
_log: Final = logging.getLogger("ranvier.remote")


class KeyRing:
    """All keys that this server can find. What is found is kept for ever: servers go, and their events stay."""

    def __init__(
        self,
        own: OwnKeys,
        client: FederationClient,
        notaries: Notaries,
        database: Database,
        writer: Writer,
        now: Callable[[], int],
    ) -> None:
        self._own = own
        self._client = client
        self._notaries = notaries
        self._database = database
        self._writer = writer
        self._now = now
        self._known: dict[Key, VerifyKey] = {}
        self._pauses = _Pauses()
        self._asking: dict[Key, asyncio.Task[None]] = {}
        self._places = asyncio.Semaphore(_AT_ONCE - _NOTARY_AT_ONCE)
        self._notary_places = asyncio.Semaphore(_NOTARY_AT_ONCE)

    async def keys(self, wanted: Iterable[Wanted]) -> dict[Key, VerifyKey]:
        """Those of the keys that can be found.

        A key that was valid at an earlier moment only is among them too: whoever checks a signature asks its
        `is_valid_at`.
        """
        asked = list(dict.fromkeys(wanted))
        found = await self._at_hand(asked)
        missing = [want for want in asked if not _serves(found.get(want[:2]), want[2])]
        if missing:
            await self._ask(missing)
            found |= await self._at_hand(missing)
        return found

    async def documents(self, wanted: Mapping[str, Mapping[str, int]], least: int) -> list[dict[str, Any]]:
        """The documents of these servers, for others who ask this one as a notary.

        `wanted` gives for each server the moments (milliseconds) at which its keys should be valid, by key ID; for
        servers without key IDs, all keys should be so at `least`. Servers are asked themselves where what is known
        does not serve: few at a time, as anybody may have them asked. Notaries are not, lest they ask in a circle.
        """
        own_name = self._own.server_name
        stale = []
        for server_name, moments in wanted.items():
            if server_name == own_name:
                continue
            rows = {row.key_id: row for row in await stored.read_of(self._database, server_name)}
            # A retired key never gets valid again: only what a current one says can be renewed.
            newest = max((row.valid_until_ts for row in rows.values()), default=-1)
            if newest < (max(moments.values()) if moments else least) or moments.keys() - rows.keys():
                stale.append(server_name)
        free = max(0, _NOTARY_ASKS - len(self._asking))
        await self._ask_directly(stale[:free], self._notary_places, _NOTARY_WAIT_S)
        return [document for name in wanted for document in await self._documents_of(name)]

    async def _documents_of(self, server_name: str) -> list[dict[str, Any]]:
        if server_name == self._own.server_name:
            return [self._own.document()]
        rows = await stored.read_of(self._database, server_name)
        return [canonical_json.decode(document) for document in dict.fromkeys(row.document for row in rows)]

    async def _at_hand(self, wanted: Sequence[Wanted]) -> dict[Key, VerifyKey]:
        found: dict[Key, VerifyKey] = {}
        unread = []
        for server_name, key_id, _ in wanted:
            key = (server_name, key_id)
            known = self._own.find(key_id) if server_name == self._own.server_name else self._known.get(key)
            if known is not None:
                found[key] = known
            elif server_name != self._own.server_name:
                unread.append(key)
        if unread:
            rows = await stored.read(self._database, list(dict.fromkeys(unread)))
            for row in rows:
                key = (row.server_name, row.key_id)
                found[key] = VerifyKey(row.public, row.valid_until_ts)
                self._remember(key, found[key])
        return found

    def _remember(self, key: Key, found: VerifyKey) -> None:
        if len(self._known) >= _REMEMBERED:
            # The ones that came first: a busy server's come back from the store at once.
            for old in list(self._known)[: _REMEMBERED // 10]:
                del self._known[old]
        self._known[key] = found

    async def _ask(self, missing: Sequence[Wanted]) -> None:
        """Look for these keys outside."""
        own_name = self._own.server_name
        by_server: dict[str, dict[str, int]] = {}
        for server_name, key_id, ts in missing:
            if server_name != own_name and is_valid_server_name(server_name):
                by_server.setdefault(server_name, {})[key_id] = ts
        if len(by_server) > _FEW:
            await self._ask_notaries(by_server)
            by_server = await self._still_missing(by_server)
        await self._ask_directly(list(by_server))
        by_server = await self._still_missing(by_server)
        await self._ask_notaries(by_server)

    async def _still_missing(self, by_server: Mapping[str, Mapping[str, int]]) -> dict[str, dict[str, int]]:
        wanted = [(name, key_id, ts) for name, keys in by_server.items() for key_id, ts in keys.items()]
        found = await self._at_hand(wanted)
        missing: dict[str, dict[str, int]] = {}
        for name, key_id, ts in wanted:
            if not _serves(found.get((name, key_id)), ts):
                missing.setdefault(name, {})[key_id] = ts
        return missing

    async def _ask_directly(
        self,
        server_names: Sequence[str],
        places: asyncio.Semaphore | None = None,
        wait_s: float | None = None,
    ) -> None:
        """Ask the servers themselves; who asks at the same time for the same one waits for the same answer."""
        tasks = []
        for server_name in dict.fromkeys(server_names):
            # What strangers wait for, nobody else does.
            key = ("notary" if places is self._notary_places else "", server_name)
            task = self._asking.get(key)
            if task is None:
                if self._pauses.wait_ms(("", server_name), self._now()):
                    continue
                asking = self._ask_one(server_name, places or self._places)
                task = asyncio.create_task(asking, name=f"keys of {server_name}")
                self._asking[key] = task
                task.add_done_callback(partial(self._asked, key))
            tasks.append(task)
        if tasks:
            # One who gives up takes nothing from the others who wait for the same.
            await asyncio.wait(tasks, timeout=wait_s)

    def _asked(self, key: Key, _: asyncio.Task[None]) -> None:
        self._asking.pop(key, None)

    async def _ask_one(self, server_name: str, places: asyncio.Semaphore) -> None:
        try:
            async with places:
                document = await get_server_key(self._client, server_name, _DIRECT_TIMEOUT_S)
            now = self._now()
            await self._keep([server_keys.parse(document, now, server_name)], now)
            self._pauses.succeeded(("", server_name), now)
        except (RemoteFailure, BadServerKeys) as error:
            self._pauses.failed(("", server_name), self._now())
            _log.info("no keys of a server", extra={"server": server_name, "reason": str(error)})
        except Exception:
            self._pauses.failed(("", server_name), self._now())
            _log.exception("the keys of a server could not be kept", extra={"server": server_name})

    async def _ask_notaries(self, by_server: Mapping[str, dict[str, int]]) -> None:
        """Ask each notary in turn for what the ones before it did not know."""
        wanted = dict(by_server)
        for notary in self._notaries.names:
            now = self._now()
            batch = {
                name: keys
                for name, keys in wanted.items()
                if name != notary and not self._pauses.wait_ms((notary, name), now)
            }
            if not batch or notary == self._own.server_name:
                continue
            found = await self._notaries.ask(notary, batch, self._notary_keys, now)
            await self._keep(found, now)
            wanted = await self._still_missing(wanted)
            for name in batch:
                if name in wanted:
                    self._pauses.failed((notary, name), now)
            if not wanted:
                return

    async def _notary_keys(self, notary: str, key_ids: Sequence[str]) -> dict[str, bytes]:
        """A notary's keys where the configuration names none: asked of the notary itself, over TLS."""
        now = self._now()
        wanted = [(notary, key_id, now) for key_id in key_ids]
        found = await self._at_hand(wanted)
        if not all(_serves(found.get(want[:2]), now) for want in wanted):
            await self._ask_directly([notary])
            found = await self._at_hand(wanted)
        return {key_id: key.public for (_, key_id), key in found.items() if key.is_valid_at(now)}

    async def _keep(self, found: Sequence[ServerKeys], now: int) -> None:
        rows: dict[Key, ServerKeyRow] = {}
        for keys in found:
            document = canonical_json.encode(keys.document)
            for key_id, key in keys.keys.items():
                row = ServerKeyRow(keys.server_name, key_id, key.public, key.valid_until_ts, now, document)
                before = rows.get((keys.server_name, key_id))
                if before is None or before.valid_until_ts < row.valid_until_ts:
                    rows[keys.server_name, key_id] = row
        if not rows:
            return
        rows = await self._unless_better_is_known(rows)
        kept = list(rows.values())
        await self._writer.run(lambda transaction: stored.save(transaction, kept))
        for row in kept:
            self._remember((row.server_name, row.key_id), VerifyKey(row.public, row.valid_until_ts))

    async def _unless_better_is_known(self, rows: dict[Key, ServerKeyRow]) -> dict[Key, ServerKeyRow]:
        """Without those of which we know a longer validity already, as a notary may give old documents.

        A server that retires a key says so in a newer document of its own, which is asked for when this one's
        time is over.
        """
        known = await self._at_hand([(*key, 0) for key in rows])
        return {
            key: row
            for key, row in rows.items()
            if key not in known or known[key].valid_until_ts <= row.valid_until_ts or _retires(row)
        }


class _Pauses:
    """Who was asked about whom, and how long that is not done again: longer each time that it brought nothing."""

    def __init__(self) -> None:
        self._pauses: dict[Key, tuple[int, int]] = {}

    def wait_ms(self, key: Key, now: int) -> int:
        until, _ = self._pauses.get(key, (0, 0))
        return max(0, until - now)

    def succeeded(self, key: Key, now: int) -> None:
        self._set(key, now + _FIRST_PAUSE_MS, _FIRST_PAUSE_MS)

    def failed(self, key: Key, now: int) -> None:
        _, before = self._pauses.get(key, (0, 0))
        pause = min(2 * before, _LONGEST_PAUSE_MS) if before else _FIRST_PAUSE_MS
        self._set(key, now + pause, pause)

    def _set(self, key: Key, until: int, pause: int) -> None:
        self._pauses.pop(key, None)
        if len(self._pauses) >= _REMEMBERED:
            for old in list(self._pauses)[: _REMEMBERED // 10]:
                del self._pauses[old]
        self._pauses[key] = (until, pause)


def _serves(key: VerifyKey | None, ts: int) -> bool:
    return key is not None and key.is_valid_at(ts)


def _retires(row: ServerKeyRow) -> bool:
    """Whether the document lists the key among the old ones."""
    document = canonical_json.decode(row.document)
    return row.key_id in (document.get("old_verify_keys") or {}) and row.key_id not in document["verify_keys"]
