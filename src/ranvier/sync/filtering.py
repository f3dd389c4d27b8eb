"""The filter that a sync request names or brings along."""

from collections import OrderedDict

import orjson

from ranvier.protocol import canonical_json
from ranvier.protocol.filter_parsing import parse_filter
from ranvier.protocol.filters import NO_FILTER, Filter
from ranvier.protocol.refusal import Refusal, invalid_param, not_found
from ranvier.store import filters as store
from ranvier.store.database import Database

_KEPT = 10_000
_CHARACTERS = 2_000_000
"""Characters that all inline filters which are kept may have."""
_INLINE = 16_384
"""Characters that a filter in the query may have."""


class Filters:
    """Filters by user and id, compiled. A filter never changes once it has an id."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._kept: OrderedDict[tuple[str, str], Filter] = OrderedDict()
        self._characters = 0

    async def named(self, user_id: str, name: str | None) -> Filter:
        """The filter of an id, or of its own JSON; refuses what is neither."""
        if name is None or name == "":
            return NO_FILTER
        # Inline filters are kept by their text, as clients repeat them with every request.
        key = (user_id if not name.startswith("{") else "", name)
        found = self._kept.get(key)
        if found is None:
            found = _inline(name) if name.startswith("{") else await self._read(user_id, name)
            self._keep(key, found)
        return found

    def _keep(self, key: tuple[str, str], wanted: Filter) -> None:
        if key not in self._kept:
            self._characters += len(key[1])
        self._kept[key] = wanted
        while len(self._kept) > _KEPT or self._characters > _CHARACTERS:
            (_, name), _ = self._kept.popitem(last=False)
            self._characters -= len(name)

    async def _read(self, user_id: str, name: str) -> Filter:
        if not name.isdecimal() or len(name) > 18:
            raise invalid_param("'filter' must be the id of a filter, or a JSON object.")
        definition = await store.find(self._database, user_id, int(name))
        if definition is None:
            raise not_found(f"You have no filter {name}.")
        return parse_filter(orjson.loads(definition))


def _inline(text: str) -> Filter:
    if len(text) > _INLINE:
        raise invalid_param(f"A filter in the query may have {_INLINE} characters: upload a longer one.")
    try:
        return parse_filter(canonical_json.decode(text.encode()))
    except canonical_json.BadJson as error:
        raise Refusal("M_NOT_JSON", f"'filter' is not valid JSON: {error}.") from error
