"""Server discovery, step by step, as the specification numbers it."""

from collections import Counter
from collections.abc import Mapping, Sequence
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ranvier.protocol.identifiers import BadIdentifier
from ranvier.protocol.server_discovery import (
    DEFAULT_LIFETIME_MS,
    LONGEST_LIFETIME_MS,
    SHORTEST_LIFETIME_MS,
    Discovery,
    NeedSrv,
    NeedWellKnown,
    Route,
    SrvRecord,
    Target,
    error_lifetime,
    in_order,
    lifetime_of,
    parse_well_known,
)

NOW = 1_700_000_000_000
MINUTE_MS = 60_000


def route_to(
    name: str, m_server: str | None = None, services: Mapping[str, Sequence[SrvRecord]] | None = None
) -> tuple[Route, list[str]]:
    """The route of a name in a small world, and what was asked on the way."""
    discovery, asked = Discovery(name), []
    while not isinstance(step := discovery.next_step(), Route):
        if isinstance(step, NeedWellKnown):
            asked.append(step.host)
            discovery.tell_well_known(m_server)
        else:
            assert isinstance(step, NeedSrv)
            asked.append(step.name)
            discovery.tell_srv((services or {}).get(step.name, ()))
    return step, asked


SRV = [SrvRecord(10, 0, 443, "srv.test")]
AT_SRV = (Target("srv.test", 443),)


@pytest.mark.parametrize(
    ("name", "m_server", "services", "route", "asked"),
    [
        ("1.2.3.4", None, {}, Route("1.2.3.4", "1.2.3.4", (Target("1.2.3.4", 8448),)), []),
        ("1.2.3.4:5", None, {}, Route("1.2.3.4:5", "1.2.3.4", (Target("1.2.3.4", 5),)), []),
        ("[::1]", None, {}, Route("[::1]", "::1", (Target("::1", 8448),)), []),
        ("[::1]:5", None, {}, Route("[::1]:5", "::1", (Target("::1", 5),)), []),
        ("a.test:5", None, {}, Route("a.test:5", "a.test", (Target("a.test", 5),)), []),
        ("a.test", "1.2.3.4", {}, Route("1.2.3.4", "1.2.3.4", (Target("1.2.3.4", 8448),)), ["a.test"]),
        ("a.test", "[::1]:5", {}, Route("[::1]:5", "::1", (Target("::1", 5),)), ["a.test"]),
        ("a.test", "b.test:5", {}, Route("b.test:5", "b.test", (Target("b.test", 5),)), ["a.test"]),
        (
            "a.test",
            "b.test",
            {"_matrix-fed._tcp.b.test": SRV},
            Route("b.test", "b.test", AT_SRV),
            ["a.test", "_matrix-fed._tcp.b.test"],
        ),
        (
            "a.test",
            "b.test",
            {"_matrix._tcp.b.test": SRV, "_matrix-fed._tcp.a.test": SRV},
            Route("b.test", "b.test", AT_SRV),
            ["a.test", "_matrix-fed._tcp.b.test", "_matrix._tcp.b.test"],
        ),
        (
            "a.test",
            "b.test",
            {},
            Route("b.test", "b.test", (Target("b.test", 8448),)),
            ["a.test", "_matrix-fed._tcp.b.test", "_matrix._tcp.b.test"],
        ),
        (
            "a.test",
            None,
            {"_matrix-fed._tcp.a.test": SRV},
            Route("a.test", "a.test", AT_SRV),
            ["a.test", "_matrix-fed._tcp.a.test"],
        ),
        (
            "a.test",
            None,
            {"_matrix._tcp.a.test": SRV},
            Route("a.test", "a.test", AT_SRV),
            ["a.test", "_matrix-fed._tcp.a.test", "_matrix._tcp.a.test"],
        ),
        (
            "a.test",
            None,
            {},
            Route("a.test", "a.test", (Target("a.test", 8448),)),
            ["a.test", "_matrix-fed._tcp.a.test", "_matrix._tcp.a.test"],
        ),
        (
            "a.test",
            None,
            {"_matrix-fed._tcp.a.test": [SrvRecord(0, 0, 0, "")]},
            Route("a.test", "a.test", ()),
            ["a.test", "_matrix-fed._tcp.a.test"],
        ),
    ],
)
def test_a_name_leads_where_the_specification_says(
    name: str,
    m_server: str | None,
    services: Mapping[str, Sequence[SrvRecord]],
    route: Route,
    asked: list[str],
) -> None:
    assert route_to(name, m_server, services) == (route, asked)


def test_what_is_no_server_name_has_no_route() -> None:
    for name in ("", "a b", "https://a.test", "a.test:123456", "[nonsense]"):
        with pytest.raises(BadIdentifier):
            Discovery(name)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b'{"m.server": 1}',
        b'{"m.server": "https://a.test"}',
        b'{"m.server": "a.test:99999"}',
        b'{"m.server": ""}',
        b'{"m.server": "a.test", "x": "' + b"y" * 60_000 + b'"}',
        b"\xff",
    ],
)
def test_a_document_that_is_not_valid_delegates_to_nobody(body: bytes) -> None:
    assert parse_well_known(body) is None


def test_a_valid_document_delegates() -> None:
    assert parse_well_known(b'{"m.server": "b.test:443", "more": 1}') == "b.test:443"


@given(st.binary(max_size=200))
def test_no_document_ends_in_an_error(body: bytes) -> None:
    parse_well_known(body)


@pytest.mark.parametrize(
    ("headers", "lifetime"),
    [
        ({}, DEFAULT_LIFETIME_MS),
        ({"cache-control": "public, max-age=3600"}, 60 * MINUTE_MS),
        ({"cache-control": 'Max-Age="7200"'}, 120 * MINUTE_MS),
        ({"cache-control": "max-age=1"}, SHORTEST_LIFETIME_MS),
        ({"cache-control": "max-age=999999999"}, LONGEST_LIFETIME_MS),
        ({"cache-control": "no-store, max-age=3600"}, SHORTEST_LIFETIME_MS),
        ({"cache-control": "s-max-age=5, private"}, DEFAULT_LIFETIME_MS),
        ({"expires": "Tue, 14 Nov 2023 23:13:20 GMT"}, 60 * MINUTE_MS),
        ({"expires": "0"}, SHORTEST_LIFETIME_MS),
        ({"expires": "nonsense"}, SHORTEST_LIFETIME_MS),
    ],
)
def test_a_document_counts_as_long_as_it_says_within_bounds(
    headers: Mapping[str, str], lifetime: int
) -> None:
    assert lifetime_of(headers, NOW) == lifetime


def test_failures_count_longer_each_time_and_an_hour_at_most() -> None:
    lifetimes = [error_lifetime(failures, is_temporary=True) // MINUTE_MS for failures in (1, 2, 3, 6, 1000)]
    assert lifetimes == [2, 4, 8, 60, 60]
    assert error_lifetime(1, is_temporary=False) == 60 * MINUTE_MS


def test_records_are_tried_by_priority_and_within_it_as_often_as_their_weights_say() -> None:
    records = [SrvRecord(2, 0, 1, "last"), SrvRecord(1, 30, 1, "often"), SrvRecord(1, 10, 1, "seldom")]
    random = Random(1)
    firsts: Counter[str] = Counter()
    for _ in range(2000):
        ordered = in_order(records, [random.random() for _ in records])
        assert sorted(ordered) == sorted(records)
        assert ordered[-1].target == "last"
        firsts[ordered[0].target] += 1
    assert 0.68 < firsts["often"] / 2000 < 0.82
