"""Routing on the raw path: segments are matched as they came and percent-decoded afterwards.

Matrix identifiers hold slashes and colons, so a `%2F` inside a parameter must not part the path; that is why routing
does not see the decoded one.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import lru_cache
from urllib.parse import unquote_to_bytes

from ranvier.http.endpoints import Bound, Endpoint, bind
from ranvier.http.limits import Bucket, Limits
from ranvier.http.metrics import Traffic
from ranvier.protocol.refusal import Refusal, invalid_param

_IDENTIFIER = 300
_SEGMENTS = 32
"""Segments of a path at most; the specification's longest has eleven."""


@dataclass(slots=True)
class _Node:
    children: dict[str, "_Node"] = field(default_factory=dict)
    parameter: "_Node | None" = None
    routes: dict[str, "Route"] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Route:
    """An endpoint, the names of its path's parameters in order, the bound function, its limit, and its figures."""

    endpoint: Endpoint
    names: tuple[str, ...]
    call: Bound
    bucket: Bucket | None
    traffic: Traffic


def route_of(endpoint: Endpoint, collaborators: dict[type, object], limits: Limits) -> Route:
    """The endpoint in place; raises `LookupError` for a collaborator or a limit that does not exist."""
    bucket = limits.bucket(endpoint.rate_limit) if endpoint.rate_limit is not None else None
    names = tuple(part[1:-1] for part in endpoint.path.split("/") if part.startswith("{"))
    return Route(endpoint, names, bind(endpoint, collaborators), bucket, Traffic())


class Router:
    """A trie over path segments: literal children first, then a parameter."""

    def __init__(self, routes: Iterable[Route]) -> None:
        self._root = _Node()
        for route in routes:
            self._add(route.endpoint.path, route)

    def _add(self, path: str, route: Route) -> None:
        node = self._root
        for segment in path.split("/")[1:]:
            if segment.startswith("{"):
                node.parameter = node.parameter or _Node()
                node = node.parameter
            else:
                node = node.children.setdefault(segment, _Node())
        method = route.endpoint.method
        if method in node.routes:
            raise ValueError(f"two endpoints answer {method} {path}")
        node.routes[method] = route
        if path.endswith("/{stateKey}"):
            # An empty state key may leave out its slash.
            self._add(path.removesuffix("/{stateKey}"), route)

    def find(self, method: str, raw_path: str) -> tuple[Route, dict[str, str]]:
        """The route and its decoded parameters; refuses unknown paths (404) and wrong methods (405).

        HEAD finds the route of GET.
        """
        values: list[str] = []
        node = self._descend(raw_path, values)
        if node is None:
            raise Refusal("M_UNRECOGNIZED", f"There is no such endpoint: {method} {raw_path[:200]}.")
        route = node.routes.get(method) or (node.routes.get("GET") if method == "HEAD" else None)
        if route is None:
            allowed = ", ".join(sorted(node.routes))
            raise Refusal(
                "M_UNRECOGNIZED", f"This endpoint answers {allowed}, not {method[:20]}.", status=405
            )
        if len(values) < len(route.names):
            values.append("")
        return route, dict(zip(route.names, map(_decode, values), strict=True))

    def _descend(self, raw_path: str, values: list[str]) -> _Node | None:
        segments = raw_path.split("/")
        if len(segments) > _SEGMENTS:
            return None
        # COMPAT(older clients): r0 and v3 name the same operations.
        if len(segments) > 3 and segments[3] == "r0":
            segments[3] = "v3"
        node = self._match(self._root, segments, 1, values)
        if node is None and len(segments) > 2:
            # COMPAT(older clients): a slash at the end more or less than the specification prints.
            values.clear()
            other = segments[:-1] if segments[-1] == "" else [*segments, ""]
            node = self._match(self._root, other, 1, values)
        return node

    def _match(self, node: _Node, segments: list[str], depth: int, values: list[str]) -> _Node | None:
        if depth == len(segments):
            return node if node.routes else None
        segment = segments[depth]
        literal = node.children.get(segment)
        if literal is not None:
            found = self._match(literal, segments, depth + 1, values)
            if found is not None or node.parameter is None:
                return found
        elif node.parameter is None:
            return None
        values.append(segment)
        found = self._match(node.parameter, segments, depth + 1, values)
        if found is None:
            values.pop()
        return found


def _decode(segment: str) -> str:
    if "%" not in segment:
        return segment
    # Identifiers return again and again; what is longer than one is not kept.
    return _unquote_often(segment) if len(segment) <= _IDENTIFIER else _unquote(segment)


def _unquote(segment: str) -> str:
    try:
        text = unquote_to_bytes(segment).decode("utf-8")
    except UnicodeDecodeError as error:
        raise invalid_param("A part of the path is not valid UTF-8 once it is percent-decoded.") from error
    if "\0" in text:
        raise invalid_param("A part of the path holds the character U+0000, which no identifier may.")
    return text


_unquote_often = lru_cache(maxsize=8192)(_unquote)
