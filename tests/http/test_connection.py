"""HTTP/1.1 as it is spoken by clients that are slow, early, old, broken, or gone."""

import asyncio

import pytest
from tests.http.place import BODY_LIMIT, Place
from tests.http.raw import RawConnection, request

from ranvier.http import connection


@pytest.fixture
async def raw(place: Place):
    async with await RawConnection.open(place.address) as opened:
        yield opened


async def test_requests_follow_each_other_on_one_connection(raw: RawConnection):
    for number in range(3):
        await raw.send(request("GET", f"/open?q={number}"))
        assert (await raw.answer()).json["query"] == str(number)


async def test_requests_that_are_sent_at_once_are_answered_in_order(raw: RawConnection):
    await raw.send(b"".join(request("GET", f"/open?q={number}") for number in range(50)))
    assert [(await raw.answer()).json["query"] for _ in range(50)] == [str(n) for n in range(50)]


async def test_a_request_may_come_byte_by_byte(raw: RawConnection):
    for byte in request("PUT", "/json", b'{"a":1}'):
        await raw.send(bytes([byte]))
        await asyncio.sleep(0)
    assert (await raw.answer()).json == {"got": {"a": 1}}


async def test_a_body_in_chunks_is_read_whole(raw: RawConnection):
    await raw.send(b"PUT /json HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n")
    for piece in (b'{"a":', b"[1,", b"2]}"):
        await raw.send(b"%x\r\n%s\r\n" % (len(piece), piece))
        await asyncio.sleep(0.01)
    await raw.send(b"0\r\nX-Trailer: ignored\r\n\r\n")
    assert (await raw.answer()).json == {"got": {"a": [1, 2]}}


async def test_a_body_that_announces_too_much_is_refused_before_it_comes(raw: RawConnection):
    await raw.send(f"PUT /json HTTP/1.1\r\nHost: test\r\nContent-Length: {BODY_LIMIT + 1}\r\n\r\n".encode())
    answer = await raw.answer()
    assert (answer.status, answer.json["errcode"]) == (413, "M_TOO_LARGE")


