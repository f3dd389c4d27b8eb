"""What strangers and users with bad intent may send to every endpoint: no answer is ever this server's fault, what was
refused left nothing behind, and nobody acts on what is another's.

`RANVIER_HOSTILE=500` sends that many requests to each endpoint; `RANVIER_HOSTILE_SEED` repeats a run.
"""

from __future__ import annotations

import os
import random
import time
from typing import Any

import aiohttp
import pytest
from tests.http.hostile import Attack, Attacker
from tests.http_client import CONTRACT, path_of
from tests.media.images_made import picture
from tests.server import PASSWORD, Server, UserClient, login
from yarl import URL

from ranvier.accounts.moderation import Flag, Moderation
from ranvier.accounts.registration import NewAccount, Registration
from ranvier.accounts.user_directory import UserDirectory
from ranvier.main import routes
from ranvier.rooms.following import Following
from ranvier.rooms.search import Searching

V3 = "_matrix/client/v3"
REQUESTS = int(os.environ.get("RANVIER_HOSTILE", "3"))
SEED = int(os.environ.get("RANVIER_HOSTILE_SEED") or random.SystemRandom().randrange(10**6))
SECONDS = 10
"""No answer takes longer, on a slow machine."""
SECRET = "tHe-sEcReT-0f-a-UsEr"
TRACES = frozenset({"interactive_sessions", "registration_nonces", "device_sightings", "batches"})
"""Tables in which a request that is refused may leave something: steps of authentication, and who was last seen."""
BEHIND = frozenset(
    {
        "destinations",
        "server_keys",
        "sending_positions",
        "lagging_destinations",
        "followers",
        "search_texts",
        "processes",
        "leases",
    }
)
"""Tables that the server writes at its own time: of other servers, of readers of the log, and of its processes."""
INDEX_OF_WORDS = "search_words"
"""How SQLite's tables begin that hold the index of words in messages: a reader of the log fills them, too."""
OF_HTTP = frozenset({414, 416})
"""Statuses that RFC 9110 has for any request, with a standard error here; the specification lists them nowhere."""
BACKUPS = frozenset({f"/{V3}/room_keys/version"})
"""COMPAT(Complement): algorithms of key backups are not only those that the specification lists."""
OTHERS_WELCOME = frozenset(
    {
        ("GET", f"/{V3}/profile/{{userId}}"),
        ("GET", f"/{V3}/profile/{{userId}}/{{keyName}}"),
        ("GET", f"/{V3}/presence/{{userId}}/status"),
        ("POST", f"/{V3}/users/{{userId}}/report"),
    }
)
"""What others may ask of a user with whom they share a room, and say of them to the administrators."""

FLAGS: tuple[Flag, ...] = ("locked", "suspended")
PICTURE = picture(64, 48)

ENDPOINTS = routes()
WITH_TOKEN = [endpoint for endpoint in ENDPOINTS if endpoint.access == "token"]


