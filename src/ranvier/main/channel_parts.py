"""The channel to the other processes, and what travels on it for the log."""

from collections.abc import Sequence
from typing import Final

import orjson

from ranvier.bus.channel import Channel
from ranvier.bus.rings import LOG, read_ring, write_ring
from ranvier.bus.silence import Silence
from ranvier.config import Config, PostgresStore
from ranvier.config.process_records import Redis
from ranvier.main.databases import connection_arguments
from ranvier.main.parts import Parts
from ranvier.remote.back_off import BackOff
from ranvier.rooms.ephemera_elsewhere import PRESENCE, TYPING, WHO, EphemeraElsewhere
from ranvier.rooms.presence import Presences
from ranvier.rooms.typing import Typing
from ranvier.store.database import Database, Entry
from ranvier.store.destinations import Failing
from ranvier.store.neighbours import Neighbours
from ranvier.store.tailing import Tailing

PROCESSES: Final = "processes"
"""The topic of those who come and go."""
_BACK: Final = "back"
"""The topic of other servers that are there again."""
_AWAY: Final = "away"
"""That of those that were tried in vain."""


def open_channel(config: Config, database: Database, tailing: Tailing) -> Channel:
    """Redis if it is configured, else PostgreSQL itself; one process on SQLite needs none."""
    where = config.database
    if not isinstance(where, PostgresStore):
        return Silence()
    if config.processes.redis is not None:
        channel = _redis(config.processes.redis, config.server.name)
        _tell_by(channel, tailing)
    else:
        channel = _listen(where, database, tailing)
    _hear_by(channel, tailing)
    return channel


def _redis(redis: Redis, server_name: str) -> Channel:
    from ranvier.bus.redis import RedisAddress, RedisChannel  # noqa: PLC0415 - only where it is used

    tls = redis.tls
    address = RedisAddress(
        redis.host,
        redis.port,
        redis.path,
        redis.username,
        redis.password.reveal() if redis.password is not None else None,
        redis.dbid,
        tls is not None,
        tls.certificate if tls is not None else None,
        tls.private_key if tls is not None else None,
        tls.authorities if tls is not None else None,
        tls.authorities_folder if tls is not None else None,
    )
    return RedisChannel(address, server_name)


def _listen(where: PostgresStore, database: Database, tailing: Tailing) -> Channel:
    """Commits tell of themselves, as long as there is somebody to be told."""
    from ranvier.bus.listen import Listen  # noqa: PLC0415 - with SQLite its driver is not needed
    from ranvier.store.postgres import PostgresDatabase  # noqa: PLC0415

    assert isinstance(database, PostgresDatabase)
    if database.connections.pooled:
        # A pooler such as PgBouncer passes no notifications on: the log is looked at once a second.
        return Silence()
    database.connections.lend()
    neighbours = tailing.neighbours

    def ring() -> None:
        database.rings_as = neighbours.me if len(neighbours.alive()) > 1 else None

    neighbours.when_changed(ring)
    return Listen(connection_arguments(where))


def _tell_by(channel: Channel, tailing: Tailing) -> None:
    """Commits are told of once they are made."""

    def tell(previous: int, entries: Sequence[Entry]) -> None:
        rows = [(entry.kind, entry.audience, entry.ref) for entry in entries]
        channel.publish(LOG, write_ring(previous, entries[0].position, tailing.neighbours.me, rows))

    tailing.tell = tell


def _hear_by(channel: Channel, tailing: Tailing) -> None:
    """The bell of other processes rings here, and who comes or goes is noticed at once."""
    neighbours = tailing.neighbours

    def hear(body: bytes) -> None:
        told = read_ring(body)
        if told is None or told.sender == neighbours.me:
            return
        entries = None
        if told.entries is not None:
            entries = [
                Entry(kind, audience, ref, None, told.first + place)
                for place, (kind, audience, ref) in enumerate(told.entries)
            ]
        tailing.hear(told.previous, told.position, entries)

    channel.subscribe(LOG, hear)
    channel.subscribe(PROCESSES, lambda body: neighbours.look())
    channel.when_back(tailing.look)
    channel.when_back(lambda: channel.publish(PROCESSES, b"{}"))


def share_ephemera(channel: Channel, neighbours: Neighbours, parts: Parts) -> None:
    """What passes away, and which servers are there again, is told to the other processes while there are any."""

    def publish(topic: str, body: bytes) -> None:
        if not neighbours.alone():
            channel.publish(topic, body)

    elsewhere = parts.add(EphemeraElsewhere(neighbours.me, parts.get(Typing), parts.get(Presences), publish))
    channel.subscribe(TYPING, elsewhere.hear_typing)
    channel.subscribe(PRESENCE, elsewhere.hear_presence)
    channel.subscribe(WHO, elsewhere.hear_who)
    channel.when_back(elsewhere.ask)
    back_off = parts.get(BackOff)
    back_off.share_by(
        lambda name: publish(_BACK, orjson.dumps(name)),
        lambda failing: publish(_AWAY, orjson.dumps([*failing])),
    )
    channel.subscribe(_BACK, lambda body: back_off.hear_back(orjson.loads(body)))
    channel.subscribe(_AWAY, lambda body: back_off.hear_away(Failing(*orjson.loads(body))))