@pytest.mark.parametrize(("method", "path"), [("PUT", "/json"), ("POST", "/stream")])
async def test_a_body_in_chunks_that_grows_too_large_is_refused(raw: RawConnection, method: str, path: str):
    await raw.send(f"{method} {path} HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n".encode())
    chunk = b"x" * 10_000
    for _ in range(BODY_LIMIT // len(chunk) + 2):
        await raw.send(b"%x\r\n%s\r\n" % (len(chunk), chunk))
    answer = await raw.answer()
    assert (answer.status, answer.json["errcode"]) == (413, "M_TOO_LARGE")


async def test_the_connection_is_good_after_a_body_that_was_too_large(raw: RawConnection):
    await raw.send(request("PUT", "/json", b"x" * (BODY_LIMIT + 1)) + request("GET", "/open?q=next"))
    assert (await raw.answer()).status == 413
    assert (await raw.answer()).json["query"] == "next"


async def test_a_large_body_is_streamed(raw: RawConnection):
    await raw.send(request("POST", "/stream", b"x" * BODY_LIMIT))
    assert (await raw.answer()).json == {"bytes": BODY_LIMIT}


async def test_a_client_that_waits_for_it_is_told_to_send_its_body(raw: RawConnection):
    await raw.send(b"PUT /json HTTP/1.1\r\nHost: test\r\nContent-Length: 7\r\nExpect: 100-continue\r\n\r\n")
    assert (await raw.answer()).status == 100
    await raw.send(b'{"a":1}')
    assert (await raw.answer()).json == {"got": {"a": 1}}


async def test_a_client_that_waits_is_refused_without_sending_its_body(raw: RawConnection):
    head = f"PUT /json HTTP/1.1\r\nHost: test\r\nContent-Length: {BODY_LIMIT + 1}\r\nExpect: 100-continue\r\n\r\n"
    await raw.send(head.encode())
    answer = await raw.answer()
    assert (answer.status, answer.headers["connection"]) == (413, "close")
    assert await raw.rest() == b""


async def test_an_answer_in_pieces_is_chunked_unless_its_length_is_known(raw: RawConnection):
    await raw.send(request("GET", "/pieces"))
    answer = await raw.answer()
    assert (answer.headers["transfer-encoding"], answer.body) == ("chunked", b"piece 0;piece 1;piece 2;")
    await raw.send(request("GET", "/pieces?length=1"))
    answer = await raw.answer()
    assert (answer.headers["content-length"], answer.body) == ("24", b"piece 0;piece 1;piece 2;")


async def test_an_old_client_gets_an_answer_that_ends_with_the_connection(raw: RawConnection):
    await raw.send(b"GET /pieces HTTP/1.0\r\n\r\n")
    head, _, body = (await raw.rest()).partition(b"\r\n\r\n")
    assert b"chunked" not in head
    assert body == b"piece 0;piece 1;piece 2;"


async def test_head_is_get_without_the_body(raw: RawConnection):
    await raw.send(request("HEAD", "/open") + request("GET", "/open"))
    head = await raw.answer(head_only=True)
    answer = await raw.answer()
    assert (head.status, head.headers["content-length"]) == (200, str(len(answer.body)))
    await raw.send(request("HEAD", "/pieces") + request("GET", "/open"))
    assert (await raw.answer(head_only=True)).status == 200
    assert (await raw.answer()).status == 200


async def test_a_client_that_wants_to_close_is_closed_after_its_answer(raw: RawConnection):
    await raw.send(request("GET", "/open", b"", "Connection: close"))
    assert (await raw.answer()).headers["connection"] == "close"
    assert await raw.rest() == b""


async def test_an_offer_of_another_protocol_is_passed_over(raw: RawConnection):
    offer = (
        "Connection: Upgrade, HTTP2-Settings",
        "Upgrade: h2c",
        "HTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA",
    )
    await raw.send(request("PUT", "/json", b'{"a":1}', *offer))
    assert (await raw.answer()).json == {"got": {"a": 1}}


@pytest.mark.parametrize(
    "framed",
    [
        b"Content-Length: 2\r\n\r\n{}",
        b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
    ],
)
async def test_what_follows_an_offer_of_another_protocol_is_none_of_its_body(
    raw: RawConnection, framed: bytes
):
    offer = b"PUT /json HTTP/1.1\r\nHost: test\r\nConnection: upgrade\r\nUpgrade: x\r\n"
    await raw.send(offer + framed + request("PUT", "/json", b'{"smuggled":true}'))
    assert (await raw.answer()).json == {"got": {}}
    assert await raw.rest() == b""


CHUNKED = b"PUT /json HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    ("before", "again", "after"),
    [
        (b"2;", b"a=b;", b"c=d\r\n{}\r\n0\r\n\r\n"),
        (b"2\r\n{}\r\n0\r\n", b"X: y\r\n", b"\r\n"),
        (b"2\r\n{}\r\n0\r\nX: ", b"yyyy", b"\r\n\r\n"),
    ],
)
async def test_what_stands_around_the_body_has_a_bound(
    place: Place, before: bytes, again: bytes, after: bytes
):
    few = await RawConnection.open(place.address)
    await few.send(CHUNKED + before + again * 20 + after)
    assert (await few.answer()).json == {"got": {}}
    few.close()
    many = await RawConnection.open(place.address)
    with pytest.raises((ConnectionError, TimeoutError, AssertionError)):
        await many.send(CHUNKED + before)
        for _ in range(300):
            await many.send(again * 2500)
            await asyncio.sleep(0.001)
        raise AssertionError("nobody stopped it")
    many.close()


