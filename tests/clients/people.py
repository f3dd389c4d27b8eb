"""People with accounts and devices on the server under test."""

from __future__ import annotations

import asyncio
import itertools
from pathlib import Path
from typing import Any

from tests.clients.homeserver import HomeserverProcess, uncached
from tests.clients.js_device import JsDevice, JsProgram
from tests.clients.nio_device import NioDevice
from tests.clients.traffic import Traffic

_NUMBERS = itertools.count(1)


class People:
    """Makes accounts and devices; each account's name is used once in a test run."""

    def __init__(self, server: HomeserverProcess, program: JsProgram, traffic: Traffic, folder: Path) -> None:
        self._server = server
        self._program = program
        self._traffic = traffic
        self._folder = folder
        self.devices: list[NioDevice | JsDevice] = []

    @staticmethod
    def new_name(name: str) -> str:
        return f"{name}-{next(_NUMBERS)}"

    @staticmethod
    def password_of(username: str) -> str:
        return f"the pass phrase of {username}"

    async def nio(self, name: str) -> NioDevice:
        """A new account, registered with nio, logged in and syncing."""
        username = self.new_name(name)
        device = self.open_nio(username)
        device.ok(await device.client.register(username, self.password_of(username)))
        await device.login(self.password_of(username))
        await device.start()
        return device

    async def js(self, name: str) -> JsDevice:
        """A new account, registered with matrix-js-sdk, logged in and syncing."""
        username = self.new_name(name)
        device = await self.open_js(username)
        await device.do("register", username=username, password=self.password_of(username))
        return await self._begin(device, username)

    async def another_js(self, owner: JsDevice) -> JsDevice:
        """One more device of an account."""
        username = owner.user_id[1:].partition(":")[0]
        return await self._begin(await self.open_js(username), username)

    async def _begin(self, device: JsDevice, username: str) -> JsDevice:
        await device.login(username, self.password_of(username))
        await device.start()
        return device

    def open_nio(self, username: str) -> NioDevice:
        name = f"nio:{username}:{len(self.devices)}"
        store = self._folder / name.replace(":", "-")
        device = NioDevice(name, self._server.base_url, username, store, self._traffic)
        self.devices.append(device)
        return device

    async def open_js(self, username: str) -> JsDevice:
        device = await self._program.open(f"js:{username}:{len(self.devices)}", self._server.base_url)
        self.devices.append(device)
        return device

    @property
    def server_resumes_work(self) -> bool:
        return self._server.resumes_work

    async def ask(self, method: str, path: str, token: str, body: Any = None) -> Any:
        """The answer to a request outside of any SDK, which must succeed."""
        status, answer = await asyncio.to_thread(self._server.ask, method, path, body, token)
        assert status == 200, f"{method} {path}: {status} {answer}"
        return answer

    async def everything(self, token: str) -> Any:
        """The answer to a sync without a token."""
        return await self.ask("GET", f"/_matrix/client/v3/sync?{uncached()}", token)

    async def come_back(self) -> None:
        """After the server was away: waits until every device that was syncing syncs again."""
        for device in self.devices:
            if device.is_syncing:
                await device.come_back()

    async def close(self) -> None:
        for device in self.devices:
            await device.close()
