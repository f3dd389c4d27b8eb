"""Cross-signing keys and the signatures that users put on keys (Client-Server API, "Cross-signing")."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import orjson

from ranvier.encryption import key_forms
from ranvier.protocol.refusal import Refusal, forbidden
from ranvier.store import cross_signing as store
from ranvier.store import device_keys
from ranvier.store.cross_signing import CrossSigningRow, Purpose
from ranvier.store.database import Database, Entry, Reader, Transaction
from ranvier.store.log import Kind
from ranvier.store.writer import Writer

_OBJECTS = 1_000
_SIGNATURES = 100
_PURPOSES: tuple[Purpose, ...] = ("master", "self_signing", "user_signing")

Signed = Callable[[dict[str, Any], str], str | None]
Row = tuple[str, str, str, str, str]
"""Target user, target key, signer, signing key, signature."""


class AuthenticationNeeded(Exception):
    """These keys would replace others: the user must first go through interactive authentication."""


class CrossSigning:
    """Each user's master, self-signing and user-signing key."""

    def __init__(self, database: Database, writer: Writer) -> None:
        self._database = database
        self._writer = writer

    async def upload(
        self, user_id: str, keys: Mapping[Purpose, dict[str, Any]], *, authenticated: bool
    ) -> None:
        """Publish keys. Raises `AuthenticationNeeded` if that changes keys of a user who has a master key.

        The first keys, and those that are there already, need no authentication. Refuses with
        `M_INVALID_SIGNATURE` a key that the master key did not sign, `M_MISSING_PARAM` keys without a master key,
        and `M_FORBIDDEN` a public key that is the name of a device.
        """
        new = {
            purpose: key_forms.check_cross_signing_key(keys[purpose], purpose, user_id)
            for purpose in _PURPOSES
            if purpose in keys
        }

        async def write(transaction: Transaction) -> None:
            known = (await store.read_cross_signing_keys(transaction, [user_id])).get(user_id, {})
            master = new.get("master") or known.get("master")
            if master is None:
                raise Refusal(
                    "M_MISSING_PARAM", "There is no master key: upload one first, or with these keys."
                )
            changed = [row for row in new.values() if _public_key(known, row.purpose) != row.public_key]
            if not changed:
                return
            _check_signatures(new, keys, master, user_id)
            await _refuse_device_ids(transaction, user_id, changed)
            if "master" in known and not authenticated:
                raise AuthenticationNeeded
            replaced = [known[row.purpose].public_key for row in changed if row.purpose in known]
            await store.write_cross_signing_keys(transaction, user_id, list(new.values()), replaced)

        await self._writer.run(write)

    async def add_signatures(
        self, signer: str, objects: Mapping[str, Mapping[str, Any]]
    ) -> dict[str, dict[str, dict[str, str]]]:
        """Keep signatures by `signer`'s keys on keys of users; answers the failures by user and key.

        A user's devices may be signed by the self-signing key, the own master key by the own devices, and the
        master keys of others by the user-signing key. Signatures of others are not looked at.
        """
        if sum(map(len, objects.values())) > _OBJECTS:
            raise Refusal("M_TOO_LARGE", f"At most {_OBJECTS} keys can be signed at once.")
        key_forms.check_users(objects)
        async with self._database.snapshot() as reader:
            judge = await _judge(reader, signer, objects)
        rows: list[Row] = []
        failures: dict[str, dict[str, dict[str, str]]] = {}
        for user_id, by_key in objects.items():
            for key, value in by_key.items():
                # Signatures take a while to verify: others may go in between.
                await asyncio.sleep(0)
                try:
                    rows += judge.accept(user_id, key, value)
                except Refusal as refusal:
                    failures.setdefault(user_id, {})[key] = {
                        "errcode": refusal.errcode,
                        "error": refusal.error,
                    }
        if rows:
            await self._writer.run(lambda transaction: _keep(transaction, signer, rows))
        return failures


def _public_key(known: Mapping[Purpose, CrossSigningRow], purpose: Purpose) -> str | None:
    return known[purpose].public_key if purpose in known else None