async def test_a_body_in_chunks_of_one_byte_is_read(raw: RawConnection):
    text = b'{"a":"%s"}' % (b"x" * 100_000)
    await raw.send(CHUNKED + b"".join(b"1\r\n%c\r\n" % byte for byte in text) + b"0\r\n\r\n")
    assert (await raw.answer()).json["got"]["a"] == "x" * 100_000


async def test_requests_that_follow_at_once_are_not_counted_together(raw: RawConnection):
    body = b'{"a":"%s"}' % (b"x" * 150_000)
    stream = (request("PUT", "/json", body) + request("GET", "/open?q=1", b"", "X: " + "y" * 3000)) * 6
    for first in range(0, len(stream), 200_000):
        await raw.send(stream[first : first + 200_000])
    for _ in range(6):
        assert (await raw.answer()).status == 200
        assert (await raw.answer()).json["query"] == "1"


@pytest.mark.parametrize(
    "words",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
        b"GET\r\n\r\n",
        b"GET /open HTTP/9.9\r\n\r\n",
        b"GET /open HTTP/1.1\r\nbroken header\r\n\r\n",
        b"CONNECT example.org:443 HTTP/1.1\r\nHost: example.org\r\n\r\n",
        b"GET /\xc3\xa4 HTTP/1.1\r\nHost: test\r\n\r\n",
        b"PUT /json HTTP/1.1\r\nHost: test\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"PUT /json HTTP/1.1\r\nHost: test\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n",
    ],
)
async def test_what_is_not_http_gets_a_sentence_and_an_end(raw: RawConnection, words: bytes):
    await raw.send(words)
    answer = await raw.answer()
    assert (answer.status, answer.json["errcode"]) == (400, "M_UNRECOGNIZED")
    assert await raw.rest() == b""


async def test_garbage_behind_a_request_does_not_harm_its_answer(raw: RawConnection):
    await raw.send(request("GET", "/open?q=1") + b"\x00\x01 garbage\r\n\r\n")
    assert (await raw.answer()).json["query"] == "1"
    assert await raw.rest() == b""


async def test_a_body_that_breaks_off_in_garbage_ends_the_connection(place: Place, raw: RawConnection):
    await raw.send(b"PUT /json HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n")
    await asyncio.sleep(0.05)
    await raw.send(b"zz\r\n")
    assert await raw.rest() == b""
    assert place.traffic("echo").in_flight == 0


async def test_an_overlong_url_is_refused(raw: RawConnection):
    await raw.send(request("GET", "/open?q=" + "x" * connection.URL_BYTES))
    answer = await raw.answer()
    assert (answer.status, answer.json["errcode"]) == (414, "M_TOO_LARGE")


async def test_too_many_headers_are_refused(raw: RawConnection):
    await raw.send(request("GET", "/open", b"", *(f"X-{n}: 1" for n in range(connection.HEADERS + 1))))
    answer = await raw.answer()
    assert (answer.status, answer.json["errcode"]) == (431, "M_TOO_LARGE")


async def test_headers_without_end_are_refused(raw: RawConnection):
    await raw.send(b"GET /open HTTP/1.1\r\nX-Long: ")
    with pytest.raises((ConnectionError, asyncio.TimeoutError, AssertionError)):
        for _ in range(200):
            await raw.send(b"x" * 10_000)
            await asyncio.sleep(0.001)
        raise AssertionError("nobody stopped it")


async def test_a_client_that_hangs_up_while_it_waits_is_noticed(place: Place, raw: RawConnection):
    await raw.send(request("GET", "/wait"))
    await asyncio.sleep(0.05)
    raw.close()
    await asyncio.wait_for(place.seen.gone.wait(), 5)


async def test_a_client_that_hangs_up_in_its_body_leaves_nothing_behind(place: Place, raw: RawConnection):
    await raw.send(b"PUT /json HTTP/1.1\r\nHost: test\r\nContent-Length: 1000\r\n\r\nhalf")
    await asyncio.sleep(0.05)
    assert place.traffic("echo").in_flight == 1
    raw.close()
    await asyncio.sleep(0.05)
    assert place.traffic("echo").in_flight == 0
    assert place.listening.connections == 0


