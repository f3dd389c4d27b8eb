"""Validates requests and answers against the Matrix specification's OpenAPI documents.

`python -m tests.spec.contract FILE` checks recorded traffic: one JSON object a line, see `check_exchange`.
"""

from __future__ import annotations

import json
import pathlib
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from urllib.parse import parse_qsl

from jsonschema import Draft202012Validator, FormatChecker
from tests.spec.operations import PROSE_PATHS, Facts, Json, Operation, Parameter, find, load, match

# Codes that stand in the prose of the specification only (client-server API, "Standard error response").
PROSE_ERRCODES = frozenset(
    [
        "M_BAD_STATE",
        "M_CANNOT_LEAVE_SERVER_NOTICE_ROOM",
        "M_CAPTCHA_INVALID",
        "M_CAPTCHA_NEEDED",
        "M_EXCLUSIVE",
        "M_GUEST_ACCESS_FORBIDDEN",
        "M_MISSING_TOKEN",
        "M_RESOURCE_LIMIT_EXCEEDED",
        "M_TERMS_NOT_SIGNED",
        "M_TOKEN_INCORRECT",
        "M_UNAUTHORIZED",
        "M_UNKNOWN_DEVICE",
        "M_USER_LIMIT_EXCEEDED",
        "M_USER_LOCKED",
        "M_USER_SUSPENDED",
        "M_WEAK_PASSWORD",
    ]
)
# Statuses that the specification gives a standard error for on any endpoint, listed there or not.
STANDARD_ERROR_STATUSES = frozenset({400, 401, 403, 404, 405, 413, 429, 500, 502, 503, 504})
ERROR_SCHEMA: Json = {
    "type": "object",
    "required": ["errcode", "error"],
    "properties": {
        "errcode": {"type": "string"},
        "error": {"type": "string", "minLength": 1},
        "retry_after_ms": {"type": "integer", "minimum": 0},
        "soft_logout": {"type": "boolean"},
    },
}
# A step of user-interactive authentication, which some operations ask for only in prose.
INTERACTIVE_SCHEMA: Json = {
    "type": "object",
    "required": ["flows", "session"],
    "properties": {
        "session": {"type": "string"},
        "params": {"type": "object"},
        "completed": {"type": "array", "items": {"type": "string"}},
        "flows": {
            "type": "array",
            "minItems": 1,
            "items": {
                "type": "object",
                "required": ["stages"],
                "properties": {"stages": {"type": "array", "items": {"type": "string"}}},
            },
        },
    },
}
# Query parameters that any request may carry (application service extensions; access_token until v1.11).
ANYWHERE = frozenset({"access_token", "user_id", "device_id"})
# Paths that the specification gives no operation for on purpose.
OUTSIDE = re.compile(
    r"/_matrix/(client|federation|app|media)/(unstable/|.*/(org|io|com|uk|net)\.)|/(?!_matrix/)"
    # An older form of the path of a server's keys.
    r"|/_matrix/key/v2/server/."
)

PATTERNS = {
    "mx-user-id": re.compile(r"@[^:\0]*:.+", re.DOTALL),
    "mx-room-id": re.compile(r"![^\0]+", re.DOTALL),
    "mx-room-alias": re.compile(r"#[^:\0]*:.+", re.DOTALL),
    "mx-event-id": re.compile(r"\$[^\0]+", re.DOTALL),
    "mx-mxc-uri": re.compile(r"mxc://[^/]+/[A-Za-z0-9_-]+"),
    "mx-server-name": re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9.-]+)(:\d{1,5})?"),
    "mx-unpadded-base64": re.compile(r"[A-Za-z0-9+/]*"),
}


class ContractViolation(AssertionError):
    """A request or answer that the specification does not allow; the text says where and why."""


def _format_checker() -> FormatChecker:
    checker = FormatChecker(formats=())
    for name, pattern in PATTERNS.items():
        checker.checks(name)(
            lambda value, p=pattern: not isinstance(value, str) or p.fullmatch(value) is not None
        )
    checker.checks("int64")(lambda value: not isinstance(value, int) or abs(value) < 2**53)
    return checker


