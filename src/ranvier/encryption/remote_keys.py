"""Keys of users of other servers: from what is followed here, else from their servers.

Source: Server-Server API, "End-to-End Encryption"; Client-Server API, POST /keys/query, POST /keys/claim.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import orjson

from ranvier.encryption.remote_lists import RemoteLists
from ranvier.protocol.identifiers import server_name_of
from ranvier.remote.client import FederationClient
from ranvier.remote.failure import RemoteFailure
from ranvier.remote.user_keys import claim_user_encryption_keys, query_user_encryption_keys
from ranvier.store import remote_devices as store
from ranvier.store.database import Database

MAX_TIMEOUT_S: Final = 30.0
_AT_ONCE: Final = 50
"""Servers, and users of one of them, that are asked at the same time."""

ByUser = dict[str, dict[str, Any]]


@dataclass(slots=True)
class RemoteAnswer:
    """Keys by user and device, cross-signing keys by user where they are not kept here, and failures by server."""

    keys: ByUser = field(default_factory=dict)
    master_keys: dict[str, Any] = field(default_factory=dict)
    self_signing_keys: dict[str, Any] = field(default_factory=dict)
    failures: dict[str, Any] = field(default_factory=dict)


class RemoteKeys:
    """Asks for keys."""

    def __init__(
        self, server_name: str, database: Database, client: FederationClient, lists: RemoteLists
    ) -> None:
        self._server_name = server_name
        self._database = database
        self._client = client
        self._lists = lists
        self._turns = asyncio.Semaphore(_AT_ONCE)

    async def query(self, wanted: Mapping[str, Sequence[str]], timeout_s: float) -> RemoteAnswer:
        """Identity keys of users, of all their devices where none is named; waits so long for other servers."""
        answer = RemoteAnswer()
        users = list(wanted)
        fresh = await store.read_fresh(self._database, users, self._server_name)
        sharing = await store.read_sharing(self._database, users, self._server_name)
        followed = [user for user in users if user in sharing]
        tasks = [self._follow(user, timeout_s, answer) for user in followed if user not in fresh]
        tasks += [
            self._ask(server, {user: wanted[user] for user in theirs}, timeout_s, answer)
            for server, theirs in _by_server([user for user in users if user not in sharing]).items()
        ]
        await asyncio.gather(*tasks)
        for user, devices in (await store.read_devices(self._database, followed)).items():
            answer.keys[user] = {
                device.device_id: _shown(device.keys, device.display_name)
                for device in devices
                if device.keys is not None and (not wanted[user] or device.device_id in wanted[user])
            }
        return answer

    async def _follow(self, user_id: str, timeout_s: float, answer: RemoteAnswer) -> None:
        """Bring the user's list up to date; what was known of it is answered in any case."""
        try:
            async with self._turns, asyncio.timeout(timeout_s):
                await self._lists.fetch(user_id)
        except (RemoteFailure, TimeoutError) as failure:
            answer.failures[server_name_of(user_id)] = _failure(failure)

    async def _ask(
        self, server: str, wanted: Mapping[str, Sequence[str]], timeout_s: float, answer: RemoteAnswer
    ) -> None:
        """Ask for users with whom no room is shared: nobody would tell of changes, so nothing is kept."""
        try:
            async with self._turns:
                told = await query_user_encryption_keys(self._client, server, wanted, timeout_s)
        except RemoteFailure as failure:
            answer.failures[server] = _failure(failure)
            return
        answer.keys.update(told.device_keys)
        answer.master_keys.update(told.master_keys)
        answer.self_signing_keys.update(told.self_signing_keys)

    async def claim(self, wanted: Mapping[str, Mapping[str, str]], timeout_s: float) -> RemoteAnswer:
        """One one-time key of each device for the algorithm that is named."""
        answer = RemoteAnswer()
        await asyncio.gather(
            *(
                self._claim(server, {user: wanted[user] for user in theirs}, timeout_s, answer)
                for server, theirs in _by_server(list(wanted)).items()
            )
        )
        return answer

    async def _claim(
        self, server: str, wanted: Mapping[str, Mapping[str, str]], timeout_s: float, answer: RemoteAnswer
    ) -> None:
        try:
            async with self._turns:
                answer.keys.update(await claim_user_encryption_keys(self._client, server, wanted, timeout_s))
        except RemoteFailure as failure:
            answer.failures[server] = _failure(failure)


def _by_server(user_ids: Sequence[str]) -> dict[str, list[str]]:
    servers: dict[str, list[str]] = {}
    for user_id in user_ids:
        servers.setdefault(server_name_of(user_id), []).append(user_id)
    return servers


def _shown(keys: str, name: str | None) -> dict[str, Any]:
    shown: dict[str, Any] = orjson.loads(keys)
    told = shown.get("unsigned")
    shown["unsigned"] = {
        **(told if isinstance(told, dict) else {}),
        **({"device_display_name": name} if name else {}),
    }
    return shown


def _failure(failure: RemoteFailure | TimeoutError) -> dict[str, Any]:
    message = failure.reason if isinstance(failure, RemoteFailure) else "It did not answer in time."
    return {"status": 503, "message": message}
