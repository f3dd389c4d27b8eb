"""Routing on the raw path: segments are matched as they came and percent-decoded afterwards.

Matrix identifiers hold slashes and colons, so a `%2F` inside a parameter must not part the path; that is why routing
does not see the decoded one.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from urllib.parse import unquote_to_bytes

from ranvier.http.endpoints import Bound, Endpoint
from ranvier.protocol.refusal import Refusal


@dataclass(slots=True)
class _Node:
    children: dict[str, "_Node"] = field(default_factory=dict)
    parameter: "_Node | None" = None
    routes: dict[str, "Route"] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Route:
    """An endpoint, the names of its path's parameters in order, and the bound function."""

    endpoint: Endpoint
    names: tuple[str, ...]
    call: Bound


class Router:
    """A trie over path segments: literal children first, then a parameter."""

    def __init__(self, bound: Iterable[tuple[Endpoint, Bound]]) -> None:
        self._root = _Node()
        for endpoint, call in bound:
            self._add(endpoint, call)

    def _add(self, endpoint: Endpoint, call: Bound) -> None:
        node = self._root
        names = []
        for segment in endpoint.path.split("/")[1:]:
            if segment.startswith("{"):
                names.append(segment[1:-1])
                node.parameter = node.parameter or _Node()
                node = node.parameter
            else:
                node = node.children.setdefault(segment, _Node())
        if endpoint.method in node.routes:
            raise ValueError(f"two endpoints answer {endpoint.method} {endpoint.path}")
        node.routes[endpoint.method] = Route(endpoint, tuple(names), call)

    def find(self, method: str, raw_path: str) -> tuple[Route, dict[str, str]]:
        """The route and its decoded parameters; refuses unknown paths (404) and wrong methods (405)."""
        segments = raw_path.split("/")
        # COMPAT(older clients): r0 and v3 name the same operations.
        if len(segments) > 3 and segments[3] == "r0":
            segments[3] = "v3"
        values: list[str] = []
        node = self._match(self._root, segments, 1, values)
        if node is None:
            raise Refusal("M_UNRECOGNIZED", f"There is no such endpoint: {method} {raw_path[:200]}.")
        route = node.routes.get(method)
        if route is None:
            allowed = ", ".join(sorted(node.routes))
            raise Refusal("M_UNRECOGNIZED", f"This endpoint answers {allowed}, not {method[:20]}.", status=405)
        return route, dict(zip(route.names, map(_decode, values), strict=True))

    def _match(self, node: _Node, segments: list[str], depth: int, values: list[str]) -> _Node | None:
        if depth == len(segments):
            return node if node.routes else None
        segment = segments[depth]
        literal = node.children.get(segment)
        if literal is not None:
            found = self._match(literal, segments, depth + 1, values)
            if found is not None:
                return found
        if node.parameter is None:
            return None
        values.append(segment)
        found = self._match(node.parameter, segments, depth + 1, values)
        if found is None:
            values.pop()
        return found


def _decode(segment: str) -> str:
    if "%" not in segment:
        return segment
    try:
        return unquote_to_bytes(segment).decode("utf-8")
    except UnicodeDecodeError as error:
        raise Refusal("M_INVALID_PARAM", "A part of the path is not valid UTF-8 once it is percent-decoded.") from error
