"""How servers are found by their names, over real DNS and TLS, and what hostile ones can't do."""

import asyncio
import gzip
import json

import pytest
from aiohttp import web
from tests.remote.neighbourhood import Answering, Neighbourhood

from ranvier.remote.failure import RemoteFailure
from ranvier.remote.tls import TlsRules
from ranvier.remote.transport import Call

HOUR_MS = 3_600_000


def says(**fields: object) -> Answering:
    """Answers every request with what the request was, and further fields."""

    async def answer(request: web.Request) -> web.Response:
        return web.json_response({"host": request.headers["Host"], "uri": request.raw_path, **fields})

    return answer


def delegates(m_server: str, **headers: str) -> Answering:
    async def answer(request: web.Request) -> web.Response:
        return web.json_response({"m.server": m_server}, headers=headers)

    return answer


async def host_seen(neighbourhood: Neighbourhood, name: str) -> str:
    status, body = await neighbourhood.outside().ask(name)
    assert status == 200
    host: str = json.loads(body)["host"]
    return host


async def test_an_ip_literal_with_a_port_is_asked_there_with_a_certificate_for_the_address(
    neighbourhood: Neighbourhood,
) -> None:
    port = await neighbourhood.serve(says(), "127.0.0.1")
    assert await host_seen(neighbourhood, f"127.0.0.1:{port}") == f"127.0.0.1:{port}"
    port = await neighbourhood.serve(says(), "::1", address="::1")
    assert await host_seen(neighbourhood, f"[::1]:{port}") == f"[::1]:{port}"


async def test_a_name_with_a_port_is_asked_there_without_any_delegation(neighbourhood: Neighbourhood) -> None:
    port = await neighbourhood.serve(says(), "a.test")
    neighbourhood.name_server.host("a.test", "127.0.0.1")
    assert await host_seen(neighbourhood, f"a.test:{port}") == f"a.test:{port}"
    assert not any(name.startswith("_matrix") for name in neighbourhood.name_server.asked)


async def test_a_well_known_with_a_port_names_host_port_and_certificate(neighbourhood: Neighbourhood) -> None:
    neighbourhood.name_server.host("a.test", "127.0.0.1")
    neighbourhood.name_server.host("b.test", "127.0.0.1")
    port = await neighbourhood.serve(says(), "b.test")
    neighbourhood.ports["a.test", 443] = await neighbourhood.serve(delegates(f"b.test:{port}"), "a.test")
    assert await host_seen(neighbourhood, "a.test") == f"b.test:{port}"


async def test_a_well_known_without_a_port_leads_to_service_records_of_its_host(
    neighbourhood: Neighbourhood,
) -> None:
    names = neighbourhood.name_server
    for name in ("a.test", "target.test"):
        names.host(name, "127.0.0.1")
    port = await neighbourhood.serve(says(), "b.test")
    names.service("_matrix-fed._tcp.b.test", port, "target.test")
    neighbourhood.ports["a.test", 443] = await neighbourhood.serve(delegates("b.test"), "a.test")
    # The certificate is for b.test, not for the target of the record.
    assert await host_seen(neighbourhood, "a.test") == "b.test"


async def test_without_a_well_known_the_old_service_record_still_counts(neighbourhood: Neighbourhood) -> None:
    names = neighbourhood.name_server
    names.host("a.test", "127.0.0.1")
    names.host("target.test", "127.0.0.1")
    port = await neighbourhood.serve(says(), "a.test")
    names.service("_matrix._tcp.a.test", port, "target.test")
    assert await host_seen(neighbourhood, "a.test") == "a.test"
    assert names.asked["_matrix-fed._tcp.a.test"] == 1


async def test_without_any_record_a_server_is_at_port_8448_of_its_name(neighbourhood: Neighbourhood) -> None:
    neighbourhood.name_server.host("a.test", "127.0.0.1")
    neighbourhood.ports["a.test", 8448] = await neighbourhood.serve(says(), "a.test")
    assert await host_seen(neighbourhood, "a.test") == "a.test"


async def test_of_several_service_records_the_next_one_is_tried_where_one_is_dead(
    neighbourhood: Neighbourhood,
) -> None:
    names = neighbourhood.name_server
    names.host("target.test", "127.0.0.1")
    port = await neighbourhood.serve(says(), "a.test")
    names.service("_matrix-fed._tcp.a.test", 1, "target.test", priority=1)
    names.service("_matrix-fed._tcp.a.test", port, "target.test", priority=2)
    assert await host_seen(neighbourhood, "a.test") == "a.test"


async def test_a_service_record_that_names_nothing_says_that_there_is_no_server(
    neighbourhood: Neighbourhood,
) -> None:
    neighbourhood.name_server.service("_matrix-fed._tcp.a.test", 0, ".")
    with pytest.raises(RemoteFailure, match="no Matrix server"):
        await neighbourhood.outside().ask("a.test")


