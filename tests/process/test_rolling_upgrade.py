"""The next version of the program beside this one, on one database."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any

import asyncpg
from tests.conftest import PostgresDatabases
from tests.http_client import path_of
from tests.process.test_supervisor import Caller
from tests.server import ServerProcess, UserClient, register

NEXT = """
import sys
import ranvier
from ranvier.store import schema

present = schema.files

def files(dialect):
    return {
        **present(dialect),
        9000: [
            "CREATE TABLE of_the_next_version (name TEXT PRIMARY KEY)",
            "ALTER TABLE processes ADD COLUMN mood TEXT NOT NULL DEFAULT 'good'",
            "ALTER TABLE devices ADD COLUMN colour TEXT",
        ],
    }

ranvier.__version__ = "9.0"
schema.files = files
from ranvier.cli import main
main(prog_name="ranvier")
"""


class NextVersion(ServerProcess):
    """A process of the program as it may be one day: its schema has more than this one knows."""

    @property
    def command(self) -> list[str]:
        program = self.folder / "next.py"
        program.write_text(NEXT)
        return [sys.executable, str(program), "run", "--config", str(self.config)]


async def test_processes_of_two_versions_serve_the_same_people_and_the_older_may_be_restarted(
    tmp_path: Path, postgres_databases: PostgresDatabases
):
    args = {
        "database": await postgres_databases.make(),
        "user": "postgres",
        "host": postgres_databases.folder,
    }
    keys: dict[str, Any] = {
        "database": {"name": "asyncpg", "args": args},
        "signing_key_path": str(tmp_path / "signing.key"),
    }
    older, newer = ServerProcess(tmp_path / "older", **keys), NextVersion(tmp_path / "newer", **keys)
    try:
        await older.start(90)
        async with older.client() as client:
            login = await register(client, "alice")
        async with UserClient(older.base_url, login) as before, UserClient(newer.base_url, login) as after:
            room_id, shared = await before.create_room(), await before.create_room()
            path = f"/{path_of('_matrix/client/v3/rooms', room_id, 'send', 'm.room.message').lstrip('/')}/x"
            caller = Caller(older.port, path, before.token or "")
            done = asyncio.Event()
            calling = asyncio.create_task(caller.run(done))
            # The newer one changes the schema below the older one, which is busy.
            await newer.start(90)
            await _each_reads_the_other(before, after, shared, "together")
            done.set()
            await calling
            assert caller.failures == [] and caller.answered > 5
            connection = await asyncpg.connect(
                host=args["host"], user=args["user"], database=args["database"]
            )
            assert await connection.fetchval("SELECT max(version) FROM schema_version") == 9000
            await connection.close()
            await older.stop()
            await older.start(90)
            await _each_reads_the_other(before, after, shared, "after the restart")
    finally:
        await older.kill()
        await newer.kill()


async def _each_reads_the_other(one: UserClient, other: UserClient, room_id: str, what: str) -> None:
    for writer, reader in ((one, other), (other, one)):
        since = (await reader.sync())["next_batch"]
        event_id = await writer.send(room_id, what, txn_id=f"{what} {writer is one}")
        answer = await reader.sync(since, timeout=10_000)
        told = answer["rooms"]["join"][room_id]["timeline"]["events"]
        assert [event["event_id"] for event in told] == [event_id]