class Contract:
    """The specification as a judge; validators are compiled at first use and kept."""

    def __init__(self, facts: Facts | None = None) -> None:
        self._facts = facts or load()
        self._errcodes = self._facts.errcodes | PROSE_ERRCODES
        self._formats = _format_checker()
        self._validators: dict[int, Draft202012Validator] = {}

    def check_request(
        self,
        api: str | None,
        method: str,
        path: str,
        query: str | Iterable[tuple[str, str]] = "",
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
    ) -> None:
        """Raises ContractViolation unless some operation of the API allows the request.

        `path` is the raw path without the query; with `api` None all APIs are searched. Paths outside the
        specification (`/_synapse/...`, unstable and vendor-named ones) pass.
        """
        found = find(api, method, path)
        if not found:
            if _is_outside(path):
                return
            raise ContractViolation(f"{method} {path}: the specification has no such operation")
        pairs = parse_qsl(query, keep_blank_values=True) if isinstance(query, str) else list(query)
        verdicts = [self._request_faults(op, given, pairs, headers or {}, body) for op, given in found]
        self._raise_unless_one_passes(verdicts, f"request {method} {path}")

    def check_response(
        self,
        api: str | None,
        method: str,
        path: str,
        status: int,
        headers: Mapping[str, str],
        body: bytes,
    ) -> None:
        """Raises ContractViolation unless some operation of the API allows the answer."""
        found = find(api, method, path)
        if not found and _is_outside(path):
            return
        if not found:
            verdicts = [self._unlisted_faults(status, body)]
        else:
            verdicts = [self._response_faults(op, status, headers, body) for op, _ in found]
        self._raise_unless_one_passes(verdicts, f"answer {status} to {method} {path}")

    def check_exchange(self, row: Mapping[str, Any], *, request: bool = True) -> None:
        """Checks a recorded request and its answer; with `request` False the answer alone.

        Fields: `method`, `path` (raw), `status` (None: no answer came); optional `api`, `query` (raw string),
        `request_headers`, `request_body`, `response_headers`, `response_body` (text, or JSON). A request that was
        refused with 400, 404 or 405 may be malformed, so only its answer is checked.
        """
        api, method, path, status = row.get("api"), row["method"], row["path"], row["status"]
        if request and status not in (400, 404, 405):
            headers, body = row.get("request_headers", {}), _octets(row.get("request_body"))
            self.check_request(api, method, path, row.get("query", ""), headers, body)
        if status is not None:
            body = _octets(row.get("response_body")) or b""
            self.check_response(api, method, path, status, row.get("response_headers", {}), body)

    def _raise_unless_one_passes(self, verdicts: Sequence[list[str]], what: str) -> None:
        if not any(faults == [] for faults in verdicts):
            best = min(verdicts, key=len)
            raise ContractViolation(f"{what} breaks the specification:\n  " + "\n  ".join(best))

    def _request_faults(
        self,
        operation: Operation,
        path_parameters: Mapping[str, str],
        query: Sequence[tuple[str, str]],
        headers: Mapping[str, str],
        body: bytes | None,
    ) -> list[str]:
        faults = []
        for parameter in operation.parameters_in("path"):
            faults += self._parameter_faults(parameter, [path_parameters[parameter.name]])
        known = operation.parameters_in("query")
        for parameter in known:
            faults += self._parameter_faults(parameter, [v for n, v in query if n == parameter.name])
        open_ended = any(parameter.schema.get("type") == "object" for parameter in known)
        names = {parameter.name for parameter in known} | ANYWHERE
        if not open_ended:
            faults += [
                f"query parameter {n!r} is unknown" for n, _ in query if n not in names and "." not in n
            ]
        given = {name.lower() for name in headers}
        if operation.access.startswith("accessToken") and "authorization" not in given:
            faults.append("no Authorization header, though the operation needs an access token")
        signature = {name.lower(): value for name, value in headers.items()}.get("authorization", "")
        is_for_servers = operation.api == "server-server" and operation.access == "signedRequest"
        if is_for_servers and not signature.startswith("X-Matrix "):
            faults.append("no X-Matrix signature, though the operation is for servers")
        return faults + self._request_body_faults(operation, body)

    def _request_body_faults(self, operation: Operation, body: bytes | None) -> list[str]:
        if operation.body is None:
            return []
        if not body:
            return ["a body is required"] if operation.body["required"] else []
        schema = operation.body["content"].get("application/json")
        return [] if schema is None else self._json_faults(schema, body)

    def _parameter_faults(self, parameter: Parameter, values: Sequence[str]) -> list[str]:
        label = f"{parameter.place} parameter {parameter.name!r}"
        kind = parameter.schema.get("type")
        if not values:
            return [f"{label} is missing"] if parameter.required and kind != "object" else []
        if kind == "object":
            return []
        if kind != "array" and len(values) > 1:
            return [f"{label} stands {len(values)} times"]
        value: Json = list(values) if kind == "array" else _coerce(values[0], kind)
        return [f"{label}: {fault}" for fault in self._faults(parameter.schema, value)]

    def _response_faults(
        self, operation: Operation, status: int, headers: Mapping[str, str], body: bytes
    ) -> list[str]:
        lowered = {name.lower(): value for name, value in headers.items()}
        faults = []
        if operation.api == "client-server" and lowered.get("access-control-allow-origin") != "*":
            faults.append("Access-Control-Allow-Origin is not *")
        listed = _listed(operation, status)
        if listed is None or (status >= 400 and self._is_standard_error(body)):
            return faults + self._unlisted_faults(status, body, known=listed is not None)
        faults += [
            f"header {name} is missing" for name in listed.get("headers", []) if name.lower() not in lowered
        ]
        schema = listed.get("content", {}).get("application/json")
        if schema is None or not _is_json_only(listed):
            return faults
        if lowered.get("content-type", "").split(";")[0].strip().lower() != "application/json":
            faults.append(f"Content-Type is {lowered.get('content-type')!r}, not application/json")
        return faults + self._json_faults(schema, body)

    def _is_standard_error(self, body: bytes) -> bool:
        """Whether the answer is a standard error rather than what the operation lists for that status.

        A 401 with `flows` is a step of user-interactive authentication, whatever errcode stands beside it.
        """
        value, fault = _decode(body)
        return fault is None and isinstance(value, dict) and "errcode" in value and "flows" not in value

    def _unlisted_faults(self, status: int, body: bytes, *, known: bool = False) -> list[str]:
        """`known`: the operation lists the status, so it need not be a standard error's."""
        if not known and status not in STANDARD_ERROR_STATUSES:
            return [f"status {status} is neither listed nor a standard error's"]
        if status == 401 and b'"flows"' in body:
            return self._json_faults(INTERACTIVE_SCHEMA, body)
        faults = self._json_faults(ERROR_SCHEMA, body)
        if faults:
            return faults
        errcode = json.loads(body)["errcode"]
        if errcode.startswith("M_") and errcode not in self._errcodes:
            return [f"errcode {errcode} is not in the specification"]
        return []

    def _json_faults(self, schema: Json, body: bytes) -> list[str]:
        value, fault = _decode(body)
        return [fault] if fault is not None else self._faults(schema, value)

    def _faults(self, schema: Json, value: Json) -> list[str]:
        validator = self._validators.get(id(schema))
        if validator is None:
            validator = Draft202012Validator(_any_of(schema), format_checker=self._formats)
            self._validators[id(schema)] = validator
        return [f"{error.json_path}: {error.message[:300]}" for error in validator.iter_errors(value)]


