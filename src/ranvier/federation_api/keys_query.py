"""Keys of other servers, vouched for by this one."""

from typing import Any

import msgspec

from ranvier.http.endpoints import Answer, endpoint
from ranvier.http.request import Request
from ranvier.protocol.canonical_json import MAX_INTEGER
from ranvier.protocol.identifiers import BadIdentifier, check_server_name
from ranvier.protocol.refusal import Refusal, invalid_param
from ranvier.remote.key_ring import KeyRing
from ranvier.remote.own_keys import OwnKeys

_SERVERS = 1000
_KEYS = 100
"""Keys of one server that are asked for."""


class Criteria(msgspec.Struct):
    """When a key should be valid; without it, now."""

    minimum_valid_until_ts: int | None = None


class KeyQuery(msgspec.Struct):
    """Servers, and key IDs of each; none mean all."""

    server_keys: dict[str, dict[str, Criteria]]


@endpoint("GET", "/_matrix/key/v2/query/{serverName}", access="open")
async def perspectives_key_query(request: Request, key_ring: KeyRing, own: OwnKeys) -> Answer:
    """Give the keys of one server."""
    server_name = request.parameters["serverName"]
    _check(server_name)
    least = request.query_int("minimum_valid_until_ts", own.now(), most=MAX_INTEGER)
    return _vouched(await key_ring.documents({server_name: {}}, least), own)


@endpoint("POST", "/_matrix/key/v2/query", access="open")
async def bulk_perspectives_key_query(request: Request, key_ring: KeyRing, own: OwnKeys) -> Answer:
    """Give the keys of several servers."""
    query = request.read(KeyQuery).server_keys
    if len(query) > _SERVERS or any(len(keys) > _KEYS for keys in query.values()):
        raise Refusal(
            "M_TOO_LARGE", f"At most {_SERVERS} servers and {_KEYS} keys of each can be asked for at once."
        )
    now = own.now()
    wanted: dict[str, dict[str, int]] = {}
    for server_name, keys in query.items():
        _check(server_name)
        wanted[server_name] = {
            key_id: now if criteria.minimum_valid_until_ts is None else criteria.minimum_valid_until_ts
            for key_id, criteria in keys.items()
        }
    return _vouched(await key_ring.documents(wanted, now), own)


def _check(server_name: str) -> None:
    try:
        check_server_name(server_name)
    except BadIdentifier as error:
        raise invalid_param(f"{server_name[:255]!r}: {error}") from None


def _vouched(documents: list[dict[str, Any]], own: OwnKeys) -> Answer:
    return {"server_keys": [own.signer.sign_json(document) for document in documents]}