async def test_a_well_known_is_remembered_as_long_as_it_says_and_outlives_a_rest_of_its_server(
    neighbourhood: Neighbourhood,
) -> None:
    neighbourhood.name_server.host("a.test", "127.0.0.1")
    neighbourhood.name_server.host("b.test", "127.0.0.1")
    port = await neighbourhood.serve(says(), "b.test")
    calls: list[int] = []
    status = 200

    async def answer(request: web.Request) -> web.Response:
        calls.append(status)
        headers = {"Cache-Control": "max-age=3600"}
        return web.json_response({"m.server": f"b.test:{port}"}, status=status, headers=headers)

    neighbourhood.ports["a.test", 443] = await neighbourhood.serve(answer, "a.test")
    outside = neighbourhood.outside()
    routes = outside.routes
    for _ in range(2):
        routes.forget("a.test")
        assert (await outside.ask("a.test"))[0] == 200
    assert calls == [200]
    status = 503
    neighbourhood.now_ms += HOUR_MS + 1
    routes.forget("a.test")
    assert (await outside.ask("a.test"))[0] == 200
    assert calls == [200, 503]
    routes.forget("a.test")
    assert (await outside.ask("a.test"))[0] == 200
    assert calls == [200, 503], "a failure is remembered for a while"


async def test_redirects_of_a_well_known_are_followed_but_not_in_circles_and_not_without_tls(
    neighbourhood: Neighbourhood,
) -> None:
    names = neighbourhood.name_server
    names.host("a.test", "127.0.0.1")
    names.host("b.test", "127.0.0.1")
    port = await neighbourhood.serve(says(), "b.test")
    where = "/moved"

    async def answer(request: web.Request) -> web.Response:
        if request.path == "/moved":
            return web.json_response({"m.server": f"b.test:{port}"})
        return web.Response(status=302, headers={"Location": where})

    neighbourhood.ports["a.test", 443] = await neighbourhood.serve(answer, "a.test")
    assert await host_seen(neighbourhood, "a.test") == f"b.test:{port}"
    outside = neighbourhood.outside()
    well_knowns = outside.well_knowns
    where = "/.well-known/matrix/server"
    assert "circle" in ((await well_knowns.ask("a.test")).fault or "")
    where = "http://a.test/moved"
    assert "not HTTPS" in ((await well_knowns.ask("a.test")).fault or "")


async def test_a_redirect_into_the_private_network_leads_nowhere(neighbourhood: Neighbourhood) -> None:
    names = neighbourhood.name_server
    names.host("a.test", "127.0.0.1")
    names.host("inside.test", "10.0.0.1")
    for where in ("https://10.0.0.1/", "https://inside.test/", "https://[::ffff:10.0.0.1]/"):

        async def answer(request: web.Request, where: str = where) -> web.Response:
            return web.Response(status=302, headers={"Location": where})

        neighbourhood.ports["a.test", 443] = await neighbourhood.serve(answer, "a.test")
        found = await neighbourhood.outside().well_knowns.ask("a.test")
        assert "ip_range_blacklist" in (found.fault or ""), where


@pytest.mark.parametrize(
    "name", ["10.1.2.3:8448", "[::ffff:10.1.2.3]:8448", "0.0.0.0:8448", "inside.test:8448"]
)
async def test_addresses_of_the_private_network_are_not_contacted(
    neighbourhood: Neighbourhood, name: str
) -> None:
    neighbourhood.name_server.host("inside.test", "10.9.9.9")
    with pytest.raises(RemoteFailure, match="ip_range_blacklist"):
        await neighbourhood.outside().ask(name)


async def test_the_address_that_was_checked_is_the_one_that_is_connected_to(
    neighbourhood: Neighbourhood,
) -> None:
    """A name that stands for another address at each look-up (DNS rebinding) gets no further."""
    names = neighbourhood.name_server
    names.ttl = 0
    names.host("a.test", "127.0.0.2")
    port = await neighbourhood.serve(says(), "a.test")
    outside = neighbourhood.outside(allowed=("127.0.0.2/32",))
    names.host("a.test", "127.0.0.1")
    with pytest.raises(RemoteFailure, match="ip_range_blacklist"):
        await outside.ask(f"a.test:{port}")
    # Once 127.0.0.2 was found and checked, no other answer of DNS takes its place.
    names.host("b.test", "127.0.0.2")
    assert await outside.resolver.find_addresses("b.test") == ("127.0.0.2",)
    names.host("b.test", "127.0.0.1")
    assert [found["host"] for found in await outside.resolver.resolve("b.test", 443)] == ["127.0.0.2"]


