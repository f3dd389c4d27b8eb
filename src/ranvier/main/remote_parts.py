"""The parts that speak with other servers, and that know them when they ask."""

import ssl
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

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
from ranvier.remote.diagnosis import Examiner
from ranvier.remote.downloads import Downloads
from ranvier.remote.ip_ranges import IpRanges
from ranvier.remote.key_ring import KeyRing
from ranvier.remote.network import Network
from ranvier.remote.notaries import Notaries, Notary
from ranvier.remote.own_keys import OwnKeys
from ranvier.remote.resolver import Resolver
from ranvier.remote.routes import Routes
from ranvier.remote.tls import BadAuthorities, TlsContexts, TlsRules
from ranvier.remote.transport import Transport
from ranvier.remote.verifying import Verifying
from ranvier.remote.web import Web
from ranvier.remote.well_known import WellKnowns
from ranvier.store.database import Database
from ranvier.store.writer import Writer

AroundNetwork = Callable[[Network], Transport]
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
    web, tls = _web(config), _tls(config)
    network = Network(web, Routes(web.resolver, WellKnowns(web, tls, now)), tls)
    transport = parts.add(around_network(network) if around_network is not None else network)
    parts.add(Downloads(web, tls))
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


@asynccontextmanager
async def open_examiner(
    config: Federation, signer: SigningKey | None, now: Callable[[], int]
) -> AsyncIterator[Examiner]:
    """What tests other servers: it may go to any address, as it goes where its administrator says. Raises
    `CannotStart`."""
    ranges = IpRanges(())
    web = Web(Resolver(ranges, config.nameservers), ranges)
    tls = _tls(config)
    well_knowns = WellKnowns(web, tls, now)
    network = Network(web, Routes(web.resolver, well_knowns), tls)
    try:
        yield Examiner(web, well_knowns, tls, network, signer, now)
    finally:
        await network.stop()


def _web(config: Federation) -> Web:
    ranges = IpRanges(config.blocked_ranges, config.allowed_ranges)
    return Web(Resolver(ranges, config.nameservers), ranges)


def _tls(config: Federation) -> TlsContexts:
    minimum = ssl.TLSVersion.TLSv1_3 if config.minimum_tls == "1.3" else ssl.TLSVersion.TLSv1_2
    rules = TlsRules(config.verifies_certificates, config.authorities, config.unverified_hosts, minimum)
    try:
        return TlsContexts(rules)
    except BadAuthorities as error:
        raise CannotStart(str(error)) from error
