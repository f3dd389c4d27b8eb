"""Registering by the shared secret, and logging in with a password."""

import orjson

from bench import requests
from bench.arrivals import expect_equal
from bench.connection import Connection
from bench.figures import Result
from bench.load import connections
from bench.measurement import Window
from bench.world import PASSWORD, REGISTER, User, World, users_of


async def measure_registration(world: World) -> list[Result]:
    """One after the other; an operation is the nonce and the registration."""
    count = world.sizes.registrations
    bodies: list[bytes] = []
    with connections(world.server.address, 1) as (line,), world.bars.step("registering", count) as step:
        async with Window(world.server) as window:
            for _ in range(count):
                nonce = await line.expect(requests.build("GET", REGISTER))
                answer = await line.expect(world.registration(nonce.body))
                window.latencies.append(nonce.seconds + answer.seconds)
                bodies.append(answer.body)
                step.advance()
        users = users_of(bodies)
        checked = await _check_tokens(line, users)
    world.welcome(users)
    return [window.result("register", checked=checked)]


async def measure_login(world: World) -> list[Result]:
    """One after the other, each a new device of another user."""
    users = await world.users(world.sizes.logins)
    bodies: list[bytes] = []
    with connections(world.server.address, 1) as (line,), world.bars.step("logging in", len(users)) as step:
        async with Window(world.server) as window:
            for user in users:
                answer = await line.expect(requests.login(user.localpart, PASSWORD))
                window.latencies.append(answer.seconds)
                bodies.append(answer.body)
                step.advance()
        devices = users_of(bodies)
        expect_equal(
            "users logged in", [device.user_id for device in devices], [user.user_id for user in users]
        )
        checked = await _check_tokens(line, devices)
    return [window.result("log in", checked=checked)]


async def _check_tokens(line: Connection, users: list[User]) -> str:
    expect_equal("distinct access tokens", len({user.token for user in users}), len(users))
    for user in users:
        answer = await line.expect(requests.whoami(user.token))
        expect_equal("whoami", orjson.loads(answer.body)["user_id"], user.user_id)
    return f"{len(users)} distinct tokens known by whoami"
