"""The way out to other servers, composed. This module is loaded when the first request goes out."""

import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from ranvier.config.records import Federation
from ranvier.main.databases import CannotStart
from ranvier.protocol.signing import SigningKey
from ranvier.remote.diagnosis import Examiner
from ranvier.remote.ip_ranges import IpRanges
from ranvier.remote.network import Network
from ranvier.remote.plain_downloads import PlainDownloads
from ranvier.remote.resolver import Resolver
from ranvier.remote.routes import Routes
from ranvier.remote.tls import BadAuthorities, TlsContexts, TlsRules
from ranvier.remote.web import Web
from ranvier.remote.well_known import WellKnowns


def open_network(config: Federation, now: Callable[[], int]) -> Network:
    """The network, with addresses blocked as the configuration says."""
    return _network(config, IpRanges(config.blocked_ranges, config.allowed_ranges), now)


@asynccontextmanager
async def open_examiner(
    config: Federation, signer: SigningKey | None, now: Callable[[], int]
) -> AsyncIterator[Examiner]:
    """What tests other servers: it may go to any address, as it goes where its administrator says. Raises
    `CannotStart`."""
    try:
        network = _network(config, IpRanges(()), now)
    except BadAuthorities as error:
        raise CannotStart(str(error)) from error
    try:
        yield Examiner(network, signer, now)
    finally:
        await network.stop()


def _network(config: Federation, ranges: IpRanges, now: Callable[[], int]) -> Network:
    resolver = Resolver(ranges, config.nameservers)
    web = Web(resolver, ranges)
    minimum = ssl.TLSVersion.TLSv1_3 if config.minimum_tls == "1.3" else ssl.TLSVersion.TLSv1_2
    tls = TlsContexts(
        TlsRules(config.verifies_certificates, config.authorities, config.unverified_hosts, minimum)
    )
    well_knowns = WellKnowns(web, tls, now)
    return Network(web, Routes(resolver, well_knowns), tls, well_knowns, PlainDownloads(web, tls))