async def test_a_certificate_of_another_name_or_authority_is_refused(neighbourhood: Neighbourhood) -> None:
    neighbourhood.name_server.host("a.test", "127.0.0.1")
    port = await neighbourhood.serve(says(), "other.test")
    with pytest.raises(RemoteFailure, match=r"certificate is not valid for a\.test") as caught:
        await neighbourhood.outside().ask(f"a.test:{port}")
    assert caught.value.status is None
    port = await neighbourhood.serve(says(), "a.test")
    with pytest.raises(RemoteFailure, match="certificate"):
        await neighbourhood.outside(rules=TlsRules()).ask(f"a.test:{port}")


async def test_certificates_of_hosts_on_the_list_are_not_checked(neighbourhood: Neighbourhood) -> None:
    neighbourhood.name_server.host("a.test", "127.0.0.1")
    port = await neighbourhood.serve(says(), "other.test")
    outside = neighbourhood.outside(rules=TlsRules(unverified=["*.test"]))
    assert (await outside.ask(f"a.test:{port}"))[0] == 200


async def test_servers_that_share_an_address_share_no_connection(neighbourhood: Neighbourhood) -> None:
    """A connection whose certificate was checked for one name must not carry requests for another."""
    names = neighbourhood.name_server
    port = await neighbourhood.serve(says(), "c.test")
    names.host("shared.test", "127.0.0.1")
    for name in ("c.test", "d.test"):
        names.service(f"_matrix-fed._tcp.{name}", port, "shared.test")
    outside = neighbourhood.outside()
    assert (await outside.ask("c.test"))[0] == 200
    with pytest.raises(RemoteFailure, match=r"certificate is not valid for d\.test"):
        await outside.ask("d.test")


async def test_connections_are_used_again(neighbourhood: Neighbourhood) -> None:
    peers: set[object] = set()

    async def answer(request: web.Request) -> web.Response:
        assert request.transport is not None
        peers.add(request.transport.get_extra_info("peername"))
        return web.json_response({})

    neighbourhood.name_server.host("a.test", "127.0.0.1")
    port = await neighbourhood.serve(answer, "a.test")
    outside = neighbourhood.outside()
    for _ in range(5):
        await outside.ask(f"a.test:{port}")
    assert len(peers) == 1


async def test_a_name_that_dns_does_not_know_is_told_so(neighbourhood: Neighbourhood) -> None:
    with pytest.raises(RemoteFailure, match="has no IP address in DNS"):
        await neighbourhood.outside().ask("nobody.test:8448")


async def test_the_path_arrives_as_it_was_sent(neighbourhood: Neighbourhood) -> None:
    port = await neighbourhood.serve(says(), "127.0.0.1")
    target = "/_matrix/federation/v1/make_join/%21a%2Fb%3Ac/%40d%3Ae?ver=1&ver=11&x=%2F%20"
    _, body = await neighbourhood.outside().ask(f"127.0.0.1:{port}", target)
    assert json.loads(body)["uri"] == target


async def test_a_server_that_never_ends_its_answer_is_left_in_time(neighbourhood: Neighbourhood) -> None:
    async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\r\n{")
        while True:
            writer.write(b" ")
            await writer.drain()
            await asyncio.sleep(0.02)

    port = await neighbourhood.serve_raw(speak, "127.0.0.1")
    loop = asyncio.get_running_loop()
    started = loop.time()
    with pytest.raises(RemoteFailure, match="within"):
        await neighbourhood.outside().ask(f"127.0.0.1:{port}", timeout_s=0.6)
    assert loop.time() - started < 3


@pytest.mark.parametrize(
    "words",
    [
        b"",
        b"nonsense\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 5000,
        b"HTTP/1.1 200 OK\r\na: " + b"b" * 200_000,
    ],
    ids=["nothing", "nonsense", "many headers", "a long header"],
)
async def test_what_is_no_answer_is_a_failure_in_words(neighbourhood: Neighbourhood, words: bytes) -> None:
    async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(words)
        await writer.drain()

    port = await neighbourhood.serve_raw(speak, "127.0.0.1")
    with pytest.raises(RemoteFailure) as caught:
        await neighbourhood.outside().ask(f"127.0.0.1:{port}")
    assert caught.value.reason
    assert not caught.value.refused


async def test_compressed_answers_are_read_and_come_in_small_pieces(neighbourhood: Neighbourhood) -> None:
    plain = b'{"a":"' + b"x" * 20_000_000 + b'"}'

    async def answer(request: web.Request) -> web.Response:
        return web.Response(body=gzip.compress(plain), headers={"Content-Encoding": "gzip"})

    port = await neighbourhood.serve(answer, "127.0.0.1")
    largest, size = 0, 0
    call = Call(f"127.0.0.1:{port}", "GET", "/x", {}, None)
    async with neighbourhood.outside().network.open(call, 10) as opened:
        async for piece in opened.pieces:
            largest, size = max(largest, len(piece)), size + len(piece)
    assert size == len(plain)
    assert largest <= 64 * 1024
