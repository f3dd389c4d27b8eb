"""The parts that take in what other servers send, and that get from them what is missing here."""

from collections.abc import Callable

from ranvier.config import Role
from ranvier.encryption.received_to_device import ReceivedToDevice
from ranvier.encryption.remote_lists import RemoteLists
from ranvier.federation.afar import Afar
from ranvier.federation.aliases import AliasesForPeers
from ranvier.federation.checking import Checking
from ranvier.federation.consuming import Consuming
from ranvier.federation.earlier import EarlierHistory, Gaps
from ranvier.federation.ephemera import RemoteEphemera
from ranvier.federation.fetching import Fetching
from ranvier.federation.inbox import Inbox
from ranvier.federation.last_pdus import LastPdus
from ranvier.federation.missing import MissingEvents
from ranvier.federation.peer_rooms import PeerRooms
from ranvier.federation.received_edus import ReceivedEdus
from ranvier.federation.serving import Serving
from ranvier.main.parts import Parts
from ranvier.protocol.signing import SigningKey
from ranvier.remote.client import FederationClient
from ranvier.remote.verifying import Verifying
from ranvier.rooms.aliases import Aliases
from ranvier.rooms.backfilling import Backfilling
from ranvier.rooms.events import Events
from ranvier.rooms.heads import Heads
from ranvier.rooms.history import History
from ranvier.rooms.outliers import Outliers
from ranvier.rooms.peer_history import PeerHistory
from ranvier.rooms.presence import Presences
from ranvier.rooms.receipts import Receipts
from ranvier.rooms.receiving import Receiving
from ranvier.rooms.servers import Servers
from ranvier.rooms.times import Times
from ranvier.rooms.typing import Typing
from ranvier.store.database import Database
from ranvier.store.numbers import Counters
from ranvier.store.shares import Leases
from ranvier.store.writer import Writer


def add_inbound(
    signer: SigningKey, database: Database, writer: Writer, parts: Parts, now: Callable[[], int]
) -> None:
    """Build them; rooms, encryption and what is ephemeral must be there."""
    own_name = signer.server_name
    heads, events, servers = parts.get(Heads), parts.get(Events), parts.get(Servers)
    client, verifying = parts.get(FederationClient), parts.get(Verifying)
    outliers = parts.get(Outliers)
    peer_rooms = parts.add(PeerRooms(own_name, heads, servers))
    afar = parts.add(Afar(signer, database, writer, client, now))

    fetching = parts.add(Fetching(database, heads, events, client, verifying))
    missing = parts.add(MissingEvents(own_name, parts.get(Receiving), outliers, servers, fetching))
    places = parts.get(Counters).by_name["inbox"]
    shares = parts.get(Leases).queue("inbox", Role.FEDERATION)
    consuming = parts.add(Consuming(database, writer, heads, missing, places, shares, now))
    checking = Checking(database, peer_rooms, verifying, afar)
    edus, last_pdus = _received_edus(own_name, writer, parts, now), parts.get(LastPdus)
    parts.add(Inbox(database, writer, checking, consuming, edus, last_pdus, now))

    parts.add(AliasesForPeers(parts.get(Aliases), peer_rooms))
    parts.add(Serving(own_name, peer_rooms, events, parts.get(PeerHistory), parts.get(Times), now))
    gaps = Gaps(own_name, database, servers, fetching, outliers, parts.get(Backfilling))
    parts.add(EarlierHistory(heads, parts.get(History), parts.get(Times), gaps, fetching))


def _received_edus(own_name: str, writer: Writer, parts: Parts, now: Callable[[], int]) -> ReceivedEdus:
    """Who takes which unit."""
    ephemera = parts.add(
        RemoteEphemera(parts.get(PeerRooms), parts.get(Heads), parts.get(Typing), parts.get(Receipts), now)
    )
    lists = parts.get(RemoteLists)
    return ReceivedEdus(
        {
            "m.typing": ephemera.take_typing,
            "m.receipt": ephemera.take_receipts,
            "m.presence": parts.get(Presences).take,
            "m.device_list_update": lists.take_update,
            "m.signing_key_update": lists.take_signing_keys,
            "m.direct_to_device": ReceivedToDevice(writer, own_name, now).take,
        }
    )