async def _sweep_after(place: Place, seconds: float) -> None:
    now = asyncio.get_running_loop().time()
    place.listening.sweep(now)
    place.listening.sweep(now + seconds)
    await asyncio.sleep(0.05)


async def test_a_connection_that_says_nothing_is_closed(place: Place, raw: RawConnection):
    await _sweep_after(place, connection.HEAD_SECONDS - 5)
    assert place.listening.connections == 1
    await _sweep_after(place, connection.HEAD_SECONDS + 1)
    assert place.listening.connections == 0


async def test_a_head_that_trickles_is_closed(place: Place, raw: RawConnection):
    await raw.send(b"GET /open HTTP/1.1\r\nHost: te")
    await asyncio.sleep(0.05)
    await _sweep_after(place, connection.HEAD_SECONDS + 1)
    assert place.listening.connections == 0


async def test_a_body_that_trickles_is_closed_but_one_that_flows_is_not(place: Place):
    slow = await RawConnection.open(place.address)
    fast = await RawConnection.open(place.address)
    head = b"PUT /json HTTP/1.1\r\nHost: test\r\nContent-Length: 150000\r\n\r\n"
    await slow.send(head + b"x")
    await fast.send(head + b"x" * 100_000)
    await asyncio.sleep(0.05)
    await _sweep_after(place, connection.HEAD_SECONDS + 10)
    assert place.listening.connections == 1
    assert await slow.rest() == b""
    slow.close()
    fast.close()


async def test_an_idle_connection_is_closed_in_the_end(place: Place, raw: RawConnection):
    await raw.send(request("GET", "/open"))
    await raw.answer()
    await _sweep_after(place, connection.IDLE_SECONDS - 5)
    assert place.listening.connections == 1
    await _sweep_after(place, connection.IDLE_SECONDS + 1)
    assert place.listening.connections == 0


async def test_a_long_wait_for_an_answer_is_nobodys_fault(place: Place, raw: RawConnection):
    await raw.send(request("GET", "/wait"))
    await asyncio.sleep(0.05)
    await _sweep_after(place, 3600)
    assert place.listening.connections == 1
    place.seen.hold.set()
    assert (await raw.answer()).status == 200


async def test_an_answer_that_nobody_reads_is_given_up(place: Place, raw: RawConnection):
    raw.writer.transport.pause_reading()
    await raw.send(request("GET", "/large"))
    await asyncio.sleep(0.2)
    await _sweep_after(place, connection.UNREAD_SECONDS + 1)
    assert place.listening.connections == 0


async def test_requests_under_way_are_answered_when_the_server_stops(place: Place, raw: RawConnection):
    idle = await RawConnection.open(place.address)
    await raw.send(request("GET", "/wait"))
    await asyncio.sleep(0.05)
    place.listening.stop_accepting()
    draining = asyncio.create_task(place.listening.drain(5))
    await asyncio.sleep(0.05)
    assert await idle.rest() == b""
    with pytest.raises(ConnectionError):
        await RawConnection.open(place.address)
    place.seen.hold.set()
    answer = await raw.answer()
    assert (answer.status, answer.headers["connection"]) == (200, "close")
    assert await draining


async def test_a_request_that_never_ends_does_not_hold_the_server(place: Place, raw: RawConnection):
    await raw.send(request("GET", "/wait"))
    await asyncio.sleep(0.05)
    place.listening.stop_accepting()
    assert not await place.listening.drain(0.1)
    assert await raw.rest() == b""


async def test_a_large_answer_arrives_whole(raw: RawConnection):
    await raw.send(request("GET", "/large"))
    assert len((await raw.answer()).body) == 5_000_000
