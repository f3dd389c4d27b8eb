"""A stop in the middle of work: requests under way are answered, nothing that was answered is lost."""

import asyncio
import signal
from collections.abc import AsyncIterator

import pytest
from tests.server import ServerProcess, UserClient, register


@pytest.fixture
async def alice(server_process: ServerProcess) -> AsyncIterator[UserClient]:
    async with server_process.client() as anonymous:
        login = await register(anonymous, "alice")
    async with UserClient(server_process.base_url, login) as made:
        yield made


async def test_a_long_poll_is_answered_at_once_when_the_server_stops(
    server_process: ServerProcess, alice: UserClient
):
    since = (await alice.sync())["next_batch"]
    since = (await alice.sync(since))["next_batch"]
    waiting = asyncio.create_task(alice.sync(since, timeout=25_000))
    await asyncio.sleep(0.3)
    assert not waiting.done()
    began = asyncio.get_running_loop().time()
    server_process.signal(signal.SIGTERM)
    answer = await asyncio.wait_for(waiting, 5)
    assert answer["next_batch"]
    assert await server_process.wait() == 0
    assert asyncio.get_running_loop().time() - began < 5


class Talk:
    """Eight senders in one room, and what the server answered to them."""

    def __init__(self, client: UserClient, room_id: str) -> None:
        self._client = client
        self._room_id = room_id
        self.answered: dict[str, str] = {}
        self._tasks = [asyncio.create_task(self._talk(number)) for number in range(8)]

    async def _talk(self, number: int) -> None:
        for place in range(1000):
            txn_id = f"{number}.{place}"
            self.answered[txn_id] = await self._client.send(self._room_id, txn_id, txn_id=txn_id)

    async def until(self, count: int) -> None:
        while len(self.answered) < count:
            await asyncio.sleep(0.01)
            assert not all(task.done() for task in self._tasks)

    async def end(self) -> None:
        await asyncio.gather(*self._tasks, return_exceptions=True)
        assert len(self.answered) < 8000

    async def check_that_all_is_known(self) -> None:
        """A retry of what was answered gets the same answer: nothing is lost, and nothing happens twice."""
        for txn_id, event_id in self.answered.items():
            assert await self._client.send(self._room_id, txn_id, txn_id=txn_id) == event_id


async def test_what_was_answered_before_the_power_failed_is_there_after_it(
    server_process: ServerProcess, alice: UserClient
):
    talk = Talk(alice, await alice.create_room(preset="private_chat"))
    await talk.until(100)
    await server_process.kill()
    await talk.end()
    await server_process.start()
    await talk.check_that_all_is_known()


async def test_what_was_answered_before_a_stop_is_there_after_it(
    server_process: ServerProcess, alice: UserClient
):
    talk = Talk(alice, await alice.create_room(preset="private_chat"))
    await talk.until(100)
    assert await server_process.stop() == 0
    await talk.end()
    await server_process.start()
    await talk.check_that_all_is_known()


async def test_clients_that_hang_up_while_they_send_do_not_harm_the_others(
    server_process: ServerProcess, alice: UserClient
):
    room = await alice.create_room(preset="private_chat")
    for round_of_clients in range(20):
        hasty = [
            asyncio.create_task(alice.send(room, "x", txn_id=f"h{round_of_clients}.{n}")) for n in range(10)
        ]
        await asyncio.sleep(0.002 * (round_of_clients % 5))
        for task in hasty:
            task.cancel()
        await asyncio.gather(*hasty, return_exceptions=True)
    assert (await alice.send(room, "still here")).startswith("$")
    assert await server_process.stop() == 0
