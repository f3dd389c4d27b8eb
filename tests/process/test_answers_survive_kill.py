"""What was answered survives kill -9: uploads, and the claims of one-time keys."""

import asyncio
import hashlib
import os

import aiohttp
from tests.http_client import Client, path_of
from tests.server import ServerProcess, register

UPLOAD = "/_matrix/media/v3/upload"


async def kill_while(server: ServerProcess, clients: list[asyncio.Task[None]], enough: asyncio.Event) -> None:
    """Kill the server while clients talk to it; all that ends them must be the lost connection."""
    async with asyncio.timeout(60):
        await enough.wait()
    await server.kill()
    for end in await asyncio.gather(*clients, return_exceptions=True):
        assert isinstance(end, aiohttp.ClientError), end


async def test_every_upload_that_was_answered_is_whole_after_a_kill(server_process: ServerProcess):
    answered: dict[str, str] = {}
    enough = asyncio.Event()
    async with server_process.client() as client:
        token = (await register(client, "alice"))["access_token"]

        async def upload_for_ever() -> None:
            while True:
                data = os.urandom(120_000)
                answer = await client.request("POST", UPLOAD, body=data, token=token)
                answered[answer.ok()["content_uri"]] = hashlib.sha256(data).hexdigest()
                if len(answered) == 25:
                    enough.set()

        uploads = [asyncio.create_task(upload_for_ever()) for _ in range(4)]
        await kill_while(server_process, uploads, enough)
    await server_process.start()
    async with server_process.client() as client:
        for uri, sha256 in answered.items():
            parts = uri.removeprefix("mxc://").split("/")
            answer = await client.get(path_of("_matrix/client/v1/media/download", *parts), token=token)
            assert hashlib.sha256(answer.body).hexdigest() == sha256


async def claim(client: Client, token: str, user_id: str, device_id: str) -> str:
    wish = {"one_time_keys": {user_id: {device_id: "signed_curve25519"}}}
    answer = await client.post("/_matrix/client/v3/keys/claim", json=wish, token=token)
    return next(iter(answer.ok()["one_time_keys"][user_id][device_id]))


async def test_no_one_time_key_is_given_out_again_after_a_kill(server_process: ServerProcess):
    given: list[str] = []
    enough = asyncio.Event()
    async with server_process.client() as client:
        alice = await register(client, "alice")
        token, of_alice = alice["access_token"], (alice["user_id"], alice["device_id"])
        keys = {f"signed_curve25519:{i}": {"key": str(i), "signatures": {}} for i in range(900)}
        (await client.post("/_matrix/client/v3/keys/upload", json={"one_time_keys": keys}, token=token)).ok()

        async def claim_for_ever() -> None:
            while True:
                given.append(await claim(client, token, *of_alice))
                if len(given) == 40:
                    enough.set()

        claims = [asyncio.create_task(claim_for_ever()) for _ in range(4)]
        await kill_while(server_process, claims, enough)
    await server_process.start()
    async with server_process.client() as client:
        given += [await claim(client, token, *of_alice) for _ in range(20)]
    assert len(set(given)) == len(given)
