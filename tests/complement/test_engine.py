"""The engine's API over its socket, with real processes as containers."""

import asyncio
import io
import json
import os
import sys
import tarfile
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from complement.engine.addresses import Addresses
from complement.engine.api import Engine, serve
from complement.engine.containers import Containers, name_isolation
from complement.engine.images import Images

_PROGRAM = """
import os, pathlib, signal, socket, sys
root = pathlib.Path(os.environ["CONTAINER_ROOT"])
starts = root / "starts"
starts.write_text(starts.read_text() + "x" if starts.exists() else "x")
print("started", len(starts.read_text()), os.environ["SERVER_NAME"], flush=True)
signal.signal(signal.SIGTERM, lambda *_: (print("bye", flush=True), sys.exit(0)))
listening = socket.create_server(("127.0.0.1", int(os.environ["HOST_PORT_8008"])))
while True:
    connection, _ = listening.accept()
    name = connection.recv(100).decode()
    try:
        answer = socket.gethostbyname(name)
    except OSError as error:
        answer = "unknown"
    connection.sendall(answer.encode())
    connection.close()
"""


class Echo:
    """A base image whose server resolves the names that it is sent."""

    command: Sequence[str] = (sys.executable, "-c", _PROGRAM)

    def __init__(self) -> None:
        self.copies: list[tuple[str, str]] = []

    def environment(self, container_id: str) -> Mapping[str, str]:
        return {}

    def copied(self, source_id: str, target_id: str) -> None:
        self.copies.append((source_id, target_id))

    def removed(self, identifier: str) -> None:
        pass


