"""Keys of devices: published, looked up, claimed (Client-Server API, "Key management API")."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import orjson

from ranvier.encryption import key_forms
from ranvier.encryption.key_views import View
from ranvier.encryption.remote_keys import MAX_TIMEOUT_S, RemoteKeys
from ranvier.protocol.identifiers import server_name_of
from ranvier.protocol.refusal import Refusal, forbidden, invalid_param
from ranvier.store import cross_signing, device_keys, one_time_keys, tuples
from ranvier.store.database import Database, Transaction
from ranvier.store.one_time_keys import KeyRow, Wanted
from ranvier.store.writer import Writer

DEFAULT_TIMEOUT_S = 10.0
"""How long other servers are waited for if the client says nothing."""
_USERS = 10_000
_CLAIMS = 10_000
_CLAIMED_KEPT_MS = 7 * 24 * 60 * 60 * 1000


class Keys:
    """Device keys, one-time keys and fallback keys. `now` is the time in milliseconds since the epoch."""

    def __init__(
        self,
        database: Database,
        writer: Writer,
        remote: RemoteKeys,
        server_name: str,
        now: Callable[[], int],
    ) -> None:
        self._remote = remote
        self._database = database
        self._writer = writer
        self._server_name = server_name
        self._now = now

    async def upload(
        self,
        user_id: str,
        device_id: str,
        identity: dict[str, Any] | None,
        one_time: Mapping[str, Any],
        fallback: Mapping[str, Any],
    ) -> dict[str, int]:
        """Publish keys of a device; answers how many one-time keys wait, by algorithm.

        What was uploaded before may be repeated. A one-time key never changes under its name: `M_INVALID_PARAM`.
        New identity keys make what the old ones signed worthless, so that goes.
        """
        checked = key_forms.check_device_keys(identity, user_id, device_id) if identity else None
        keys = key_forms.check_one_time_keys(one_time, "one_time_keys")
        fallbacks = key_forms.check_one_time_keys(fallback, "fallback_keys")
        if len({key.algorithm for key in fallbacks}) < len(fallbacks):
            raise invalid_param("There can be only one fallback key for each algorithm.")
        if checked is None and not keys and not fallbacks:
            return await one_time_keys.one_time_key_counts(self._database, user_id, device_id)
        now = self._now()

        async def write(transaction: Transaction) -> dict[str, int]:
            if not await device_keys.is_device(transaction, user_id, device_id):
                raise forbidden(f"The device {device_id} was logged out.")
            if checked is not None:
                await _keep_identity(transaction, user_id, device_id, checked)
            changed = await _keep_one_time(transaction, user_id, device_id, keys, now)
            changed |= await _keep_fallbacks(transaction, user_id, device_id, fallbacks)
            if changed:
                one_time_keys.announce_key_counts(transaction, [(user_id, device_id)])
            return await one_time_keys.one_time_key_counts(transaction, user_id, device_id)

        return await self._writer.run(write)

    async def query(
        self, viewer: str, wanted: Mapping[str, Sequence[str]], timeout_s: float = DEFAULT_TIMEOUT_S
    ) -> dict[str, Any]:
        """Device and cross-signing keys of users, as `viewer` may see them; an empty list means all devices.

        Servers that can't be asked within the time are named under `failures`.
        """
        key_forms.check_users(wanted)
        if len(wanted) > _USERS:
            raise Refusal("M_TOO_LARGE", f"At most {_USERS} users can be looked up at once.")
        local, afar = self._split(wanted)
        remote = await self._remote.query(
            {user: wanted[user] for user in afar}, min(timeout_s, MAX_TIMEOUT_S)
        )
        async with self._database.snapshot() as reader:
            owned = await device_keys.read_device_keys(reader, local)
            signing = await cross_signing.read_cross_signing_keys(reader, [*local, *afar])
            names = await device_keys.read_devices(reader, local)
            targets = [(user, device) for user in owned for device in owned[user]]
            targets += [(user, row.public_key) for user in signing for row in signing[user].values()]
            added = await device_keys.read_signatures(reader, targets, [viewer])
        view = View(viewer, signing, added)
        named = {user: frozenset(wanted[user]) for user in local}
        found = {
            user: {
                device: view.device(user, device, keys, names[user][device])
                for device, keys in owned.get(user, {}).items()
                if device in names.get(user, {}) and (not named[user] or device in named[user])
            }
            for user in local
        }
        return {
            "device_keys": found | remote.keys,
            "failures": remote.failures,
            "master_keys": remote.master_keys | view.cross_signing("master"),
            "self_signing_keys": remote.self_signing_keys | view.cross_signing("self_signing"),
            "user_signing_keys": view.cross_signing("user_signing"),
        }

    async def claim(
        self, wanted: Mapping[str, Mapping[str, str]], timeout_s: float = DEFAULT_TIMEOUT_S
    ) -> dict[str, Any]:
        """One one-time key of each user's device for the algorithm that is named, else its fallback key.

        A key is given out at most once, and answered after that is durable.
        """
        key_forms.check_users(wanted)
        if sum(map(len, wanted.values())) > _CLAIMS:
            raise Refusal("M_TOO_LARGE", f"At most {_CLAIMS} keys can be claimed at once.")
        local, afar = self._split(wanted)
        names = [(user, device, algorithm) for user in local for device, algorithm in wanted[user].items()]
        found: dict[str, dict[str, dict[str, Any]]] = {}
        for portion in tuples.slices(names):
            claimed = await self._claim([(user, device, algorithm) for user, device, algorithm in portion])
            for (user, device, _), row in claimed.items():
                key = {f"{row.algorithm}:{row.key_id}": orjson.loads(row.key)}
                found.setdefault(user, {})[device] = key
        remote = await self._remote.claim(
            {user: wanted[user] for user in afar}, min(timeout_s, MAX_TIMEOUT_S)
        )
        return {"one_time_keys": found | remote.keys, "failures": remote.failures}

    async def _claim(self, names: Sequence[Wanted]) -> dict[Wanted, KeyRow]:
        now = self._now()

        async def write(transaction: Transaction) -> dict[Wanted, KeyRow]:
            found = await one_time_keys.claim_one_time_keys(transaction, names, now)
            rest = [name for name in names if name not in found]
            fallbacks, fresh = await one_time_keys.claim_fallback_keys(transaction, rest)
            changed = {(user, device) for user, device, _ in (*found, *fresh)}
            one_time_keys.announce_key_counts(transaction, sorted(changed))
            return found | fallbacks

        return await self._writer.run(write)

    def _split(self, user_ids: Mapping[str, Any]) -> tuple[list[str], list[str]]:
        """The users of this server, and those of others."""
        local = [user_id for user_id in user_ids if server_name_of(user_id) == self._server_name]
        return local, [user_id for user_id in user_ids if server_name_of(user_id) != self._server_name]


async def _keep_identity(transaction: Transaction, user_id: str, device_id: str, keys: str) -> None:
    known = await device_keys.read_keys_of_device(transaction, user_id, device_id)
    if known == keys:
        return
    if known is not None and key_forms.identity_of(known) != key_forms.identity_of(keys):
        await device_keys.delete_derived_keys(transaction, user_id, [device_id])
    await device_keys.write_device_keys(transaction, user_id, device_id, keys)


async def _keep_one_time(
    transaction: Transaction, user_id: str, device_id: str, keys: Sequence[KeyRow], now: int
) -> bool:
    """Keep what is new; answers whether anything is."""
    if not keys:
        return False
    known = await one_time_keys.read_one_time_keys(
        transaction, user_id, device_id, [key.key_id for key in keys]
    )
    new = []
    for key in keys:
        kept, claimed = known.get((key.algorithm, key.key_id), (None, False))
        if kept is None or (claimed and not key_forms.same_key(kept, key.key)):
            new.append(key)
        elif not key_forms.same_key(kept, key.key):
            raise invalid_param(
                f"There is another one-time key {key.algorithm}:{key.key_id} of {device_id} already."
            )
    if not new:
        return False
    counts = await one_time_keys.one_time_key_counts(transaction, user_id, device_id)
    if sum(counts.values()) + len(new) > key_forms.ONE_TIME_KEYS:
        raise Refusal("M_TOO_LARGE", f"At most {key_forms.ONE_TIME_KEYS} one-time keys wait for a device.")
    await one_time_keys.forget_claimed(transaction, user_id, device_id, now - _CLAIMED_KEPT_MS)
    await one_time_keys.insert_one_time_keys(transaction, user_id, device_id, new)
    return True


async def _keep_fallbacks(
    transaction: Transaction, user_id: str, device_id: str, keys: Sequence[KeyRow]
) -> bool:
    """Keep what is new; a key that is repeated stays used if it was."""
    if not keys:
        return False
    known = await one_time_keys.read_fallback_keys(transaction, user_id, device_id)
    new = [
        key
        for key in keys
        if key.algorithm not in known
        or known[key.algorithm].key_id != key.key_id
        or not key_forms.same_key(known[key.algorithm].key, key.key)
    ]
    if new:
        await one_time_keys.write_fallback_keys(transaction, user_id, device_id, new)
    return bool(new)
