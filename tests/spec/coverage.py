"""Compares the server's endpoints with the specification's operations and renders docs/endpoints.md."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Protocol

from tests.spec.operations import PROSE_PATHS, Operation, load

FLOORS = {"client-server": "client_api", "server-server": "federation_api"}
"""The floor that serves an API; the other APIs are those that a homeserver calls."""

PAGES = frozenset({"/_matrix/static/"})
"""Paths below /_matrix that are pages for people."""

ACCESS = {
    "none": ("open", "optional token"),
    "optional": ("optional token",),
    "accessTokenBearer": ("token",),
    "signedRequest": ("server",),
    # What the document of timestamp_to_event says, though its prose and all others mean a signed request.
    "accessToken": ("server",),
}
"""What an endpoint may say for a security scheme of the specification, the usual word first."""


OWN_PATHS = frozenset(
    {
        "/_matrix/static/",
        "/_matrix/key/v2/server/{keyId}",
        "/_matrix/federation/v1/send_join/{roomId}/{eventId}",
        "/_matrix/federation/v1/send_leave/{roomId}/{eventId}",
    }
)
"""A page that says "this is a homeserver", where administrators of Synapse look for it; and older forms of paths that
old servers still ask."""


class Mounted(Protocol):
    """What this module reads of an endpoint."""

    @property
    def method(self) -> str: ...
    @property
    def path(self) -> str: ...
    @property
    def access(self) -> str: ...
    @property
    def rate_limit(self) -> str | None: ...
    @property
    def name(self) -> str: ...
    @property
    def file(self) -> str: ...
    @property
    def module(self) -> str: ...


def served_operations() -> dict[tuple[str, str], list[Operation]]:
    """The operations that a homeserver answers, by method and path; two can share these."""
    found: dict[tuple[str, str], list[Operation]] = defaultdict(list)
    for operation in load().operations:
        if operation.api in FLOORS:
            found[operation.method, operation.path].append(operation)
    return dict(found)


def compare(endpoints: Iterable[Mounted]) -> list[str]:
    """Sentences on what endpoints and specification disagree about; empty when they agree.

    Endpoints outside the specification (`/_synapse/...`, `/health`, unstable prefixes) are not judged.
    """
    served = served_operations()
    faults, seen = [], set()
    for endpoint in endpoints:
        key = (endpoint.method, endpoint.path)
        label = f"{endpoint.method} {endpoint.path}"
        if key in seen:
            faults.append(f"{label} is mounted twice")
        seen.add(key)
        if key in served:
            verdicts = [_disagreements(endpoint, operation) for operation in served[key]]
            faults += [f"{label}: {fault}" for fault in min(verdicts, key=len)]
        elif endpoint.path in PAGES:
            continue
        elif _must_be_specified(endpoint.path):
            faults.append(f"{label}: the specification has no such operation")
    return faults


def _must_be_specified(path: str) -> bool:
    """Whether a path that no operation has needs one."""
    return path.startswith("/_matrix/") and "/unstable/" not in path and path not in PROSE_PATHS | OWN_PATHS


def _disagreements(endpoint: Mounted, operation: Operation) -> list[str]:
    faults = []
    home = f"{FLOORS[operation.api]}.{operation.module}"
    if endpoint.module != home:
        faults.append(f"stands in {endpoint.module}, should stand in {home}")
    if endpoint.name != operation.function:
        faults.append(f"the function is {endpoint.name}, should be {operation.function}")
    allowed = ACCESS.get(_access(operation), ())
    if endpoint.access not in allowed:
        faults.append(f"access is {endpoint.access!r}, should be {' or '.join(map(repr, allowed))}")
    if (endpoint.rate_limit is not None) != operation.rate_limited:
        wanted = "is rate-limited in" if operation.rate_limited else "has no rate limit in"
        faults.append(f"rate_limit is {endpoint.rate_limit!r}, but the operation {wanted} the specification")
    return faults


def _access(operation: Operation) -> str:
    """How an operation is protected; clients sign nothing, which the document forgets in one place."""
    if operation.api == "client-server" and operation.access == "signedRequest":
        return "optional"
    return operation.access


def render(endpoints: Sequence[Mounted]) -> str:
    """The text of docs/endpoints.md: what is there and what is not yet."""
    mounted = {(endpoint.method, endpoint.path): endpoint for endpoint in endpoints}
    served = served_operations()
    lines = [
        "# Endpoints",
        "",
        f"Each operation of the Matrix specification {load().version} that a homeserver answers.",
        "Written by `tests/spec/test_endpoints.py`; don't edit. ✔ is there, ✘ is not there yet.",
    ]
    for api, floor in FLOORS.items():
        rows = {key: found for key, found in served.items() if found[0].api == api}
        done = sum(key in mounted for key in rows)
        lines += ["", f"## {api} API: {done} of {len(rows)}", "", *_table(rows, mounted, floor)]
    others = sorted(
        (endpoint for key, endpoint in mounted.items() if key not in served), key=lambda e: e.path
    )
    if others:
        lines += [
            "",
            f"## Outside the specification: {len(others)}",
            "",
            "| | method | path | module |",
            "|-|-|-|-|",
        ]
        lines += [f"| ✔ | {e.method} | `{e.path}` | `{_source(e.module)}` |" for e in others]
    return "\n".join(lines) + "\n"


def _table(
    rows: dict[tuple[str, str], list[Operation]], mounted: dict[tuple[str, str], Mounted], floor: str
) -> list[str]:
    lines = ["| | method | path | operation | module |", "|-|-|-|-|-|"]
    for key in sorted(rows, key=lambda key: (rows[key][0].module, key[1], key[0])):
        endpoint, operations = mounted.get(key), rows[key]
        mark = "✔" if endpoint is not None else "✘"
        names = ", ".join(sorted({op.name for op in operations}))
        note = " (deprecated)" if all(op.deprecated for op in operations) else ""
        source = _source(endpoint.module if endpoint is not None else f"{floor}.{operations[0].module}")
        lines.append(f"| {mark} | {key[0]} | `{key[1]}` | {names}{note} | `{source}` |")
    return lines


def _source(module: str) -> str:
    return module.replace(".", "/") + ".py"
