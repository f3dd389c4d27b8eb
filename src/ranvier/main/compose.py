"""Constructor calls in the order of the floors: the one place that knows how everything fits together."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Final

from ranvier.accounts.sightings import Sightings
from ranvier.accounts.tokens import Tokens
from ranvier.bus.channel import Channel
from ranvier.bus.local import Bell
from ranvier.client_api.static import Welcome
from ranvier.config import Config, Processes, Role
from ranvier.federation.last_pdus import LastPdus
from ranvier.federation.senders_missed import SendersMissed
from ranvier.http.application import Application
from ranvier.http.limits import Limits, RateLimit
from ranvier.http.metrics import Traffic
from ranvier.http.peers import Peers
from ranvier.http.router import Route, Router, route_of
from ranvier.main.account_parts import add_accounts, add_discovery
from ranvier.main.channel_parts import PROCESSES, open_channel, share_ephemera
from ranvier.main.databases import claim, open_database
from ranvier.main.door import Door
from ranvier.main.encryption_parts import add_encryption
from ranvier.main.housekeeping import Housekeeping, HousekeepingRules
from ranvier.main.inbound_parts import add_inbound
from ranvier.main.keys import load_retired_keys, load_signing_keys
from ranvier.main.last_pdu_figures import LastPduFigures
from ranvier.main.media_parts import add_media
from ranvier.main.membership_parts import add_memberships
from ranvier.main.parts import Parts
from ranvier.main.remote_parts import AroundNetwork, add_peers, add_remote, own_keys
from ranvier.main.replication import Identity
from ranvier.main.room_parts import add_rooms
from ranvier.main.routing import find_endpoints, resources_of
from ranvier.main.sending_parts import add_sending
from ranvier.main.sync_parts import add_sync, presence_rules
from ranvier.protocol.server_keys import OldKey
from ranvier.protocol.signing import SigningKey
from ranvier.rooms.appending import Appending
from ranvier.rooms.delayed_events import DelayedEvents, DelayRules
from ranvier.rooms.heads import Heads
from ranvier.rooms.membership import Memberships
from ranvier.rooms.sending import Sending
from ranvier.store import log
from ranvier.store.database import Database
from ranvier.store.log import Tail
from ranvier.store.neighbours import Neighbours
from ranvier.store.shares import TOPIC, Leases, reserve
from ranvier.store.tailing import Tailing
from ranvier.store.writer import Writer
from ranvier.sync.syncing import LogView

_ROLES: Final = {"client": Role.CLIENTS, "federation": Role.FEDERATION, "media": Role.MEDIA}
"""The role that a resource of a listener needs."""


def milliseconds_now() -> int:
    """Milliseconds since the epoch."""
    return time.time_ns() // 1_000_000


@dataclass(frozen=True, slots=True)
class Ground:
    """What everything else stands on."""

    server_name: str
    signing_keys: list[SigningKey]
    retired_keys: list[OldKey]
    database: Database
    log: LogView
    writer: Writer
    bell: Bell
    tailing: Tailing
    channel: Channel

    @property
    def neighbours(self) -> Neighbours:
        """The other processes."""
        return self.tailing.neighbours


@dataclass(frozen=True, slots=True)
class Composition:
    """One process, composed: `await start()`, answer requests, `await stop()`."""

    ground: Ground
    parts: Parts
    tokens: Tokens
    routes: list[Route]
    strays: Traffic
    instance: str
    roles: frozenset[Role]

    @property
    def identity(self) -> Identity:
        """Who this process is, for others of its server."""
        ground = self.ground
        return Identity(ground.server_name, self.instance, ground.log.generation)

    def application(self, resources: frozenset[str], *, forwarded: bool) -> Application:
        """What a listener with these resources answers; `forwarded` trusts `X-Forwarded-For`."""
        served = resources - {name for name, role in _ROLES.items() if role not in self.roles}
        router = Router(route for route in self.routes if resources_of(route.endpoint) & served)
        noted, peers = self.parts.get(Sightings).note, self.parts.get(Peers)
        tailing = self.ground.tailing
        confirm = None if tailing.neighbours.is_solitary else tailing.confirm
        return Application(
            router,
            self.tokens,
            self.strays,
            forwarded=forwarded,
            noted=noted,
            peers=peers,
            confirm=confirm,
        )

    async def start(self) -> None:
        """Bring everything to the point where it can answer."""
        ground = self.ground
        await ground.neighbours.start()
        await ground.channel.start()
        ground.tailing.start()
        ground.writer.start()
        await self.parts.start()
        await ground.neighbours.until_counted()
        await ground.tailing.confirm()

    async def stop(self) -> None:
        """Those who wait must be gone: finish, commit what is left, let go of the database."""
        try:
            await self.parts.stop()
        finally:
            ground = self.ground
            await ground.writer.stop()
            await ground.tailing.stop()
            await ground.neighbours.stop()
            ground.channel.publish(PROCESSES, b"{}")
            await ground.channel.stop()
            await ground.database.close()


async def compose(
    config: Config,
    roles: frozenset[Role] | None = None,
    now: Callable[[], int] = milliseconds_now,
    around_network: AroundNetwork | None = None,
) -> Composition:
    """Everything that a process with these roles needs, built and not yet started; raises `CannotStart`.

    The roles are those of the configuration if none are given.
    What `around_network` makes of the network brings calls to other servers in its place.
    """
    roles = roles or config.processes.roles
    database = await open_database(config.database, waits=not config.processes.is_main)
    try:
        server_name = config.server.name
        is_new = await database.fetch_value("SELECT 1 FROM meta WHERE name = 'server_name'") is None
        keys = load_signing_keys(config.server.signing_key_path, server_name, is_new=is_new)
        retired = load_retired_keys(config.server.signing_key_path)
        await claim(database, server_name)
        bell = Bell()
        parts = Parts(bell)
        tail = Tail(await log.read_tip(database))
        neighbours = _neighbours(database, config.processes, roles)
        tailing = Tailing(database, tail, parts.announce, neighbours)
        writer = Writer(database, tailing)
        generation, horizon = await log.read_generation(database), await log.read_horizon(database)
        view = LogView(database, tail, generation, horizon)
        channel = open_channel(config, database, tailing)
        ground = Ground(server_name, keys, retired, database, view, writer, bell, tailing, channel)
        return _build(config, roles, ground, parts, now, around_network)
    except BaseException:
        await database.close()
        raise


def _neighbours(database: Database, me: Processes, roles: frozenset[Role]) -> Neighbours:
    if database.dialect == "sqlite":
        return Neighbours.solitary(database, me.instance, roles)
    told = {*roles, *(reserve(role) for role in me.in_reserve & roles)}
    return Neighbours(database, me.instance, told)


def _has_role(neighbours: Neighbours, role: Role) -> bool:
    return any(role in neighbour.roles for neighbour in neighbours.alive())


def _build(
    config: Config,
    roles: frozenset[Role],
    ground: Ground,
    parts: Parts,
    now: Callable[[], int],
    around_network: AroundNetwork | None,
) -> Composition:
    # Each floor after the one below. `parts.add` also subscribes a part to the log if it has `heard`, and starts and
    # stops it if it has `start` and `stop`.

    limits = parts.add(
        Limits(
            {name: RateLimit(r.per_second, r.burst_count) for name, r in config.rate_limits.items()},
            time.monotonic,
        )
    )

    # queues that processes share
    leases = parts.add(Leases(ground.neighbours, ground.database, ground.channel.publish))
    ground.channel.subscribe(TOPIC, leases.hear)

    # remote
    federation, keys = config.federation, config.server_keys
    own = own_keys(keys, ground.signing_keys, ground.retired_keys, now)
    add_remote(federation, keys, own, ground.database, ground.writer, parts, now, around_network)

    # encryption and media
    names = federation.tells_device_names
    add_encryption(ground.server_name, ground.database, ground.writer, parts, now, tells_device_names=names)
    add_media(config.media, ground.server_name, ground.database, ground.writer, parts, now)

    # rooms
    add_rooms(config, ground.server_name, ground.signing_keys[0], ground.database, ground.writer, parts, now)
    presence = presence_rules(config.presence)
    shared_now = None if ground.neighbours.is_solitary else ground.neighbours.now_ms
    limit = config.rooms.timeline_limit
    add_sync(parts, ground.database, ground.writer, ground.log, now, presence, limit, shared_now)
    if not ground.neighbours.is_solitary:
        parts.add(Door(ground.neighbours, parts.get(Heads), parts.get(Appending), ground.writer))
        share_ephemera(ground.channel, ground.neighbours, parts)

    delays = DelayRules(config.rooms.longest_event_delay, partial(limits.count, "message"))
    sending, memberships = parts.get(Sending), parts.get(Memberships)
    shares = leases.queue("delayed events", Role.BACKGROUND, 1)
    parts.add(DelayedEvents(delays, ground.database, ground.writer, sending, memberships, shares, now))

    # federation
    last_pdus = parts.add(LastPdus(federation.nominated_servers, now))
    parts.add(LastPduFigures(last_pdus))
    add_inbound(ground.signing_keys[0], ground.database, ground.writer, parts, now)
    add_memberships(ground.signing_keys[0], ground.database, parts, now)
    if Role.SENDING in roles:
        add_sending(ground.server_name, ground.database, ground.writer, parts, now, tells_device_names=names)
    else:
        parts.add(SendersMissed(ground.database, lambda: _has_role(ground.neighbours, Role.SENDING)))

    # accounts
    tokens = add_accounts(config, ground.database, ground.writer, parts, limits, now)

    # what nobody asks for
    rules = HousekeepingRules(config.rooms.redaction_retention_period)
    shares = leases.queue("housekeeping", Role.BACKGROUND, 1)
    parts.add(Housekeeping(rules, ground.database, ground.writer, ground.log, shares, now))

    address = config.processes.main_address
    if address is not None:
        from ranvier.main.main_process import MainProcess  # noqa: PLC0415 - only workers ask

        me = Identity(ground.server_name, config.processes.instance, ground.log.generation)
        parts.add(MainProcess(address, config.processes.replication_secret, me))

    # what endpoints tell of the server
    parts.add(Welcome(ground.server_name))
    endpoints = find_endpoints()
    add_discovery(config, parts, {(endpoint.method, endpoint.path) for endpoint in endpoints})

    # http, and the endpoints above it
    add_peers(federation, ground.server_name, parts, now)
    routes = [route_of(endpoint, parts.by_type, limits) for endpoint in endpoints]
    return Composition(ground, parts, tokens, routes, Traffic(), config.processes.instance, roles)
