"""The parts that send to other servers what happens here."""

import random
from collections.abc import Callable, Mapping

from ranvier.config import Role
from ranvier.federation.audiences import Audiences
from ranvier.federation.catching_up import CatchingUp
from ranvier.federation.destinations import Destinations, Transaction
from ranvier.federation.device_updates import DeviceUpdates
from ranvier.federation.handing_over import Deliver, HandingOver
from ranvier.federation.lanes import Lanes
from ranvier.federation.last_pdus import LastPdus
from ranvier.federation.local_events import LocalEvents
from ranvier.federation.outbox import Outbox
from ranvier.federation.outgoing_ephemera import OutgoingEphemera
from ranvier.federation.positions import Positions
from ranvier.federation.routing import Feed, Routing
from ranvier.federation.sending import Sending
from ranvier.federation.timelines import TimelinesMissed
from ranvier.main.parts import Parts
from ranvier.main.sending_figures import SendingFigures
from ranvier.remote.allowed_servers import AllowedServers
from ranvier.remote.back_off import BackOff
from ranvier.remote.client import FederationClient
from ranvier.remote.transactions import send_transaction
from ranvier.rooms.events import Events
from ranvier.rooms.heads import Heads
from ranvier.rooms.presence import Presences
from ranvier.rooms.receipts import Receipts
from ranvier.rooms.servers import Servers
from ranvier.rooms.typing import Typing
from ranvier.store.database import Database
from ranvier.store.shares import Leases
from ranvier.store.writer import Writer


def add_sending(
    server_name: str,
    database: Database,
    writer: Writer,
    parts: Parts,
    now: Callable[[], int],
    *,
    tells_device_names: bool = False,
    chance: Callable[[], float] = random.random,
) -> Sending:
    """Build the sender; `tells_device_names`: to other servers."""
    back_off, receipts = parts.get(BackOff), parts.get(Receipts)
    local_events = LocalEvents(server_name, database, parts.get(Events))
    audiences = Audiences(
        server_name, database, parts.get(Heads), parts.get(Servers), parts.get(AllowedServers).allows
    )
    destinations = parts.add(Destinations(parts.get(Leases).queue("destinations", Role.SENDING)))
    timelines = TimelinesMissed(database, audiences, local_events, receipts)
    catching_up = CatchingUp(database, audiences, local_events, receipts, timelines)
    outbox = Outbox(database, catching_up, DeviceUpdates(database, tells_names=tells_device_names), now)
    feed = Feed(database, writer.tail)
    routing = Routing(feed, audiences, local_events, receipts, destinations, now)
    positions = Positions(database, writer, destinations, now)
    deliver, last_pdus = _deliver(parts.get(FederationClient)), parts.get(LastPdus)
    handing_over = parts.add(HandingOver(deliver, back_off, writer, last_pdus, chance))
    lanes = Lanes()
    sending = parts.add(Sending(destinations, positions, routing, outbox, handing_over, lanes))
    parts.add(SendingFigures(handing_over, destinations, lanes, routing, feed, now))
    back_off.when_back(sending.is_back)
    parts.add(
        OutgoingEphemera(audiences, local_events, destinations, parts.get(Typing), parts.get(Presences))
    )
    return sending


def _deliver(client: FederationClient) -> Deliver:
    async def deliver(destination: str, transaction: Transaction) -> Mapping[str, str]:
        return await send_transaction(
            client,
            destination,
            transaction.txn_id,
            origin_server_ts=transaction.made_ts,
            pdus=transaction.pdus,
            edus=transaction.edus,
            patient=True,
        )

    return deliver
