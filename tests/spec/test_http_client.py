"""The test client against a real server that answers what it is told to."""

import json
from collections.abc import AsyncIterator

import pytest
from aiohttp import web
from tests.http_client import Client, path_of
from tests.spec.contract import ContractViolation


@pytest.fixture
async def server() -> AsyncIterator[str]:
    """Answers every request with the JSON of its `Answer` header and notes the raw path it got."""

    async def respond(request: web.Request) -> web.Response:
        headers = {"Access-Control-Allow-Origin": "*", "X-Raw": request.raw_path}
        status, _, text = request.headers.get("Answer", "200 {}").partition(" ")
        return web.Response(status=int(status), text=text, content_type="application/json", headers=headers)

    app = web.Application()
    app.router.add_route("*", "/{tail:.*}", respond)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    await runner.cleanup()


WHOAMI = "/_matrix/client/v3/account/whoami"


async def test_a_good_exchange_passes(server: str) -> None:
    async with Client(server, "secret") as client:
        answer = await client.get(WHOAMI, headers={"Answer": '200 {"user_id": "@a:example.org"}'})
        assert answer.ok() == {"user_id": "@a:example.org"}


async def test_a_bad_answer_fails_the_test(server: str) -> None:
    async with Client(server, "secret") as client:
        with pytest.raises(ContractViolation, match="user_id"):
            await client.get(WHOAMI, headers={"Answer": "200 {}"})


async def test_a_bad_request_is_not_even_sent_unless_it_is_meant(server: str) -> None:
    refusal = {
        "Answer": "400 " + json.dumps({"errcode": "M_INVALID_PARAM", "error": "timeout is no number."})
    }
    async with Client(server, "secret") as client:
        with pytest.raises(ContractViolation, match="timeout"):
            await client.get("/_matrix/client/v3/sync", query={"timeout": "soon"}, headers=refusal)
        answer = await client.get(
            "/_matrix/client/v3/sync", query={"timeout": "soon"}, headers=refusal, valid=False
        )
        assert answer.errcode == "M_INVALID_PARAM"


async def test_a_path_reaches_the_server_as_it_was_quoted(server: str) -> None:
    async with Client(server, "secret") as client:
        path = path_of("_matrix/client/v3/rooms", "!a/b:example.org", "send", "m.room.message", "1 2")
        answer = await client.put(path, {"body": "hi"}, headers={"Answer": '200 {"event_id": "$e"}'})
        assert answer.headers["X-Raw"] == path
        assert "%21a%2Fb%3Aexample.org" in path


async def test_an_empty_token_leaves_the_header_out(server: str) -> None:
    refusal = {"Answer": '401 {"errcode": "M_MISSING_TOKEN", "error": "No token."}'}
    async with Client(server, "secret") as client:
        with pytest.raises(ContractViolation, match="Authorization"):
            await client.get(WHOAMI, token="", headers=refusal)
        answer = await client.get(WHOAMI, token="", headers=refusal, valid=False)
        assert answer.errcode == "M_MISSING_TOKEN"
