"""Filters that clients upload once and name by number afterwards.

Source: Client-Server API, "Filtering".
"""

import hashlib
from typing import Any

import orjson

from ranvier.protocol import canonical_json
from ranvier.protocol.filter_parsing import parse_filter
from ranvier.protocol.refusal import Refusal, bad_json, not_found
from ranvier.store import filters as stored
from ranvier.store.database import Database
from ranvier.store.writer import Writer

_LARGEST = 64 * 1024
_FILTERS = 1000


class Filters:
    """Keeps filters. A filter never changes once it has an id."""

    def __init__(self, database: Database, writer: Writer) -> None:
        self._database = database
        self._writer = writer

    async def define(self, user_id: str, definition: dict[str, Any]) -> str:
        """Keep a filter; answers its id. Refuses what is no filter."""
        parse_filter(definition)
        try:
            text = canonical_json.encode(definition)
        except canonical_json.BadJson as error:
            raise bad_json(str(error)) from error
        if len(text) > _LARGEST:
            raise Refusal("M_TOO_LARGE", f"A filter has at most {_LARGEST} bytes.")
        digest = hashlib.sha256(text).digest()
        number = await stored.find_id(self._database, user_id, digest)
        if number is None:
            number = await self._writer.run(
                lambda transaction: stored.add(transaction, user_id, digest, text.decode(), _FILTERS)
            )
        if number is None:
            raise Refusal("M_TOO_LARGE", f"A user has at most {_FILTERS} different filters.")
        return str(number)

    async def read(self, user_id: str, filter_id: str) -> dict[str, Any]:
        """The definition as it was uploaded; M_NOT_FOUND if there is none."""
        number = (
            int(filter_id) if filter_id.isascii() and filter_id.isdigit() and len(filter_id) < 10 else None
        )
        text = await stored.find(self._database, user_id, number) if number is not None else None
        if text is None:
            raise not_found("You have no filter of that id.")
        definition: dict[str, Any] = orjson.loads(text)
        return definition