class Scene:
    """A server with a victim, an attacker, an administrator whose computer was stolen, and what all of them have."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=SECONDS))
        self.alice: UserClient
        self.mallory: UserClient
        self.root: UserClient
        self.known: dict[str, list[str]] = {}
        self.tables: list[str] = []
        self._number = 0

    async def prepare(self) -> None:
        self.alice = await self.server.register("alice", "what only alice knows")
        await self.server.register("bob", "what only bob knows")
        self.private = await self.alice.create_room(preset="private_chat", topic=SECRET)
        self.public = await self.alice.create_room(preset="public_chat", room_alias_name="public")
        self.events = [await self.alice.send(room, "hello") for room in (self.private, self.public)]
        data = path_of(f"{V3}/user", self.alice.user_id, "account_data", "org.example")
        (await self.alice.put(data, json={"secret": SECRET})).ok()
        self.tables = await self._tables()
        await self.renew()

    async def renew(self) -> None:
        """Another attacker and administrator: the last ones may have thrown their accounts away."""
        self._number += 1
        for flag in FLAGS:
            await self.server.composition.parts.get(Moderation).set_flag(self.alice.user_id, flag, False)
        name = f"mallory{self._number}"
        self.mallory = mallory = await self.server.register(name)
        await login(self.server.client, name, device_id="M2")
        new = NewAccount(self.server.user_id(f"root{self._number}"), PASSWORD, admin=True)
        await self.server.composition.parts.get(Registration).create(new, None)
        self.root = await self.server.login(f"root{self._number}")
        await mallory.join(self.public)
        mine = await mallory.create_room(preset="public_chat", room_alias_name=f"mine{self._number}")
        await self.alice.join(mine)
        event = await mallory.send(mine, "hello")
        upload = await mallory.post(
            "/_matrix/media/v3/upload", body=PICTURE, headers={"Content-Type": "image/png"}
        )
        announced = (await mallory.post("/_matrix/media/v1/create")).ok()["content_uri"].rpartition("/")[2]
        filtered = await mallory.post(path_of(f"{V3}/user", mallory.user_id, "filter"), json={})
        rule = path_of(f"{V3}/pushrules/global/content/mine")
        (await mallory.put(rule, json={"pattern": "x", "actions": ["notify"]})).ok()
        backup = {"algorithm": "m.megolm_backup.v1.curve25519-aes-sha2", "auth_data": {}}
        (await mallory.post(f"/{V3}/room_keys/version", json=backup)).ok()
        session = await self.server.client.post(
            f"/{V3}/register", json={"username": "eve", "password": PASSWORD}
        )
        others = [self.alice.user_id, self.server.user_id("bob"), "@nobody:ranvier.test", "@far:away.example"]
        users = [*[mallory.user_id] * 6, *others]
        rooms = [*[mine] * 6, self.private, self.public, "!nowhere:ranvier.test"]
        aliases = [
            f"#mine{self._number}:ranvier.test",
            "#public:ranvier.test",
            "#new:ranvier.test",
            "#a:away.example",
        ]
        devices = [mallory.device_id, "M2", self.alice.device_id]
        pagination = [(await mallory.sync())["next_batch"]]
        self.known = {
            "": ["a", "org.example.thing", "1"],
            "a key": [*users, *rooms, "*", *devices, f"ed25519:{mallory.device_id}", "sessions", "s1"],
            "address": ["a@example.org"],
            "algorithm": ["m.megolm_backup.v1.curve25519-aes-sha2"],
            "at": pagination,
            "auth": [""],
            "authType": ["m.login.dummy", "m.login.password", "m.login.terms", "m.login.registration_token"],
            "avatar_url": ["mxc://ranvier.test/abc"],
            "body": ["hello"],
            "deviceId": devices,
            "device_id": devices,
            "devices": devices,
            "dir": ["b", "f"],
            "eventId": [*[event] * 6, *self.events, "$nothing"],
            "eventType": [
                "m.room.message",
                "m.room.member",
                "m.room.power_levels",
                "m.room.create",
                "m.room.name",
            ],
            "filename": ["a.txt", 'a"; filename=b', "é\r\nx: y"],
            "filter": ["{}", '{"limit":1}', '{"room":{"rooms":[]}}'],
            "filterId": [filtered.ok()["filter_id"], "999"],
            "from": pagination,
            "invite": others,
            "keyName": ["displayname", "avatar_url", "m.tz", "org.example.colour"],
            "kind": ["content", "override", "room", "sender", "underride"],
            "limit": ["10"],
            "m.fully_read": [event, *self.events],
            "m.read": [event, *self.events],
            "m.read.private": [event, *self.events],
            "mediaId": [*[upload.ok()["content_uri"].rpartition("/")[2]] * 2, announced, "none"],
            "medium": ["email"],
            "membership": ["join", "leave", "ban"],
            "new_password": [PASSWORD],
            "new_version": ["11", "12", "org.example"],
            "password": [SECRET, PASSWORD],
            "preset": ["private_chat"],
            "receiptType": ["m.read", "m.read.private", "m.fully_read"],
            "refresh_token": [SECRET],
            "relType": ["m.thread", "m.replace", "m.annotation"],
            "roomAlias": aliases,
            "roomId": rooms,
            "roomIdOrAlias": [*rooms, *aliases],
            "room_alias_name": ["new", "public"],
            "room_id": rooms,
            "room_version": ["1", "6", "11", "12", "org.example"],
            "ruleId": ["mine", "mine", ".m.rule.master", mine],
            "serverName": [*[self.server.server_name] * 4, "away.example"],
            "server": [self.server.server_name],
            "session": [session.json["session"]],
            "since": pagination,
            "stateKey": ["", *users],
            "state_key": ["", *users],
            "timeout": ["0"],
            "to": pagination,
            "token": [SECRET],
            "ts": ["0", "1700000000000"],
            "type": ["m.id.user", "m.login.password", "m.login.token", "m.room.name", "m.tag", "org.example"],
            "user": ["alice", *users],
            "userId": users,
            "user_id": [*others, mallory.user_id],
            "username": ["alice", "eve"],
            "valid": ["true"],
            "version": ["1", "1", "2"],
            "height": ["32"],
            "width": ["32"],
        }

    async def _tables(self) -> list[str]:
        database = self.server.composition.ground.database
        query = (
            "SELECT name FROM sqlite_master WHERE type = 'table'"
            if database.dialect == "sqlite"
            else "SELECT tablename FROM pg_tables WHERE schemaname = 'public'"
        )
        names = {str(row[0]) for row in await database.fetch(query)} - TRACES - BEHIND
        return sorted(name for name in names if not name.startswith(INDEX_OF_WORDS))

    async def stored(self) -> dict[str, list[Any]]:
        """All that lies in the database, once the readers of the log have written what they make of it."""
        database = self.server.composition.ground.database
        # What comes with a room's successor is told in the log, which the other two follow.
        parts = self.server.composition.parts
        for following in (
            parts.get(Following),
            parts.get(UserDirectory)._following,
            parts.get(Searching)._following,
        ):
            await following.catch_up(SECONDS)
        return {
            table: sorted(map(repr, map(tuple, await database.fetch(f"SELECT * FROM {table}"))))
            for table in self.tables
        }

    async def send(self, attack: Attack) -> tuple[int, bytes]:
        """The answer, which is one that the specification allows."""
        base = self.server.base_url + attack.path + ("?" + attack.query if attack.query else "")
        headers = {"Authorization": f"Bearer {attack.token}"} if attack.token else {}
        began = time.monotonic()
        async with self.session.request(
            attack.method, URL(base, encoded=True), data=attack.body, headers=headers, allow_redirects=False
        ) as answer:
            body = await answer.read()
            # 502: of another server, which can't be reached from here.
            assert answer.status < 500 or answer.status == 502 or b"M_NOT_YET_UPLOADED" in body, (
                f"{attack}: {answer.status} {body[:500]!r}"
            )
            assert time.monotonic() - began < SECONDS
            if answer.status in OF_HTTP:
                assert b'"errcode"' in body, f"{attack}: {body[:500]!r}"
            elif attack.path not in BACKUPS:
                CONTRACT.check_response(None, attack.method, attack.path, answer.status, answer.headers, body)
            if answer.status >= 400:
                assert SECRET.encode() not in body, f"{attack}: {body!r}"
                assert attack.token.encode() not in body or not attack.token, f"{attack}: {body!r}"
            return answer.status, body

    async def is_whole(self) -> bool:
        """Whether attacker and administrator are still logged in, and the attacker is in their room."""
        for somebody in (self.mallory, self.root):
            if (await somebody.get(f"/{V3}/account/whoami")).status != 200:
                return False
        return self.known["roomId"][0] in (await self.mallory.get(f"/{V3}/joined_rooms")).ok()["joined_rooms"]

    async def close(self) -> None:
        await self.session.close()


@pytest.fixture
async def scene(server: Server) -> Any:
    made = Scene(server)
    await made.prepare()
    yield made
    await made.close()


async def test_no_request_is_the_servers_fault_and_what_is_refused_leaves_nothing(
    scene: Scene, capfd: Any, caplog: pytest.LogCaptureFixture
):
    caplog.set_level("DEBUG", "ranvier")
    chance = random.Random(SEED)
    attacker = Attacker(chance, scene.known)
    faults: list[str] = []
    before = await scene.stored()
    for endpoint in chance.sample(ENDPOINTS * REQUESTS, len(ENDPOINTS) * REQUESTS):
        who = scene.root if chance.random() < 0.2 or "admin" in endpoint.path else scene.mallory
        attack = attacker.attack(endpoint, who.token or "", breaks=chance.random() < 0.8)
        try:
            status, body = await scene.send(attack)
        except (AssertionError, TimeoutError, aiohttp.ClientError) as error:
            faults.append(f"{attack}: {error!r}")
            before = await scene.stored()
            continue
        if endpoint.method == "GET":
            if endpoint.name == "sync":
                # Messages to a device are deleted once it has them.
                before = await scene.stored()
            continue
        if status < 400:
            if not await scene.is_whole():
                await scene.renew()
                attacker.known = scene.known
            before = await scene.stored()
            continue
        after = await scene.stored()
        changed = [name for name in before if before[name] != after[name]]
        if changed:
            faults.append(f"{attack}: {status} {body[:300]!r} changed {changed}")
            before = after
    assert not faults, f"seed {SEED}: {len(faults)} faults\n" + "\n".join(faults[:50])
    await scene.renew()
    assert scene.known["roomId"][0] in (await scene.alice.sync())["rooms"]["join"]
    said = capfd.readouterr()
    assert SECRET not in said.out + said.err + caplog.text, f"seed {SEED}"


async def test_without_a_token_that_is_known_nobody_gets_in(scene: Scene):
    attacker = Attacker(random.Random(SEED), scene.known)
    for endpoint in WITH_TOKEN:
        for token in ("", "rva_of_nobody", "x" * 5000):
            status, body = await scene.send(attacker.attack(endpoint, token, breaks=False))
            wanted = b"M_UNKNOWN_TOKEN" if token else b"M_MISSING_TOKEN"
            assert status == 401 and wanted in body, (endpoint.name, status, body)


async def test_who_is_deactivated_gets_in_nowhere_and_who_is_locked_can_only_log_out(scene: Scene):
    attacker = Attacker(random.Random(SEED), scene.known)
    gone, locked = await scene.server.register("gone"), await scene.server.register("locked")
    auth = {
        "type": "m.login.password",
        "identifier": {"type": "m.id.user", "user": "gone"},
        "password": PASSWORD,
    }
    (await gone.post(f"/{V3}/account/deactivate", json={"auth": auth})).ok()
    await scene.server.composition.parts.get(Moderation).set_flag(locked.user_id, "locked", True)
    for endpoint in WITH_TOKEN:
        status, body = await scene.send(attacker.attack(endpoint, gone.token or "", breaks=False))
        assert status == 401 and b"M_UNKNOWN_TOKEN" in body, (endpoint.name, status, body)
        if not endpoint.locked_ok:
            status, body = await scene.send(attacker.attack(endpoint, locked.token or "", breaks=False))
            assert status == 401 and b"M_USER_LOCKED" in body, (endpoint.name, status, body)
    assert {endpoint.path for endpoint in ENDPOINTS if endpoint.locked_ok} == {
        f"/{V3}/logout",
        f"/{V3}/logout/all",
    }
    (await locked.post(f"/{V3}/logout")).ok()


async def test_nobody_acts_for_another_user(scene: Scene):
    attacker = Attacker(random.Random(SEED), {**scene.known, "userId": [scene.alice.user_id]})
    before = await scene.stored()
    of_clients = [e for e in ENDPOINTS if "{userId}" in e.path and e.access != "server"]
    of_users = [e for e in of_clients if (e.method, e.path) not in OTHERS_WELCOME]
    for endpoint in of_users * 3:
        attack = attacker.attack(endpoint, scene.mallory.token or "", breaks=False)
        status, body = await scene.send(attack)
        # What is wrong with the body may be told first.
        assert status in (400, 403), f"seed {SEED}: {attack}: {status} {body!r}"
        assert status == 400 or b"M_FORBIDDEN" in body, body
        assert await scene.stored() == before, f"seed {SEED}: {attack}"