def _is_outside(path: str) -> bool:
    """Whether the OpenAPI documents say nothing of this path on purpose."""
    pages = any(match(template, path) is not None for template in PROSE_PATHS)
    return pages or path.startswith("/_matrix/static/") or OUTSIDE.match(path) is not None


def _any_of(schema: Json) -> Json:
    """The schema with its alternatives not exclusive.

    That of a state event's content or the whole event lists both, and a whole event is also an object like any content.
    """
    if not isinstance(schema, dict) or "oneOf" not in schema:
        return schema
    return {**{key: value for key, value in schema.items() if key != "oneOf"}, "anyOf": schema["oneOf"]}


def _listed(operation: Operation, status: int) -> Json | None:
    """What the operation lists for a status, exactly or as a class such as 3XX."""
    return operation.responses.get(str(status)) or operation.responses.get(f"{status // 100}XX")


def _is_json_only(listed: Json) -> bool:
    return set(listed.get("content", {})) == {"application/json"}


def _coerce(text: str, kind: str | None) -> Json:
    if kind == "integer" and re.fullmatch(r"-?\d{1,20}", text):
        return int(text)
    if kind == "boolean" and text in ("true", "false"):
        return text == "true"
    return text


def _decode(body: bytes) -> tuple[Json, str | None]:
    try:
        return json.loads(body), None
    except ValueError as error:
        return None, f"the body is no JSON: {error}; it begins {body[:60]!r}"


def _octets(value: Json) -> bytes | None:
    if value is None:
        return None
    return value.encode() if isinstance(value, str) else json.dumps(value).encode()


def main() -> None:
    """Checks a file of recorded traffic; exit status 1 when an answer breaks the specification.

    What clients ask for against the specification is told, but is no fault of the server.
    """
    contract, answers, requests, total = Contract(), 0, 0, 0
    with pathlib.Path(sys.argv[1]).open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, 1):
            total += 1
            row = json.loads(line)
            try:
                contract.check_exchange(row, request=False)
            except ContractViolation as violation:
                answers += 1
                print(f"{sys.argv[1]}:{number}: {violation}")
            try:
                contract.check_exchange({**row, "status": None})
            except ContractViolation as violation:
                requests += 1
                print(f"{sys.argv[1]}:{number}: {violation}")
    print(f"{total} exchanges against the specification: {answers} answers, {requests} requests of clients")
    sys.exit(1 if answers else 0)


if __name__ == "__main__":
    main()
