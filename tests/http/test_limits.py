"""Rate limits: what counts together, when a call is allowed again, and what memory it costs."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.http.place import Place
from tests.http.raw import RawAnswer, RawConnection, request

from ranvier.http import limits
from ranvier.http.limits import Bucket, Limits, RateLimit, address_key
from ranvier.protocol.refusal import Refusal


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


async def ask(place: Place, path: str, *headers: str) -> RawAnswer:
    async with await RawConnection.open(place.address) as raw:
        await raw.send(request("POST", path, b"{}", *headers))
        return await raw.answer()


async def test_a_user_who_calls_too_often_is_told_when_to_come_back(place: Place):
    answers = [await ask(place, "/limited", "Authorization: Bearer alice") for _ in range(4)]
    assert [answer.status for answer in answers] == [200, 200, 200, 429]
    refused = answers[-1]
    assert refused.json["errcode"] == "M_LIMIT_EXCEEDED"
    assert 0 < refused.json["retry_after_ms"] <= 1000
    assert refused.headers["retry-after"] == "1"


async def test_each_user_has_a_limit_of_their_own(place: Place):
    for _ in range(4):
        await ask(place, "/limited", "Authorization: Bearer alice")
    assert (await ask(place, "/limited", "Authorization: Bearer bob")).status == 200


async def test_without_a_user_the_address_counts(place: Place):
    answers = [await ask(place, "/knock") for _ in range(3)]
    assert [answer.status for answer in answers] == [200, 200, 429]


async def test_nobody_may_pretend_an_address(place: Place):
    answers = [await ask(place, "/knock", f"X-Forwarded-For: 203.0.113.{n}") for n in range(3)]
    assert answers[-1].status == 429


async def test_behind_a_proxy_the_address_that_it_wrote_counts(proxied_place: Place):
    answers = [await ask(proxied_place, "/knock", f"X-Forwarded-For: 203.0.113.{n}") for n in range(3)]
    assert [answer.status for answer in answers] == [200] * 3
    forged = [
        await ask(proxied_place, "/knock", f"X-Forwarded-For: 198.51.100.{n}, 203.0.113.9") for n in range(3)
    ]
    assert [answer.status for answer in forged] == [200, 200, 429]


async def test_a_forwarded_address_that_is_none_is_passed_over(proxied_place: Place):
    answers = [await ask(proxied_place, "/knock", f"X-Forwarded-For: nonsense{n}") for n in range(3)]
    assert answers[-1].status == 429


def test_a_bucket_refills_with_time():
    clock = Clock()
    bucket = Bucket(RateLimit(0.5, 3), clock)
    assert [bucket.take("a") for _ in range(3)] == [0, 0, 0]
    assert bucket.take("a") == pytest.approx(2)
    clock.now += 2.001
    assert bucket.take("a") == 0
    assert bucket.take("a") > 0
    clock.now += 100
    assert [bucket.take("a") > 0 for _ in range(4)] == [False, False, False, True]


def test_a_refused_call_does_not_count():
    clock = Clock()
    bucket = Bucket(RateLimit(1, 1), clock)
    assert bucket.take("a") == 0
    for _ in range(100):
        assert bucket.take("a") > 0
    clock.now += 1.001
    assert bucket.take("a") == 0


def test_looking_counts_nothing():
    clock = Clock()
    made = Limits({"login_failed_attempts": RateLimit(1, 1)}, clock)
    for _ in range(5):
        made.check("login_failed_attempts", "a")
    made.count("login_failed_attempts", "a")
    with pytest.raises(Refusal, match="M_LIMIT_EXCEEDED"):
        made.check("login_failed_attempts", "a")


def test_what_a_client_names_takes_little_memory():
    made = Limits({"joins_per_room": RateLimit(0.1, 5)}, Clock())
    for n in range(100):
        made.count("joins_per_room", f"{n}" + "x" * 1_000_000)
    kept = made.bucket("joins_per_room")._full_at
    assert sum(map(len, kept)) < 30_000


def test_a_limit_of_nothing_a_second_allows_its_burst_once():
    clock = Clock()
    made = Limits({"message": RateLimit(0, 2)}, clock)
    made.count("message", "a")
    made.count("message", "a")
    clock.now += 1e6
    with pytest.raises(Refusal) as refused:
        made.count("message", "a")
    assert refused.value.extra["retry_after_ms"] > 0


@given(
    st.floats(0.01, 100),
    st.integers(1, 50),
    st.lists(st.floats(0, 30, allow_nan=False), min_size=1, max_size=200),
)
def test_no_pattern_of_calls_gets_more_than_burst_and_rate(per_second: float, burst: int, gaps: list[float]):
    clock = Clock()
    bucket = Bucket(RateLimit(per_second, burst), clock)
    began, allowed = clock.now, 0
    for gap in gaps:
        clock.now += gap
        allowed += bucket.take("a") == 0
        assert allowed <= burst + (clock.now - began) * per_second + 1e-3


def test_memory_is_bounded_and_those_who_call_now_are_remembered(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(limits, "_KEYS", 100)
    clock = Clock()
    bucket = Bucket(RateLimit(0.001, 1), clock)
    for number in range(1000):
        assert bucket.take(f"a{number}") == 0
        assert len(bucket._full_at) <= 100
    assert bucket.take("a999") > 0


def test_the_addresses_of_one_customer_count_together():
    assert address_key("2001:db8:1:2:3:4:5:6") == address_key("2001:db8:1:2::1")
    assert address_key("2001:db8:1:3::1") != address_key("2001:db8:1:2::1")
    assert address_key("::ffff:192.0.2.1") == address_key("192.0.2.1")


def test_an_endpoint_cannot_name_a_limit_that_does_not_exist():
    with pytest.raises(LookupError, match="messages"):
        Limits({"message": RateLimit(1, 1)}, Clock()).bucket("messages")
