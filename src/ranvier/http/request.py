"""What came in: one HTTP request, parsed as far as every endpoint needs it."""

import re
from collections.abc import AsyncIterator, Callable, Sequence
from functools import lru_cache
from typing import Any, TypeVar
from urllib.parse import unquote_plus

import msgspec

from ranvier.accounts.requester import Requester
from ranvier.http.incoming import Incoming
from ranvier.protocol import canonical_json
from ranvier.protocol.refusal import Refusal, bad_json, invalid_param

T = TypeVar("T")
Headers = Sequence[tuple[bytes, bytes]]

_QUERY_FIELDS = 100
"""Fields of a query string that are read at most."""
_OFTEN = 1000
"""Characters of a field whose decoded form is kept."""
_VALUES = 50_000
"""Values that JSON of any length may hold at most; longer than that it may hold one for each `_BYTES_A_VALUE`."""
_BYTES_A_VALUE = 64
_MISSING = re.compile(r"missing required field `([^`]+)`")


def _parse_query(query: bytes) -> dict[str, list[str]]:
    """All fields of a query string, in order of appearance by name."""
    if query.count(b"&") >= _QUERY_FIELDS:
        raise invalid_param(f"The query string has more than {_QUERY_FIELDS} fields.")
    fields: dict[str, list[str]] = {}
    try:
        for pair in query.decode("ascii").split("&"):
            if pair:
                name, _, value = pair.partition("=")
                fields.setdefault(_unquote(name), []).append(_unquote(value))
    except ValueError as error:
        raise invalid_param(f"The query string can't be read: {error}.") from error
    if b"%00" in query and any("\0" in value for values in fields.values() for value in values):
        raise invalid_param("The query string holds the character U+0000, which no value may.")
    return fields


def _unquote(text: str) -> str:
    # Most fields of a sync need no decoding, and sync is most of what comes in.
    if "%" not in text and "+" not in text:
        return text
    # A client's filter returns with each of its requests; what is longer is not kept.
    return _unquote_often(text) if len(text) <= _OFTEN else unquote_plus(text, errors="strict")


@lru_cache(maxsize=1024)
def _unquote_often(text: str) -> str:
    return unquote_plus(text, errors="strict")


