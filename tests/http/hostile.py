"""Requests as somebody with bad intent makes them: sound ones, in which something is broken.

What a sound one looks like stands in the specification's own schemas; what is broken, chance decides.
"""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from tests.spec.operations import Operation, load

from ranvier.http.endpoints import Endpoint

Known = Mapping[str, Sequence[str]]
"""What exists, by the name of the parameter or key that may name it."""

LONE_SURROGATE = "\ud800"
# fmt: off
BAD_VALUES: tuple[Any, ...] = (
    None, True, False, 0, -1, 2**31, 2**53, -(2**53), 2**63 - 1, 2**63, 2**64, 10**40, -(10**40), 0.5, -0.0, 1e308,
    float("nan"), float("inf"), "", " ", "\0", "a\0b", LONE_SURROGATE, "\u202e", "\r\na: b", "ß" * 200, "x" * 256,
    "x" * 70_000, "'--", "@", "@:", "@a:", "@a:b:c", "!", "#", "#:", "$", "*", "mxc://", "mxc:///..",
    "../../etc/passwd", "%00", "{}", "1", "<script>alert(1)</script>", [], {}, [None], [[]], [{}], {"": ""}, {"\0": 1},
    {LONE_SURROGATE: 1}, {"@a:b": {"*": {}}}, ["x"] * 3000, [0] * 3000, {str(n): {} for n in range(3000)},
)
BAD_SEGMENTS = (
    "", "%00", "a%00b", "%FF", "%C0%80", "%ED%A0%80", "..", "%2e%2e", "..%2F..%2Fetc%2Fpasswd", "%2F", "%", "%zz",
    "%0d%0aa:b", "*", "-1", "0", "1.5", "null", "%20", "@", "@:", "@a:", "!", "%23", "%23:", "$", "%40a%3Ab%3Ac", "<b>",
    "%E2%80%AE", "'--", "~", ";a=b", "a;b", "x" * 256, "x" * 3000, "x" * 20_000, "%F0%9F%90%88" * 300, "9" * 18,
    "9" * 30,
)
BAD_QUERIES = (
    "", "-1", "0", "1.5", "1e3", "NaN", "%D9%A1%D9%A2", "1_0", "+1", "true", "null", "%00", "%FF", "%ED%A0%80", "%",
    "t1", "t_1_2", "s1_2_3", "t-1", "..", "{}", "[]", "%7B%22limit%22%3A-1%7D", "%7B%22limit%22%3A1e99%7D",
    "%7B%22types%22%3A%5B1%5D%7D", "%7B%22a%22%3A1%2C%22a%22%3A2%7D", "9" * 19, "9" * 20, "9" * 30,
    "%5B" * 2000, "x" * 300, "x" * 9000,
)
BAD_TEXTS = (
    b"", b" ", b"{", b"[]", b"null", b'"x"', b"1", b"{}{}", b"{} x", b"\xff\xfe", b'{"a":"\xff"}', b'{"a":"\\ud800"}',
    b'{"a":NaN}', b'{"a":1e999}', b'{"a":01}', b'{"a":1,}', b"{'a':1}", b"\xef\xbb\xbf{}", b'{"a":"\x00"}',
    b'{"a":1,"a":2}', b'{"\\u0061":1,"a":2}', '{"a":1}'.encode("utf-16"), b'{"a":' * 300 + b"1" + b"}" * 300,
    b"[" * 100_000, b'{"a":' * 100_000, b"x" * 1_100_000, b"token=a&" * 30, b"password=%00%FF",
)
# fmt: on
_WAITING = ("timeout", "timeout_ms")
_NUMBERS = (0, 1, 5)
_DEPTH = 8


@dataclass(frozen=True, slots=True)
class Attack:
    """One request; `path` and `query` are raw."""

    method: str
    path: str
    query: str
    body: bytes | None
    token: str

    def __str__(self) -> str:
        body = None if self.body is None else self.body[:600]
        return f"{self.method} {self.path[:300]}?{self.query[:300]} body={body!r}"


