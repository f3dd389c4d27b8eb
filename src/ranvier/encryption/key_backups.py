"""Backups of room keys, encrypted by clients (Client-Server API, "Server-side key backups")."""

import re
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

import msgspec
import orjson

from ranvier.protocol.refusal import Refusal, bad_json, forbidden, invalid_param, not_found
from ranvier.store import key_backup as store
from ranvier.store.database import Database, Reader, Transaction
from ranvier.store.key_backup import BackedUpKey, BackupRow
from ranvier.store.writer import Writer

_BACKUPS = 100
_KEYS = 1_000_000
_AUTH_DATA_BYTES = 32 * 1024
_SESSION_BYTES = 64 * 1024
_NAME_BYTES = 255
_PAGE = 500
_VERSION = re.compile(r"[1-9][0-9]{0,17}\Z")
_TRIES = 10


class KeyData(msgspec.Struct):
    """A room key as a client sends it; `session_data` is encrypted for that client's user."""

    first_message_index: int
    forwarded_count: int
    is_verified: bool
    session_data: dict[str, Any]


Rooms = Mapping[str, Mapping[str, KeyData]]
"""Keys by room and session."""


class KeyBackups:
    """All backups of all users. Versions are numbers from 1 on, as text."""

    def __init__(self, database: Database, writer: Writer) -> None:
        self._database = database
        self._writer = writer

    async def create(self, user_id: str, algorithm: str, auth_data: dict[str, Any]) -> str:
        """Begin a new backup, which is the current one from now on; answers its version."""
        if not algorithm or len(algorithm.encode()) > _NAME_BYTES:
            raise invalid_param(f"The algorithm must have 1 to {_NAME_BYTES} bytes.")
        text = _json(auth_data, "auth_data", _AUTH_DATA_BYTES)

        async def write(transaction: Transaction) -> str:
            if await store.count_backups(transaction, user_id) >= _BACKUPS:
                raise forbidden(f"You have {_BACKUPS} key backups: delete one first.")
            for _ in range(_TRIES):
                version = await store.newest_version(transaction, user_id) + 1
                if await store.insert_backup(transaction, user_id, version, algorithm, text):
                    return str(version)
            raise Refusal("M_UNKNOWN", "Other backups are being created; please try again.", status=503)

        return await self._writer.run(write)

    async def get(self, user_id: str, version: str | None) -> BackupRow:
        """A version, or the current one; refuses with `M_NOT_FOUND` if there is none."""
        row = await store.read_backup(self._database, user_id, None if version is None else _number(version))
        if row is None:
            raise not_found("There is no such key backup." if version else "You have no key backup.")
        return row

    async def update(self, user_id: str, version: str, algorithm: str, auth_data: dict[str, Any]) -> None:
        """Replace the `auth_data` of a version; its algorithm stays."""
        number = _number(version)
        text = _json(auth_data, "auth_data", _AUTH_DATA_BYTES)

        async def write(transaction: Transaction) -> None:
            row = await _lock(transaction, user_id, number)
            if row.algorithm != algorithm:
                raise invalid_param(
                    f"The algorithm of this key backup is {row.algorithm} and can't be changed."
                )
            await store.update_auth_data(transaction, user_id, number, text)

        await self._writer.run(write)

    async def delete(self, user_id: str, version: str) -> None:
        """Delete a version with its keys; one that was deleted before is no error."""
        number = _number(version)

        async def write(transaction: Transaction) -> None:
            if number > await store.newest_version(transaction, user_id):
                raise not_found("There is no such key backup.")
            await store.delete_backup(transaction, user_id, number)

        await self._writer.run(write)

    async def put(self, user_id: str, version: str, rooms: Rooms) -> BackupRow:
        """Add keys to the current version, each if it is better than the one that is there.

        Refuses older versions with `M_WRONG_ROOM_KEYS_VERSION`. Answers the backup as it is then.
        """
        number = _number(version)
        keys = [_key(room, session, data) for room in rooms for session, data in rooms[room].items()]

        async def write(transaction: Transaction) -> BackupRow:
            row = await _lock(transaction, user_id, number)
            current = await store.read_backup(transaction, user_id, None)
            if current is None or current.version != number:
                newest = str(current.version) if current is not None else None
                raise Refusal(
                    "M_WRONG_ROOM_KEYS_VERSION",
                    "Keys can be added to the current key backup only.",
                    current_version=newest,
                )
            await _add(transaction, user_id, row, keys)
            return await _lock(transaction, user_id, number)

        return await self._writer.run(write)

    async def remove(
        self, user_id: str, version: str, room_id: str | None = None, session_id: str | None = None
    ) -> BackupRow:
        """Delete the keys of a version, of one room, or of one session; answers the backup as it is then."""
        number = _number(version)

        async def write(transaction: Transaction) -> BackupRow:
            await _lock(transaction, user_id, number)
            gone = await store.delete_keys(transaction, user_id, number, room_id, session_id)
            if gone:
                await store.advance(transaction, user_id, number, -gone)
            return await _lock(transaction, user_id, number)

        return await self._writer.run(write)

    async def key(self, user_id: str, version: str, room_id: str, session_id: str) -> BackedUpKey:
        """One key; refuses with `M_NOT_FOUND` if there is none."""
        found = await store.read_key(self._database, user_id, _number(version), room_id, session_id)
        if found is None:
            raise not_found("There is no key of this session in the key backup.")
        return found

    async def keys(
        self, user_id: str, version: str, room_id: str | None = None
    ) -> AsyncIterator[list[BackedUpKey]]:
        """All keys of a version, or of one room, in portions ordered by room and session.

        Refuses unknown versions before the first portion.
        """
        await self.get(user_id, version)
        return _pages(self._database, user_id, _number(version), room_id)