class Request:
    """One request. Path parameters are percent-decoded; `requester` is set where the endpoint asks for a token,
    `origin` (a server name) where it is for servers."""

    __slots__ = (
        "_content",
        "_query",
        "_requester",
        "body",
        "client_address",
        "headers",
        "id",
        "incoming",
        "method",
        "origin",
        "parameters",
        "query_string",
        "raw_path",
        "stream",
    )

    def __init__(
        self,
        method: str,
        raw_path: bytes,
        query_string: bytes,
        headers: Headers,
        client_address: str,
        incoming: Incoming,
    ) -> None:
        self.method = method
        self.raw_path = raw_path
        self.query_string = query_string
        self.headers = headers
        self.client_address = client_address
        self.incoming = incoming
        self.id = ""
        self.origin = ""
        self.parameters: dict[str, str] = {}
        self.body = b""
        self.stream: Callable[[], AsyncIterator[bytes]] | None = None
        self._content: dict[str, Any] | None = None
        self._query: dict[str, list[str]] | None = None
        self._requester: Requester | None = None

    def header(self, name: bytes) -> str | None:
        """The first header of that (lower-case) name."""
        for key, value in self.headers:
            if key == name:
                return value.decode("latin-1")
        return None

    def when_gone(self, call: Callable[[], None] | None) -> None:
        """Call this, on the loop, if the client hangs up before it has its answer; `None` takes it back.

        For requests that wait long: nothing else tells them.
        """
        self.incoming.when_gone = call
        if call is not None and self.incoming.is_gone:
            call()

    @property
    def is_gone(self) -> bool:
        """Whether the client hung up."""
        return self.incoming.is_gone

    @property
    def requester(self) -> Requester:
        """Who asks; only for endpoints with access by token."""
        if self._requester is None:
            raise Refusal(
                "M_MISSING_TOKEN",
                "This needs an access token: log in, and send it as 'Authorization: Bearer …'.",
            )
        return self._requester

    @requester.setter
    def requester(self, value: Requester) -> None:
        self._requester = value

    @property
    def requester_or_none(self) -> Requester | None:
        """Who asks, where a token is optional."""
        return self._requester

    def query_values(self, name: str) -> list[str]:
        """All values of a query field."""
        if self._query is None:
            self._query = _parse_query(self.query_string)
        return self._query.get(name, [])

    def query(self, name: str) -> str | None:
        """The last value of a query field, if there is one."""
        values = self.query_values(name) if self.query_string else ()
        return values[-1] if values else None

    def query_required(self, name: str) -> str:
        """The value of a query field that the specification demands."""
        value = self.query(name)
        if value is None:
            raise Refusal("M_MISSING_PARAM", f"The query parameter '{name}' is missing.")
        return value

    def query_int(self, name: str, default: int, *, least: int = 0, most: int | None = None) -> int:
        """A whole number from the query; too large a value is cut to `most`, a bad one refused."""
        text = self.query(name)
        if text is None:
            return default
        try:
            value = int(text) if len(text) <= 20 else None
        except ValueError:
            value = None
        if value is None or value < least:
            raise invalid_param(f"The query parameter '{name}' must be a whole number of at least {least}.")
        return value if most is None else min(value, most)

    def query_bool(self, name: str, default: bool = False) -> bool:
        """`true` or `false` from the query."""
        text = self.query(name)
        if text is None:
            return default
        if text not in ("true", "false"):
            raise invalid_param(f"The query parameter '{name}' must be 'true' or 'false'.")
        return text == "true"

    def json(self) -> dict[str, Any]:
        """The body as a JSON object, exactly: no duplicate keys, NaN or oversized numbers, bounded depth and count."""
        return self._object(lossy_integers=False)

    def _object(self, *, lossy_integers: bool) -> dict[str, Any]:
        self._check_count()
        try:
            value = canonical_json.decode(self.body, lossy_integers=lossy_integers)
        except canonical_json.BadJson as error:
            raise Refusal(error.errcode, f"The body can't be read: {str(error).rstrip('.')}.") from error
        if not isinstance(value, dict):
            raise bad_json("The body must be a JSON object.")
        return value

    def content(self) -> dict[str, Any]:
        """The body of another server's request, read once: an integer that no event may have is read as a float.

        So in a transaction only the event fails that holds it. Nobody may change what this gives.
        """
        if self._content is None:
            self._content = self._object(lossy_integers=True)
        return self._content

    def _check_count(self) -> None:
        """Refuse bodies of very many tiny values: looking at each would keep all others waiting."""
        body = self.body
        if len(body) > 2 * _VALUES:
            # Within texts these count too, which is no matter where there are so many.
            values = body.count(b",") + body.count(b"{") + body.count(b"[")
            if values > max(_VALUES, len(body) // _BYTES_A_VALUE):
                raise Refusal("M_TOO_LARGE", f"The body holds {values} values, which is too many.")

    def json_or_empty(self) -> dict[str, Any]:
        """Like `json`, for operations whose body may be left out."""
        return self.json() if self.body.strip() else {}

    def read(self, shape: type[T], *, optional: bool = False) -> T:
        """The body as a `shape` (a msgspec Struct); wrong types and missing keys are refused by name."""
        value = self.json_or_empty() if optional else self.json()
        if b"\\u0000" in self.body and _holds_null(value):
            raise bad_json("The body holds the character U+0000, which no text here may.")
        try:
            return msgspec.convert(value, shape)
        except msgspec.ValidationError as error:
            missing = _MISSING.search(str(error))
            if missing:
                raise Refusal("M_MISSING_PARAM", f"The body lacks '{missing[1]}': {error}.") from error
            raise bad_json(f"The body is not of the expected form: {error}.") from error


def _holds_null(value: Any) -> bool:
    """Whether a text in the value holds U+0000; the nesting is bounded by what `json` reads."""
    if isinstance(value, str):
        return "\0" in value
    if isinstance(value, dict):
        return any("\0" in key or _holds_null(item) for key, item in value.items())
    return isinstance(value, list) and any(map(_holds_null, value))
