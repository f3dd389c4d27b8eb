"""matrix-js-sdk, driven through the Node program in js/."""

from __future__ import annotations

import asyncio
import itertools
import json
import subprocess
import time
from pathlib import Path
from typing import Any

from tests.clients.traffic import Exchange, Traffic
from tests.clients.waiting import eventually

PROGRAM = Path(__file__).parent / "js"
LONGEST_LINE = 64 * 1024 * 1024
COMMAND_SECONDS = 60


class SdkFailure(Exception):
    """What a command of the SDK ended with; `errcode` and `status` are the server's, if it was a refusal."""

    def __init__(self, message: str, errcode: str | None, status: int | None) -> None:
        super().__init__(message)
        self.errcode = errcode
        self.status = status


def install() -> None:
    """Brings node_modules in line with the lock file; does nothing when they are."""
    installed = PROGRAM / "node_modules" / ".package-lock.json"
    wanted = PROGRAM / "package-lock.json"
    if not installed.exists() or installed.stat().st_mtime < wanted.stat().st_mtime:
        subprocess.run(["npm", "ci", "--no-audit", "--no-fund"], cwd=PROGRAM, check=True)


class JsProgram:
    """The Node process; several devices live in it."""

    def __init__(self, process: asyncio.subprocess.Process, traffic: Traffic) -> None:
        self._process = process
        self._traffic = traffic
        self._ids = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[Any]] = {}
        self._reader = asyncio.create_task(self._read())

    @classmethod
    async def start(cls, traffic: Traffic, log: Path) -> JsProgram:
        with log.open("ab") as stderr:
            process = await asyncio.create_subprocess_exec(
                "node",
                str(PROGRAM / "talk.mjs"),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=stderr,
                limit=LONGEST_LINE,
            )
        return cls(process, traffic)

    async def do(self, action: str, device: str, **arguments: Any) -> Any:
        """Sends one command; gives its answer or raises SdkFailure."""
        assert self._process.stdin is not None
        number = next(self._ids)
        future = self._waiting[number] = asyncio.get_running_loop().create_future()
        command = {"id": number, "do": action, "as": device, "with": arguments}
        self._process.stdin.write(json.dumps(command).encode() + b"\n")
        await self._process.stdin.drain()
        async with asyncio.timeout(COMMAND_SECONDS):
            return await future

    async def open(self, name: str, base_url: str) -> JsDevice:
        await self.do("open", name, baseUrl=base_url)
        return JsDevice(self, name)

    async def close(self) -> None:
        if self._process.stdin is not None:
            self._process.stdin.close()
        try:
            async with asyncio.timeout(5):
                await self._process.wait()
        except TimeoutError:
            self._process.kill()
            await self._process.wait()
        await self._reader

    async def _read(self) -> None:
        assert self._process.stdout is not None
        while line := await self._process.stdout.readline():
            self._take(json.loads(line))
        for future in self._waiting.values():
            if not future.done():
                future.set_exception(SdkFailure("the Node program has ended", None, None))

    def _take(self, message: dict[str, Any]) -> None:
        if "exchange" in message:
            self._traffic.add(Exchange(**message["exchange"]))
        elif "log" in message:
            self._traffic.hear("js", message["log"]["level"], message["log"]["text"], time.time())
        else:
            future = self._waiting.pop(message["id"])
            if future.done():
                return
            if (failure := message.get("failure")) is not None:
                text = f"{failure['message']}\n{failure.get('stack', '')}"
                future.set_exception(SdkFailure(text, failure.get("errcode"), failure.get("status")))
            else:
                future.set_result(message["answer"])


class JsDevice:
    """One device; `do` names a method of `Device` in js/device.mjs."""

    def __init__(self, program: JsProgram, name: str) -> None:
        self._program = program
        self.name = name
        self.user_id = ""
        self.device_id = ""
        self.access_token = ""
        self.is_syncing = False

    async def do(self, action: str, **arguments: Any) -> Any:
        return await self._program.do(action, self.name, **arguments)

    async def login(self, username: str, password: str) -> dict[str, Any]:
        answer = await self.do("login", username=username, password=password, deviceName=self.name)
        self.user_id, self.device_id = answer["user_id"], answer["device_id"]
        self.access_token = answer["access_token"]
        return dict(answer)

    async def start(self) -> None:
        await self.do("start")
        self.is_syncing = True

    async def logout(self) -> None:
        self.is_syncing = False
        await self.do("logout")

    async def close(self) -> None:
        self.is_syncing = False
        await self.do("stop")

    async def come_back(self) -> None:
        """After the server was away: tries again at once and waits until syncs flow."""

        async def is_syncing() -> bool:
            if await self.do("syncState") == "SYNCING":
                return True
            await self.do("retry")
            return False

        await eventually(is_syncing, f"{self.name} syncs again")

    async def event(self, room: str, event_id: str, **wanted: Any) -> dict[str, Any]:
        """The event once the device shows it, decrypted, with these values (for content: at least these keys)."""

        def fits(event: dict[str, Any]) -> bool:
            return all(
                event["content"].items() >= value.items() if key == "content" else event[key] == value
                for key, value in wanted.items()
            )

        async def look() -> dict[str, Any] | None:
            event = await self.do("event", roomId=room, eventId=event_id)
            seen.append(event)
            return event if event and not event["undecryptable"] and fits(event) else None

        seen: list[Any] = []
        try:
            return await eventually(look, f"{self.name} shows {event_id} with {wanted}") or {}
        except AssertionError as late:
            raise AssertionError(f"{late}; it shows {seen[-1]}") from late

    async def cannot_read(self, room: str, event_id: str) -> None:
        """Returns once the device has the event and says that it has no key for it."""

        async def look() -> bool:
            event = await self.do("event", roomId=room, eventId=event_id)
            return event is not None and event["undecryptable"] is not None

        await eventually(look, f"{self.name} cannot read {event_id}")

    async def room(self, room: str, **wanted: Any) -> dict[str, Any]:
        """The room once the device shows it with these values."""

        async def look() -> dict[str, Any] | None:
            found = await self.do("room", roomId=room)
            seen.append(found)
            return found if found and all(found[key] == value for key, value in wanted.items()) else None

        seen: list[Any] = []
        try:
            return await eventually(look, f"{self.name} shows the room with {wanted}") or {}
        except AssertionError as late:
            raise AssertionError(f"{late}; it shows {seen[-1]}") from late

    async def read_up_to(self, room: str, user_id: str, event_id: str, thread: str | None = None) -> None:
        """Returns once the device knows that the user has read up to the event."""

        async def look() -> bool:
            seen.append(await self.do("readUpTo", roomId=room, userId=user_id, threadId=thread))
            return bool(seen[-1] == event_id)

        seen: list[Any] = []
        await eventually(look, f"{self.name} knows that {user_id} has read up to {event_id}")
