"""How a process is put together: what hears of the log, in which order parts start and stop, what a start refuses."""

import asyncio
import gc
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from tests.http.raw import RawConnection, request
from tests.server import SERVER_NAME, Server, configuration, start_server

from ranvier.bus.local import Bell, Ring
from ranvier.main import postgres_start
from ranvier.main.compose import compose
from ranvier.main.databases import CannotStart
from ranvier.main.parts import Parts
from ranvier.main.process import Process
from ranvier.store.database import Entry
from ranvier.store.log import Kind


class Noting:
    """A part that notes what happens to it."""

    def __init__(self, notes: list[str], name: str) -> None:
        self._notes = notes
        self._name = name

    def start(self) -> None:
        self._notes.append(f"{self._name} starts")

    def stop(self) -> None:
        self._notes.append(f"{self._name} stops")

    def heard(self, entries: Sequence[Entry]) -> None:
        self._notes.append(f"{self._name} hears {[entry.position for entry in entries]}")


class Second(Noting):
    async def stop(self) -> None:  # type: ignore[override]
        await asyncio.sleep(0)
        super().stop()
        raise OSError("it stuck")


class Third(Noting):
    pass


async def test_parts_stop_in_the_opposite_order_even_if_one_fails():
    notes: list[str] = []
    parts = Parts(Bell())
    for part in (Noting(notes, "first"), Second(notes, "second"), Third(notes, "third")):
        parts.add(part)
    await parts.start()
    with pytest.raises(ExceptionGroup):
        await parts.stop()
    starts, stops = notes[:3], notes[3:]
    assert starts == ["first starts", "second starts", "third starts"]
    assert stops == ["third stops", "second stops", "first stops"]


async def test_caches_hear_of_the_log_before_the_bell_rings():
    notes: list[str] = []
    bell = Bell()
    parts = Parts(bell)
    rings: list[Ring] = []
    bell.listen(lambda ring: (rings.append(ring), notes.append("ring"))[0])
    parts.add(Noting(notes, "cache"))
    parts.announce([Entry(Kind.EVENT, "r1", "1", None, 7), Entry(Kind.EVENT, "r2", "2", None, 8)])
    assert notes == ["cache hears [7, 8]", "ring"]
    assert rings == [Ring(6, 8, frozenset({"r1", "r2"}))]


def test_two_parts_of_one_type_are_a_mistake():
    parts = Parts(Bell())
    parts.add(Noting([], "a"))
    with pytest.raises(ValueError, match="Noting"):
        parts.add(Noting([], "b"))


async def test_the_bell_tells_those_who_wait_that_the_server_stops():
    bell = Bell()
    told: list[str] = []
    bell.when_closing(lambda: told.append("go"))
    assert not bell.is_closing
    bell.close()
    assert (told, bell.is_closing) == (["go"], True)


async def test_a_server_answers_on_each_database(server: Server):
    assert (await server.client.get("/health")).body == b"OK"
    owner = await server.composition.ground.database.fetch_value(
        "SELECT value FROM meta WHERE name = 'server_name'"
    )
    assert owner == SERVER_NAME


async def test_a_second_start_keeps_the_generation_of_the_log(
    database_settings: dict[str, Any], tmp_path: Path
):
    async def generation() -> str:
        server = await start_server(tmp_path, database=database_settings)
        query = "SELECT value FROM meta WHERE name = 'log_generation'"
        found = await server.composition.ground.database.fetch_value(query)
        await server.close()
        return str(found)

    first = await generation()
    assert len(first) >= 8
    assert await generation() == first


async def test_figures_stand_on_a_listener_with_that_resource_only_if_they_are_enabled(tmp_path: Path):
    async def status(enabled: bool) -> int:
        listener = {
            "port": 0,
            "bind_addresses": ["127.0.0.1"],
            "resources": [{"names": ["client", "metrics"]}],
        }
        config = configuration(tmp_path, listeners=[listener], enable_metrics=enabled)
        process = await Process.start(config)
        try:
            bound = process.listenings[0].bound[0]
            async with await RawConnection.open((bound.host, bound.port)) as raw:
                await raw.send(request("GET", "/_synapse/metrics"))
                return (await raw.answer()).status
        finally:
            await process.stop()

    assert await status(True) == 200
    assert await status(False) == 404


async def test_a_listener_for_federation_serves_no_clients(tmp_path: Path):
    listener = {"port": 0, "bind_addresses": ["127.0.0.1"], "resources": [{"names": ["federation"]}]}
    server = await start_server(tmp_path, listeners=[listener])
    try:
        assert (await server.client.get("/_matrix/client/versions", valid=False)).status == 404
        assert (await server.client.get("/health")).status == 200
    finally:
        await server.close()


async def test_a_start_that_fails_leaves_nothing_open(tmp_path: Path):
    config = configuration(tmp_path)
    first = await Process.start(config)
    port = first.listenings[0].bound[0].port
    taken = {"port": port, "bind_addresses": ["127.0.0.1"], "resources": [{"names": ["client"]}]}
    free = {**taken, "port": 0}
    before, collecting = set(asyncio.all_tasks()), list(gc.callbacks)
    with pytest.raises(Exception, match=str(port)):
        await Process.start(configuration(tmp_path / "second", listeners=[free, taken]))
    await asyncio.sleep(0)
    assert set(asyncio.all_tasks()) <= before
    assert gc.callbacks == collecting
    await first.stop()


async def test_a_postgresql_database_with_another_locale_is_refused_with_a_cure(
    postgres_socket: str, tmp_path: Path
):
    name = f"t{uuid.uuid4().hex}"
    connection = await asyncpg.connect(host=postgres_socket, user="postgres", database="postgres")
    await connection.execute(f"CREATE DATABASE {name} TEMPLATE template0 ENCODING 'SQL_ASCII' LOCALE 'C'")
    await connection.close()
    args = {"database": name, "user": "postgres", "host": postgres_socket}
    with pytest.raises(CannotStart, match="createdb --encoding=UTF8"):
        await compose(configuration(tmp_path, database={"name": "asyncpg", "args": args}))


async def test_a_postgresql_that_does_not_run_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(postgres_start, "WAIT_SECONDS", 0.5)
    args = {"database": "ranvier", "user": "postgres", "host": str(tmp_path)}
    with pytest.raises(CannotStart, match=r"database\.args"):
        await compose(configuration(tmp_path, database={"name": "asyncpg", "args": args}))


async def test_a_damaged_signing_key_is_named_and_not_shown(tmp_path: Path):
    (tmp_path / "signing.key").write_text("ed25519 a_test notbase64!!secret\n")
    with pytest.raises(CannotStart) as refused:
        await compose(configuration(tmp_path))
    assert "signing.key" in str(refused.value)
    assert "secret" not in str(refused.value)
