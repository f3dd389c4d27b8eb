"""Servers that share a room come to agree on it, whatever the network did, and nothing that was answered is lost."""

import asyncio
from pathlib import Path

import pytest
from tests.scenes.world import Faults, Person, World, play


async def gathering(world: World, *names: str) -> tuple[str, list[Person]]:
    """A room with one person of each server in it; the first one's server made it."""
    people = [await (await world.server(f"{name}.test")).person(name) for name in names]
    room_id = await people[0].create_room(preset="public_chat", room_version="11")
    for person in people[1:]:
        await person.join(room_id, people[0].server)
    return room_id, people


async def talk(world: World, room_id: str, people: list[Person], messages: int) -> None:
    """Everybody says something now and then."""

    async def one(person: Person) -> None:
        for number in range(messages):
            await asyncio.sleep(world.chance.uniform(0, 5))
            await person.say(room_id, f"{number} of {person.user_id}")

    await asyncio.gather(*map(one, people))


async def agreed(world: World, room_id: str, people: list[Person]) -> None:
    """Wait until all servers have everything and see the same state."""
    sent = [event_id for person in people for event_id in person.sent]

    async def is_so() -> bool:
        states = [await person.state(room_id) for person in people]
        if any(state != states[0] for state in states):
            return False
        for person in people:
            for event_id in sent:
                if not await person.has(room_id, event_id):
                    return False
        return True

    await world.until(is_so)


@pytest.mark.parametrize("seed", range(3))
def test_three_servers_agree_after_delay_loss_reordering_and_repetition(tmp_path: Path, seed: int):
    async def scene(world: World) -> None:
        room_id, people = await gathering(world, "alpha", "beta", "gamma")
        world.faults = Faults(delay=(0.01, 3.0), lost=0.1, answer_lost=0.1, twice=0.1)
        await talk(world, room_id, people, 12)
        world.heal()
        await agreed(world, room_id, people)

    play(scene, tmp_path, seed)


@pytest.mark.parametrize("seed", range(3))
def test_both_sides_of_a_partition_agree_once_it_is_over(tmp_path: Path, seed: int):
    async def scene(world: World) -> None:
        room_id, people = await gathering(world, "alpha", "beta", "gamma")
        alpha, beta, gamma = people
        powers = {"users": {person.user_id: 100 for person in people}}
        assert (await alpha.set_state(room_id, "m.room.power_levels", powers)).status == 200
        await agreed(world, room_id, people)
        world.part("alpha.test")
        await talk(world, room_id, people, 5)
        await alpha.set_state(room_id, "m.room.topic", {"topic": "of alpha"})
        await beta.set_state(room_id, "m.room.topic", {"topic": "of beta"})
        await alpha.set_state(room_id, "m.room.name", {"name": "of alpha"})
        await asyncio.sleep(600)
        world.heal()
        await agreed(world, room_id, people)
        await talk(world, room_id, [gamma], 2)
        await agreed(world, room_id, people)

    play(scene, tmp_path, seed)


@pytest.mark.parametrize("seed", range(2))
def test_a_server_that_was_stopped_has_everything_soon_after_it_starts(tmp_path: Path, seed: int):
    async def scene(world: World) -> None:
        room_id, people = await gathering(world, "alpha", "beta")
        alpha, beta = people
        world.faults = Faults(delay=(0.01, 0.5), answer_lost=0.1)
        await talk(world, room_id, people, 3)
        await beta.server.stop()
        await talk(world, room_id, [alpha], 60)
        await alpha.server.stop()
        await alpha.server.start()
        await beta.server.start()
        await beta.say(room_id, "here again")
        world.heal()
        await agreed(world, room_id, people)

    play(scene, tmp_path, seed)