class Attacker:
    """Makes requests for endpoints, by chance."""

    def __init__(self, chance: random.Random, known: Known) -> None:
        self._chance = chance
        self.known = known

    def attack(self, endpoint: Endpoint, token: str, *, breaks: bool = True) -> Attack:
        """A request to the endpoint; with `breaks`, something about it is wrong."""
        chance, operation = self._chance, self._operation(endpoint)
        where = chance.choice(["path", "query", "body", "body", "body", "text"]) if breaks else ""
        path = self._path(endpoint.path, broken=where == "path")
        query = self._query(operation, broken=where == "query")
        body = None
        if endpoint.method != "GET":
            value = self._body(operation)
            if where == "body":
                value = self._break(value)
            body = chance.choice(BAD_TEXTS) if where == "text" else self._encode(value)
        return Attack(endpoint.method, path, query, body, token)

    def _operation(self, endpoint: Endpoint) -> Operation | None:
        """What the specification says of the endpoint, if it knows it."""
        known = [op for op in load().operations if (op.method, op.path) == (endpoint.method, endpoint.path)]
        return self._chance.choice(known) if known else None

    def _path(self, template: str, *, broken: bool) -> str:
        segments = template.split("/")
        holes = [n for n, segment in enumerate(segments) if segment.startswith("{")]
        for n in holes:
            segments[n] = quote(self._known_text(segments[n][1:-1]), safe="")
        if broken and holes:
            segments[self._chance.choice(holes)] = self._chance.choice(BAD_SEGMENTS)
        return "/".join(segments)

    def _query(self, operation: Operation | None, *, broken: bool) -> str:
        chance, pairs = self._chance, []
        known = operation.parameters_in("query") if operation is not None else []
        if operation is None:
            pairs = [(name, quote(self._known_text(name), safe="")) for name in ("session", "valid")]
        for parameter in known:
            if parameter.name in _WAITING or not (parameter.required or chance.random() < 0.4):
                continue
            pairs.append(
                (parameter.name, quote(self._text(self._sound(parameter.schema, parameter.name)), safe=""))
            )
        if broken and pairs:
            n = chance.randrange(len(pairs))
            bad = (pairs[n][0], chance.choice(BAD_QUERIES))
            pairs = chance.choice(
                [[*pairs[:n], bad, *pairs[n + 1 :]], [*pairs, bad], pairs[:n] + pairs[n + 1 :]]
            )
        elif broken:
            pairs = [(chance.choice(BAD_SEGMENTS), chance.choice(BAD_QUERIES))] * chance.choice([1, 2, 200])
        # Whoever may wait long does not, whatever else is wrong.
        pairs += [(parameter.name, "0") for parameter in known if parameter.name in _WAITING]
        return "&".join(f"{name}={value}" for name, value in pairs)

    def _body(self, operation: Operation | None) -> Any:
        content = (operation.body or {}).get("content", {}) if operation is not None else {}
        schema = content.get("application/json")
        if schema is None:
            return {name: self._known_text(name) for name in self._chance.sample(sorted(self.known), 4)}
        return self._sound(schema, "")

    @staticmethod
    def _text(value: Any) -> str:
        return value if isinstance(value, str) else json.dumps(value)

    def _known_text(self, name: str) -> str:
        return self._chance.choice(self.known.get(name) or self.known[""])

    def _sound(self, schema: Any, name: str, depth: int = 0) -> Any:
        """A value of the schema, which names things that exist where it can."""
        chance = self._chance
        schema = schema if isinstance(schema, dict) else {}
        for alternatives in ("oneOf", "anyOf"):
            if alternatives in schema:
                return self._sound(chance.choice(schema[alternatives]), name, depth)
        if "enum" in schema:
            return chance.choice(schema["enum"])
        kind = schema.get("type")
        kind = chance.choice(kind) if isinstance(kind, list) else kind
        if kind == "object" or "properties" in schema or "allOf" in schema:
            return self._sound_object(schema, depth)
        if kind == "array":
            return [self._sound(schema.get("items"), name, depth + 1) for _ in range(chance.randint(0, 2))]
        if kind in ("integer", "number"):
            return chance.choice(_NUMBERS)
        if kind == "boolean":
            return chance.random() < 0.5
        return self._known_text(name)

    def _sound_object(self, schema: dict[str, Any], depth: int) -> dict[str, Any]:
        chance, made = self._chance, {}
        for part in schema.get("allOf", ()):
            made |= self._sound_object(part, depth)
        required = schema.get("required", ())
        for key, value in schema.get("properties", {}).items():
            if depth < _DEPTH and (key in required or chance.random() < 0.6):
                made[key] = self._sound(value, key, depth + 1)
        others = schema.get("additionalProperties")
        if isinstance(others, dict) and depth < _DEPTH:
            for _ in range(chance.randint(0, 2)):
                made[self._known_text("a key")] = self._sound(others, "", depth + 1)
        return made

    def _break(self, value: Any) -> Any:
        """The value with one place in it changed, or with a place less or more."""
        value = copy.deepcopy(value)
        places = list(_places(value))
        if not places or self._chance.random() < 0.05:
            return self._chance.choice(BAD_VALUES)
        for _ in range(self._chance.choice([1, 1, 1, 3])):
            container, key = self._chance.choice(places)
            deed = self._chance.random()
            if deed < 0.15 and isinstance(container, dict):
                container.pop(key, None)
            elif deed < 0.25 and isinstance(container, dict):
                container[self._chance.choice(["", "\0", "x" * 300, LONE_SURROGATE, "a.b"])] = container.get(
                    key
                )
            else:
                container[key] = copy.deepcopy(self._chance.choice(BAD_VALUES))
        return value

    def _encode(self, value: Any) -> bytes:
        if self._chance.random() < 0.5:
            return json.dumps(value).encode()
        return json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogatepass")


def _places(value: Any) -> list[tuple[Any, Any]]:
    """Every place of a nested value: its container, and key or index."""
    found: list[tuple[Any, Any]] = []
    containers = [value]
    while containers:
        container = containers.pop()
        keys = (
            list(container)
            if isinstance(container, dict)
            else range(len(container))
            if isinstance(container, list)
            else ()
        )
        for key in keys:
            found.append((container, key))
            containers.append(container[key])
    return found
