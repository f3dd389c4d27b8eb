"""What came in: one HTTP request, parsed as far as every endpoint needs it."""

import re
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any, TypeVar
from urllib.parse import parse_qs

import msgspec

from ranvier.accounts.requester import Requester
from ranvier.protocol import canonical_json
from ranvier.protocol.refusal import Refusal, bad_json, invalid_param

T = TypeVar("T")
Headers = Sequence[tuple[bytes, bytes]]

_QUERY_FIELDS = 100
"""Fields of a query string that are read at most."""
_MISSING = re.compile(r"missing required field `([^`]+)`")


class Request:
    """One request. Path parameters are percent-decoded; `requester` is set where the endpoint asks for a token."""

    __slots__ = (
        "_query",
        "_requester",
        "body",
        "client_address",
        "headers",
        "id",
        "method",
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
        request_id: str,
    ) -> None:
        self.method = method
        self.raw_path = raw_path
        self.query_string = query_string
        self.headers = headers
        self.client_address = client_address
        self.id = request_id
        self.parameters: dict[str, str] = {}
        self.body = b""
        self.stream: Callable[[], AsyncIterator[bytes]] | None = None
        self._query: dict[str, list[str]] | None = None
        self._requester: Requester | None = None

    def header(self, name: bytes) -> str | None:
        """The first header of that (lower-case) name."""
        for key, value in self.headers:
            if key == name:
                return value.decode("latin-1")
        return None

    @property
    def requester(self) -> Requester:
        """Who asks; only for endpoints with access by token."""
        if self._requester is None:
            raise Refusal(
                "M_MISSING_TOKEN", "This needs an access token: log in, and send it as 'Authorization: Bearer …'."
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
            try:
                self._query = parse_qs(
                    self.query_string.decode("ascii"),
                    keep_blank_values=True,
                    errors="strict",
                    max_num_fields=_QUERY_FIELDS,
                )
            except ValueError as error:
                raise invalid_param(f"The query string can't be read: {error}.") from error
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
        """The body as a JSON object, exactly: no duplicate keys, no NaN, no oversized numbers, bounded depth."""
        try:
            value = canonical_json.decode(self.body)
        except canonical_json.BadJson as error:
            raise Refusal("M_NOT_JSON", f"The body is not valid JSON: {error}.") from error
        if not isinstance(value, dict):
            raise bad_json("The body must be a JSON object.")
        return value

    def json_or_empty(self) -> dict[str, Any]:
        """Like `json`, for operations whose body may be left out."""
        return self.json() if self.body.strip() else {}

    def read(self, shape: type[T], *, optional: bool = False) -> T:
        """The body as a `shape` (a msgspec Struct); wrong types and missing keys are refused by name."""
        value = self.json_or_empty() if optional else self.json()
        try:
            return msgspec.convert(value, shape)
        except msgspec.ValidationError as error:
            missing = _MISSING.search(str(error))
            if missing:
                raise Refusal("M_MISSING_PARAM", f"The body lacks '{missing[1]}': {error}.") from error
            raise bad_json(f"The body is not of the expected form: {error}.") from error