def _check_signatures(
    new: Mapping[Purpose, CrossSigningRow],
    keys: Mapping[Purpose, dict[str, Any]],
    master: CrossSigningRow,
    user_id: str,
) -> None:
    for purpose in new:
        if purpose != "master" and not key_forms.is_signed_by(keys[purpose], user_id, master.public_key):
            raise Refusal(
                "M_INVALID_SIGNATURE",
                f"The {purpose}_key is not signed by your master key ed25519:{master.public_key}.",
            )


async def _refuse_device_ids(reader: Reader, user_id: str, keys: Sequence[CrossSigningRow]) -> None:
    for key in keys:
        if await device_keys.is_device(reader, user_id, key.public_key):
            raise forbidden("A public key can't be the same as the id of one of your devices.")


async def _keep(transaction: Transaction, signer: str, rows: Sequence[Row]) -> None:
    await device_keys.write_signatures(transaction, rows)
    for target in sorted({row[0] for row in rows}):
        if target != signer:
            # Nobody but the signer sees these.
            transaction.announce(Entry(Kind.DEVICE_LIST, signer, target, target))
            continue
        signed = {row[1] for row in rows if row[0] == signer}
        devices = signed & (await device_keys.read_device_keys(transaction, [signer])).get(signer, {}).keys()
        await device_keys.announce_device_list(transaction, signer, devices, cross_signing=signed > devices)


class _Judge:
    """Decides which signatures are kept; holds all keys that are needed for that."""

    def __init__(
        self,
        signer: str,
        devices: Mapping[str, str],
        cross_signing: Mapping[str, Mapping[Purpose, CrossSigningRow]],
    ) -> None:
        self._signer = signer
        self._devices = devices
        self._cross_signing = cross_signing

    def accept(self, user_id: str, key: str, value: Any) -> list[Row]:
        """The signatures on one key; refuses what is unknown, altered, or wrongly signed."""
        if not isinstance(value, dict):
            raise Refusal("M_BAD_JSON", "This must be the key's object with a signature.")
        kept = self._target(user_id, key)
        if key_forms.without_signatures(orjson.loads(kept)) != key_forms.without_signatures(value):
            raise Refusal("M_INVALID_SIGNATURE", "This is not the key as it was uploaded.")
        given = value.get("signatures")
        by_key = given.get(self._signer) if isinstance(given, dict) else None
        if not isinstance(by_key, dict) or not by_key or len(by_key) > _SIGNATURES:
            raise Refusal("M_INVALID_SIGNATURE", f"There must be 1 to {_SIGNATURES} signatures by you.")
        known = self._kept_signatures(kept)
        rows = []
        for name, signature in by_key.items():
            if known.get(name) == signature:
                continue
            public_key = self._signing_key(user_id, key, name)
            if public_key is None or not key_forms.verifies(value, self._signer, name, public_key):
                raise Refusal("M_INVALID_SIGNATURE", f"The signature by {name[:100]} is not valid here.")
            rows.append((user_id, key, self._signer, name, signature))
        return rows

    def _kept_signatures(self, kept: str) -> dict[str, Any]:
        """What the signer already signed when the key was uploaded: clients send it along."""
        signatures = orjson.loads(kept).get("signatures") or {}
        return signatures.get(self._signer) or {}

    def _target(self, user_id: str, key: str) -> str:
        """The kept object that is signed."""
        if user_id == self._signer and key in self._devices:
            return self._devices[key]
        master = self._cross_signing.get(user_id, {}).get("master")
        if master is None or master.public_key != key:
            raise Refusal("M_NOT_FOUND", "There is no such device or master key.")
        return master.key

    def _signing_key(self, user_id: str, key: str, name: str) -> str | None:
        """The public key behind a key identifier of the signer, if it may sign this."""
        own = self._cross_signing.get(self._signer, {})
        if user_id != self._signer:
            return _named(own.get("user_signing"), name)
        if key in self._devices:
            return _named(own.get("self_signing"), name)
        device = self._devices.get(name.removeprefix("ed25519:"))
        return key_forms.identity_of(device).get(name) if device is not None else None


def _named(row: CrossSigningRow | None, name: str) -> str | None:
    return row.public_key if row is not None and name == f"ed25519:{row.public_key}" else None


async def _judge(reader: Reader, signer: str, user_ids: Mapping[str, Any]) -> _Judge:
    devices = (await device_keys.read_device_keys(reader, [signer])).get(signer, {})
    return _Judge(signer, devices, await store.read_cross_signing_keys(reader, [signer, *user_ids]))
