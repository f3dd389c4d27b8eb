"""The operations of the Matrix specification, as loaded from data/operations.json.gz."""

from __future__ import annotations

import functools
import gzip
import json
import pathlib
import re
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

DATA = pathlib.Path(__file__).parent / "data" / "operations.json.gz"

PROSE_PATHS = frozenset(
    {
        "/_matrix/client/v3/auth/{authType}/fallback/web",
        "/_matrix/static/client/login/",
        "/_matrix/static/client/register/",
    }
)
"""Paths that the prose of the client-server API gives (pages for browsers) and its OpenAPI documents don't."""

Json = Any


@dataclass(frozen=True, slots=True)
class Parameter:
    """A path, query or header parameter of an operation."""

    place: str
    name: str
    required: bool
    schema: Json


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation of one API, by the specification's own words."""

    api: str
    method: str
    path: str
    name: str
    file: str
    access: str
    rate_limited: bool
    deprecated: bool
    added: str | None
    parameters: tuple[Parameter, ...]
    body: Json | None
    responses: dict[str, Json]

    @property
    def module(self) -> str:
        """The source file's name as a module: "client-server/room_send.yaml" is "room_send"."""
        return pathlib.PurePosixPath(self.file).stem.replace("-", "_")

    @property
    def function(self) -> str:
        """The operationId in snake case: "getPushRulesAll" is "get_push_rules_all"."""
        return snake_case(self.name)

    def parameters_in(self, place: str) -> list[Parameter]:
        return [parameter for parameter in self.parameters if parameter.place == place]


@dataclass(frozen=True, slots=True)
class Facts:
    version: str
    errcodes: frozenset[str]
    operations: tuple[Operation, ...]


def snake_case(name: str) -> str:
    """An operationId as a Python name: "requestTokenTo3PIDEmail" is "request_token_to_3pid_email"."""
    words = re.sub("3PID(s?)", r"_3pid\1_", name, flags=re.IGNORECASE)
    words = re.sub(r"([A-Z]+)([A-Z][a-z])", r"\1_\2", words)
    words = re.sub(r"([a-z0-9])([A-Z])", r"\1_\2", words)
    return re.sub("_+", "_", words).strip("_").lower()


@functools.cache
def load() -> Facts:
    """The facts of the specification; parsed once for a test run, never changed."""
    raw = json.loads(gzip.decompress(DATA.read_bytes()))
    return Facts(
        version=raw["version"],
        errcodes=frozenset(raw["errcodes"]),
        operations=tuple(_operation(row) for row in raw["operations"]),
    )


def _amend(schema: Json) -> Json:
    """The schema without the demand that an event names its `origin`.

    The server-server API's schemas of invites and templates demand it; no room version's event format has it (it is
    in none of "Event format" of versions 1 to 12), and servers leave it out.
    """
    if isinstance(schema, list):
        return [_amend(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    amended = {key: _amend(part) for key, part in schema.items()}
    demanded = amended.get("required")
    if isinstance(demanded, list) and {"origin", "sender", "type"} <= set(demanded):
        amended["required"] = [name for name in demanded if name != "origin"]
    return amended


def _allow_null(schema: Json) -> Json:
    """The schema of `joined_members` with null for a name or avatar that is not set.

    The specification leaves the keys out; Synapse and Dendrite answer them, so that clients know no other form, and
    Complement asks for them (docs/decisions/0088-where-complement-decides.md).
    """
    if not isinstance(schema, dict):
        return schema
    allowed = {key: _allow_null(part) for key, part in schema.items()}
    for name in ("avatar_url", "display_name"):
        if name in allowed:
            allowed[name] = {**allowed[name], "type": [allowed[name]["type"], "null"]}
    return allowed


def _operation(row: Json) -> Operation:
    if row["api"] == "server-server":
        row = {**row, "body": _amend(row.get("body")), "responses": _amend(row["responses"])}
    if row["name"] == "getJoinedMembersByRoom":
        row = {**row, "responses": _allow_null(row["responses"])}
    parameters = tuple(Parameter(p["in"], p["name"], p["required"], p["schema"]) for p in row["parameters"])
    kept = ("api", "method", "path", "name", "file", "access", "rate_limited", "deprecated", "added")
    return Operation(
        **{key: row[key] for key in kept},
        parameters=parameters,
        body=row.get("body"),
        responses=row["responses"],
    )


def match(template: str, raw_path: str) -> dict[str, str] | None:
    """The decoded path parameters, when the raw (percent-encoded) path fits the template.

    A segment is split off before it is decoded, so `%2F` stays inside its parameter. An empty last parameter
    may lose its slash, as the specification allows for an empty state key.
    """
    wanted, got = template.split("/"), raw_path.split("/")
    if len(got) == len(wanted) - 1 and wanted[-1] == "{stateKey}":
        got.append("")
    if len(wanted) != len(got):
        return None
    found: dict[str, str] = {}
    for expected, actual in zip(wanted, got, strict=True):
        if expected.startswith("{"):
            found[expected[1:-1]] = unquote(actual)
        elif expected != actual:
            return None
    return found


def find(api: str | None, method: str, raw_path: str) -> list[tuple[Operation, dict[str, str]]]:
    """The operations that a request may mean, with path parameters; those with fewer parameters win.

    Two operations can share method and path (an invitation by user id and one by third-party identifier).
    """
    found = []
    for operation in load().operations:
        if operation.method == method and api in (None, operation.api):
            parameters = match(operation.path, raw_path)
            if parameters is not None:
                found.append((operation, parameters))
    if not found:
        return []
    fewest = min(len(parameters) for _, parameters in found)
    return [pair for pair in found if len(pair[1]) == fewest]