async def _pages(
    reader: Reader, user_id: str, version: int, room_id: str | None
) -> AsyncIterator[list[BackedUpKey]]:
    after = ("", "")
    while True:
        page = await store.read_page(reader, user_id, version, room_id, after, _PAGE)
        if page:
            yield page
        if len(page) < _PAGE:
            return
        after = (page[-1].room_id, page[-1].session_id)


async def _lock(transaction: Transaction, user_id: str, version: int) -> BackupRow:
    row = await store.lock_backup(transaction, user_id, version)
    if row is None:
        raise not_found("There is no such key backup.")
    return row


async def _add(transaction: Transaction, user_id: str, row: BackupRow, keys: Sequence[BackedUpKey]) -> None:
    known = await store.read_metadata(
        transaction, user_id, row.version, [(key.room_id, key.session_id) for key in keys]
    )
    better = [key for key in keys if _is_better(key, known.get((key.room_id, key.session_id)))]
    more = sum((key.room_id, key.session_id) not in known for key in better)
    if row.key_count + more > _KEYS:
        raise Refusal("M_TOO_LARGE", f"A key backup holds at most {_KEYS} keys.")
    if better:
        await store.write_keys(transaction, user_id, row.version, better)
        await store.advance(transaction, user_id, row.version, more)


def _is_better(key: BackedUpKey, known: tuple[bool, int, int] | None) -> bool:
    """Verified before unverified, then the lower first message index, then the lower forwarded count."""
    if known is None:
        return True
    verified, index, count = known
    return (not key.is_verified, key.first_message_index, key.forwarded_count) < (not verified, index, count)


def _key(room_id: str, session_id: str, data: KeyData) -> BackedUpKey:
    if not 0 < len(room_id.encode()) <= _NAME_BYTES or not 0 < len(session_id.encode()) <= _NAME_BYTES:
        raise invalid_param(f"Room and session ids have 1 to {_NAME_BYTES} bytes.")
    if not (0 <= data.first_message_index < 2**53 and 0 <= data.forwarded_count < 2**53):
        raise invalid_param("first_message_index and forwarded_count must be in the range 0 to 2^53-1.")
    text = _json(data.session_data, "session_data", _SESSION_BYTES)
    return BackedUpKey(
        room_id, session_id, data.first_message_index, data.forwarded_count, data.is_verified, text
    )


def _number(version: str) -> int:
    if _VERSION.match(version) is None:
        raise not_found("There is no such key backup.")
    return int(version)


def _json(value: dict[str, Any], what: str, limit: int) -> str:
    text = orjson.dumps(value)
    if b"\\u0000" in text:
        raise bad_json(f"{what} holds the character U+0000, which can't be stored.")
    if len(text) > limit:
        raise Refusal("M_TOO_LARGE", f"{what} is larger than {limit} bytes.")
    return text.decode()
