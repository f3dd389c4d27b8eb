"""Backups of room keys."""

from collections.abc import AsyncIterator
from typing import Any

import msgspec
import orjson

from ranvier.encryption.key_backups import KeyBackups, KeyData
from ranvier.http.endpoints import Answer, endpoint
from ranvier.http.request import Request
from ranvier.http.response import Response
from ranvier.protocol.refusal import invalid_param
from ranvier.store.key_backup import BackedUpKey, BackupRow

_LARGE = 16 * 1024 * 1024
_VERSION = "/_matrix/client/v3/room_keys/version"
_KEYS = "/_matrix/client/v3/room_keys/keys"


class _Backup(msgspec.Struct):
    algorithm: str
    auth_data: dict[str, Any]
    version: str | None = None


class _Sessions(msgspec.Struct):
    sessions: dict[str, KeyData]


class _Rooms(msgspec.Struct):
    rooms: dict[str, _Sessions]


@endpoint("POST", _VERSION, rate_limit="other")
async def post_room_keys_version(request: Request, backups: KeyBackups) -> Answer:
    """Create a backup."""
    asked = request.read(_Backup)
    return {"version": await backups.create(request.requester.user_id, asked.algorithm, asked.auth_data)}


@endpoint("GET", _VERSION, rate_limit="other")
async def get_room_keys_version_current(request: Request, backups: KeyBackups) -> Answer:
    """Describe the current backup."""
    return _described(await backups.get(request.requester.user_id, None))


@endpoint("GET", _VERSION + "/{version}", rate_limit="other")
async def get_room_keys_version(request: Request, backups: KeyBackups) -> Answer:
    """Describe a backup."""
    return _described(await backups.get(request.requester.user_id, request.parameters["version"]))


@endpoint("PUT", _VERSION + "/{version}", rate_limit="other")
async def put_room_keys_version(request: Request, backups: KeyBackups) -> Answer:
    """Replace the `auth_data` of a backup."""
    asked, version = request.read(_Backup), request.parameters["version"]
    if asked.version is not None and asked.version != version:
        raise invalid_param(f"The version in the body must be that of the path, {version[:20]}.")
    await backups.update(request.requester.user_id, version, asked.algorithm, asked.auth_data)
    return {}


@endpoint("DELETE", _VERSION + "/{version}", rate_limit="other")
async def delete_room_keys_version(request: Request, backups: KeyBackups) -> Answer:
    """Delete a backup."""
    await backups.delete(request.requester.user_id, request.parameters["version"])
    return {}


@endpoint("PUT", _KEYS, rate_limit="other", body_limit=_LARGE)
async def put_room_keys(request: Request, backups: KeyBackups) -> Answer:
    """Add keys of several rooms."""
    rooms = {room: asked.sessions for room, asked in request.read(_Rooms).rooms.items()}
    return _counted(await backups.put(request.requester.user_id, _version(request), rooms))


@endpoint("PUT", _KEYS + "/{roomId}", rate_limit="other", body_limit=_LARGE)
async def put_room_keys_by_room_id(request: Request, backups: KeyBackups) -> Answer:
    """Add keys of one room."""
    rooms = {request.parameters["roomId"]: request.read(_Sessions).sessions}
    return _counted(await backups.put(request.requester.user_id, _version(request), rooms))


@endpoint("PUT", _KEYS + "/{roomId}/{sessionId}", rate_limit="other")
async def put_room_key_by_session_id(request: Request, backups: KeyBackups) -> Answer:
    """Add one key."""
    sessions = {request.parameters["sessionId"]: request.read(KeyData)}
    rooms = {request.parameters["roomId"]: sessions}
    return _counted(await backups.put(request.requester.user_id, _version(request), rooms))


@endpoint("GET", _KEYS, rate_limit="other")
async def get_room_keys(request: Request, backups: KeyBackups) -> Answer:
    """All keys of a backup."""
    pages = await backups.keys(request.requester.user_id, _version(request))
    return Response(200, stream=_all_rooms(pages))


@endpoint("GET", _KEYS + "/{roomId}", rate_limit="other")
async def get_room_keys_by_room_id(request: Request, backups: KeyBackups) -> Answer:
    """The keys of one room."""
    room_id = request.parameters["roomId"]
    pages = await backups.keys(request.requester.user_id, _version(request), room_id)
    return Response(200, stream=_one_room(pages))


@endpoint("GET", _KEYS + "/{roomId}/{sessionId}", rate_limit="other")
async def get_room_key_by_session_id(request: Request, backups: KeyBackups) -> Answer:
    """One key."""
    room_id, session_id = request.parameters["roomId"], request.parameters["sessionId"]
    key = await backups.key(request.requester.user_id, _version(request), room_id, session_id)
    return Response(200, _key(key))


@endpoint("DELETE", _KEYS, rate_limit="other")
async def delete_room_keys(request: Request, backups: KeyBackups) -> Answer:
    """Delete all keys of a backup."""
    return _counted(await backups.remove(request.requester.user_id, _version(request)))


@endpoint("DELETE", _KEYS + "/{roomId}", rate_limit="other")
async def delete_room_keys_by_room_id(request: Request, backups: KeyBackups) -> Answer:
    """Delete the keys of one room."""
    user_id, room_id = request.requester.user_id, request.parameters["roomId"]
    return _counted(await backups.remove(user_id, _version(request), room_id))


@endpoint("DELETE", _KEYS + "/{roomId}/{sessionId}", rate_limit="other")
async def delete_room_key_by_session_id(request: Request, backups: KeyBackups) -> Answer:
    """Delete one key."""
    room_id, session_id = request.parameters["roomId"], request.parameters["sessionId"]
    return _counted(await backups.remove(request.requester.user_id, _version(request), room_id, session_id))


def _version(request: Request) -> str:
    return request.query_required("version")


def _described(row: BackupRow) -> Answer:
    return {
        "algorithm": row.algorithm,
        "auth_data": orjson.Fragment(row.auth_data),
        "count": row.key_count,
        "etag": str(row.etag),
        "version": str(row.version),
    }


def _counted(row: BackupRow) -> Answer:
    return {"etag": str(row.etag), "count": row.key_count}


def _key(key: BackedUpKey) -> bytes:
    return orjson.dumps(
        {
            "first_message_index": key.first_message_index,
            "forwarded_count": key.forwarded_count,
            "is_verified": key.is_verified,
            "session_data": orjson.Fragment(key.session_data),
        }
    )


async def _one_room(pages: AsyncIterator[list[BackedUpKey]]) -> AsyncIterator[bytes]:
    """`{"sessions": {…}}` in pieces."""
    lead = b'{"sessions":{'
    async for page in pages:
        yield lead + b",".join(orjson.dumps(key.session_id) + b":" + _key(key) for key in page)
        lead = b","
    yield b"}}" if lead == b"," else lead + b"}}"


async def _all_rooms(pages: AsyncIterator[list[BackedUpKey]]) -> AsyncIterator[bytes]:
    """`{"rooms": {…}}` in pieces; the keys come ordered by room."""
    room_id = None
    yield b'{"rooms":{'
    async for page in pages:
        piece = bytearray()
        for key in page:
            if key.room_id != room_id:
                piece += b"" if room_id is None else b"}},"
                piece += orjson.dumps(key.room_id) + b':{"sessions":{'
                room_id = key.room_id
            else:
                piece += b","
            piece += orjson.dumps(key.session_id) + b":" + _key(key)
        yield bytes(piece)
    yield b"}}" if room_id is None else b"}}}}"
