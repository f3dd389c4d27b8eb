"""The parts that speak with other servers, and that know them when they ask."""

import time
from collections.abc import Callable, Sequence

from ranvier.config.records import Federation, ServerKeys
from ranvier.federation_api.wellknown import ServerWellKnown
from ranvier.http.peer_limits import PeerLimit, PeerLimits
from ranvier.http.peers import Peers
from ranvier.main.databases import CannotStart
from ranvier.main.parts import Parts
from ranvier.protocol.server_discovery import parse_address
from ranvier.protocol.server_keys import OldKey
from ranvier.protocol.signing import SigningKey
from ranvier.remote.allowed_servers import AllowedServers
from ranvier.remote.back_off import BackOff, BackOffRules
from ranvier.remote.client import ClientRules, FederationClient
from ranvier.remote.downloads import Downloads
from ranvier.remote.key_ring import KeyRing
from ranvier.remote.late import Late, WayOut
from ranvier.remote.notaries import Notaries, Notary
from ranvier.remote.own_keys import OwnKeys
from ranvier.remote.tls import BadAuthorities, check_authorities
from ranvier.remote.transport import Transport
from ranvier.remote.verifying import Verifying
from ranvier.store.database import Database
from ranvier.store.writer import Writer

AroundNetwork = Callable[[Late], Transport]
"""Makes of the network what brings calls to other servers: for tests that look at them, or have no network."""


def own_keys(
    config: ServerKeys, signers: Sequence[SigningKey], retired: Sequence[OldKey], now: Callable[[], int]
) -> OwnKeys:
    """This server's keys; those that the configuration retires and those that its command did, are one list."""
    old = {key.key_id: key for key in retired}
    old |= {key.key_id: OldKey(key.key_id, key.public_key, key.expired_ts) for key in config.old_keys}
    for signer in signers:
        old.pop(signer.key_id, None)
    return OwnKeys(signers, list(old.values()), config.published_validity, now)


def add_remote(
    config: Federation,
    keys: ServerKeys,
    own: OwnKeys,
    database: Database,
    writer: Writer,
    parts: Parts,
    now: Callable[[], int],
    around_network: AroundNetwork | None = None,
) -> None:
    """Build the floor; what `around_network` makes takes the place of the network. Raises `CannotStart`."""
    own_name = own.server_name
    parts.add(own)
    allowed = parts.add(AllowedServers(own_name, config.allowed_servers, config.denied_servers))
    patience = config.patience
    back_off = parts.add(
        BackOff(
            BackOffRules(patience.first_back_off, patience.back_off_growth, patience.longest_back_off),
            database,
            writer,
            now,
        )
    )
    network = _way_out(config, now)
    transport = parts.add(around_network(network) if around_network is not None else network)
    parts.add(Downloads(network))
    rules = ClientRules(
        patience.timeout / 1000,
        patience.retries,
        patience.longest_pause / 1000,
        patience.patient_retries,
        patience.longest_patient_pause / 1000,
    )
    client = parts.add(FederationClient(own.signer, transport, back_off, allowed, rules))
    notaries = Notaries(client, [Notary(notary.name, notary.verify_keys) for notary in keys.notaries])
    key_ring = parts.add(KeyRing(own, client, notaries, database, writer, now))
    parts.add(Verifying(key_ring))


def add_peers(config: Federation, own_name: str, parts: Parts, now: Callable[[], int]) -> None:
    """What knows other servers when they ask, and how they find this one."""
    limit = config.peer_limit
    limits = PeerLimits(
        PeerLimit(limit.window, limit.free_requests, limit.delay, limit.waiting_requests, limit.at_once),
        time.monotonic,
    )
    parts.add(Peers(parts.get(KeyRing), parts.get(AllowedServers), parts.get(BackOff), limits, own_name, now))
    # A server name with a port is never looked up.
    address = parse_address(own_name)
    is_served = config.serves_wellknown and address.port is None and not address.is_literal
    parts.add(ServerWellKnown(f"{own_name}:443" if is_served else None))


def _way_out(config: Federation, now: Callable[[], int]) -> Late:
    """The network, loaded and built when the first request goes out; its faults are found at the start."""
    try:
        check_authorities(config.authorities)
    except BadAuthorities as error:
        raise CannotStart(str(error)) from error

    def build() -> WayOut:
        from ranvier.main.way_out import open_network  # noqa: PLC0415 - it loads much that may not be needed

        return open_network(config, now)

    return Late(build)