class Client:
    """Asks as Docker's client does."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self._session = session

    async def ask(self, method: str, path: str, body: Any = None, expect: int = 200) -> Any:
        data = body if isinstance(body, bytes) else None if body is None else json.dumps(body)
        async with self._session.request(method, f"http://engine/v1.47{path}", data=data) as response:
            content = await response.read()
            assert response.status == expect, content
            return json.loads(content) if response.content_type == "application/json" else content

    async def create(
        self, name: str, image: str = "echo", *, hs: str = "hs1", labels: dict[str, str] | None = None
    ) -> str:
        body = {
            "Image": image,
            "Env": [f"SERVER_NAME={hs}"],
            "Labels": {"complement_pkg": "p", **(labels or {})},
            "HostConfig": {"ExtraHosts": ["host.example:host-gateway"]},
            "NetworkingConfig": {"EndpointsConfig": {"net": {"Aliases": [hs]}}},
        }
        identifier = (await self.ask("POST", f"/containers/create?name={name}", body, 201))["Id"]
        assert isinstance(identifier, str)
        return identifier

    async def start(self, identifier: str) -> tuple[str, int]:
        await self.ask("POST", f"/containers/{identifier}/start", expect=204)
        return await self.binding(identifier)

    async def binding(self, identifier: str) -> tuple[str, int]:
        ports = (await self.ask("GET", f"/containers/{identifier}/json"))["NetworkSettings"]["Ports"]
        (bound,) = ports["8008/tcp"]
        return bound["HostIp"], int(bound["HostPort"])

    async def status(self, identifier: str) -> str:
        return str((await self.ask("GET", f"/containers/{identifier}/json"))["State"]["Status"])


async def resolve(where: tuple[str, int], name: str, patience: float = 10) -> str:
    """What a container says a name is, once it listens."""
    deadline = asyncio.get_running_loop().time() + patience
    while True:
        try:
            reader, writer = await asyncio.open_connection(*where)
            writer.write(name.encode())
            answer = await asyncio.wait_for(reader.read(), deadline - asyncio.get_running_loop().time())
            writer.close()
            return answer.decode()
        except ConnectionError:
            if asyncio.get_running_loop().time() > deadline:
                raise
            await asyncio.sleep(0.02)


@pytest.fixture
async def client(tmp_path: Path) -> AsyncIterator[Client]:
    (tmp_path / "images").mkdir()
    containers = Containers(tmp_path / "containers", Addresses(), name_isolation() or ())
    listening = await serve(
        Engine(containers, Images(tmp_path / "images", {"echo": Echo()})), tmp_path / "sock"
    )
    async with aiohttp.ClientSession(connector=aiohttp.UnixConnector(str(tmp_path / "sock"))) as session:
        yield Client(session)
    await containers.remove_all()
    await listening.cleanup()


async def test_a_container_runs_from_start_to_removal(client: Client) -> None:
    identifier = await client.create("one")
    assert await client.status(identifier) == "created"
    where = await client.start(identifier)
    assert where[0] == "127.0.0.1"
    assert await resolve(where, "localhost") == "127.0.0.1"
    await client.ask("POST", f"/containers/{identifier}/kill?signal=KILL", expect=204)
    assert await client.status(identifier) == "exited"
    await client.ask("DELETE", f"/containers/{identifier}?force=1", expect=204)
    await client.ask("GET", f"/containers/{identifier}/json", expect=404)


async def test_stop_lets_it_end_and_start_finds_its_files(client: Client) -> None:
    identifier = await client.create("one")
    await resolve(await client.start(identifier), "localhost")
    await client.ask("POST", f"/containers/{identifier}/stop?t=10", expect=204)
    await resolve(await client.start(identifier), "localhost")
    log = await client.ask("GET", f"/containers/{identifier}/logs?stdout=1")
    assert log[:4] == b"\x01\0\0\0"
    assert int.from_bytes(log[4:8], "big") == len(log) - 8
    assert log[8:] == b"started 1 hs1\nbye\nstarted 2 hs1\n"


async def test_a_paused_container_answers_after_it_goes_on(client: Client) -> None:
    identifier = await client.create("one")
    where = await client.start(identifier)
    await resolve(where, "localhost")
    await client.ask("POST", f"/containers/{identifier}/pause", expect=204)
    assert await client.status(identifier) == "paused"
    waiting = asyncio.create_task(resolve(where, "localhost"))
    await asyncio.sleep(0.2)
    assert not waiting.done()
    await client.ask("POST", f"/containers/{identifier}/pause", expect=409)
    await client.ask("POST", f"/containers/{identifier}/unpause", expect=204)
    assert await waiting == "127.0.0.1"


@pytest.mark.skipif(name_isolation() is None, reason="unshare --mount is refused on this machine")
async def test_containers_of_a_network_know_each_other_and_the_host(client: Client) -> None:
    first, second = await client.create("one"), await client.create("two", hs="hs2")
    where = await client.start(first)
    await client.start(second)
    address = (await client.ask("GET", f"/containers/{second}/json"))["NetworkSettings"]["Networks"]["net"][
        "IPAddress"
    ]
    assert await resolve(where, "hs2") == address
    assert await resolve(where, "two") == address
    assert await resolve(where, "host.example") == "127.0.0.1"
    await client.ask("DELETE", f"/containers/{second}?force=1", expect=204)


async def test_files_are_copied_in_before_the_start(client: Client, tmp_path: Path) -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        member = tarfile.TarInfo("/starts")
        member.size = 4
        archive.addfile(member, io.BytesIO(b"xxxx"))
    identifier = await client.create("one")
    await client.ask("PUT", f"/containers/{identifier}/archive?path=%2F", buffer.getvalue())
    await resolve(await client.start(identifier), "localhost")
    assert b"started 5 hs1" in await client.ask("GET", f"/containers/{identifier}/logs")


async def test_a_committed_image_has_files_and_labels(client: Client) -> None:
    identifier = await client.create("one", labels={"complement_hs_name": "hs1"})
    await resolve(await client.start(identifier), "localhost")
    await client.ask("POST", f"/commit?container={identifier}", {}, expect=409)
    await client.ask("POST", f"/containers/{identifier}/stop?t=10", expect=204)
    change = 'LABEL%20"access_token_@a:hs1"="t"'
    path = f"/commit?container={identifier}&repo=localhost%2Fcomplement&tag=p.b.hs1&changes={change}"
    image = (await client.ask("POST", path, {}, 201))["Id"]
    (listed,) = await client.ask("GET", '/images/json?filters={"label":{"complement_pkg=p":true}}')
    assert listed["Id"] == image
    assert listed["RepoTags"] == ["localhost/complement:p.b.hs1"]
    assert listed["Labels"]["complement_hs_name"] == "hs1"
    copy = await client.create("two", image)
    await resolve(await client.start(copy), "localhost")
    assert b"started 2 hs1" in await client.ask("GET", f"/containers/{copy}/logs")
    shown = await client.ask("GET", f"/containers/{copy}/json")
    assert shown["Config"]["Labels"]["access_token_@a:hs1"] == "t"
    await client.ask("DELETE", f"/images/{image}?force=1")
    assert await client.ask("GET", '/images/json?filters={"label":["complement_pkg=p"]}') == []


async def test_networks_are_found_by_label_until_they_are_removed(client: Client) -> None:
    made = await client.ask("POST", "/networks/create", {"Name": "n", "Labels": {"complement_pkg": "p"}}, 201)
    (listed,) = await client.ask("GET", '/networks?filters={"label":{"complement_pkg=p":true}}')
    assert listed["Name"] == "n"
    await client.ask("DELETE", f"/networks/{made['Id']}", expect=204)
    assert await client.ask("GET", "/networks") == []
    await client.ask("DELETE", f"/networks/{made['Id']}", expect=404)


async def test_no_process_of_a_killed_container_is_left(client: Client) -> None:
    identifier = await client.create("one")
    await resolve(await client.start(identifier), "localhost")
    process = (await client.ask("GET", f"/containers/{identifier}/json"))["State"]["Pid"]
    await client.ask("DELETE", f"/containers/{identifier}?force=1", expect=204)
    with pytest.raises(ProcessLookupError):
        os.killpg(process, 0)


async def test_a_limit_that_is_not_kept_is_told(client: Client) -> None:
    body = {"Image": "echo", "HostConfig": {"NanoCpus": 5 * 10**8}}
    made = await client.ask("POST", "/containers/create?name=one", body, 201)
    assert made["Warnings"] == ["A limit on processors was asked for; this engine has none."]


async def test_names_are_given_once(client: Client) -> None:
    await client.create("one")
    await client.ask("POST", "/containers/create?name=one", {"Image": "echo"}, 409)


async def test_unknown_things_are_not_found(client: Client) -> None:
    await client.ask("POST", "/containers/none/start", expect=404)
    await client.ask("POST", "/containers/create", {"Image": "none"}, 404)
    said = await client.ask("GET", "/swarm", expect=404)
    assert "GET /v1.47/swarm" in said["message"]


async def test_clients_are_told_the_version_to_speak(client: Client) -> None:
    assert await client.ask("GET", "/_ping") == b"OK"
