"""The parts by which people come and go across servers."""

from collections.abc import Callable

from ranvier.config import Role
from ranvier.federation.admission import Admission
from ranvier.federation.admitting import Admitting, Templates
from ranvier.federation.afar import Afar
from ranvier.federation.creation import FederatedCreation
from ranvier.federation.fetching import Fetching
from ranvier.federation.inviting import Invited, Inviting
from ranvier.federation.joining import Joining
from ranvier.federation.memberships import FederatedMemberships
from ranvier.federation.missing import MissingEvents
from ranvier.federation.peer_rooms import PeerRooms
from ranvier.federation.resyncing import Resyncing
from ranvier.federation.third_party_invites import ThirdPartyInvites
from ranvier.main.parts import Parts
from ranvier.protocol.signing import SigningKey
from ranvier.remote.client import FederationClient
from ranvier.remote.verifying import Verifying
from ranvier.rooms.appending import Appending
from ranvier.rooms.completing import Completing
from ranvier.rooms.creation import Creation
from ranvier.rooms.events import Events
from ranvier.rooms.founding import Founding
from ranvier.rooms.heads import Heads
from ranvier.rooms.membership import Memberships
from ranvier.rooms.peer_history import PeerHistory
from ranvier.rooms.profiles import MemberProfiles
from ranvier.rooms.receiving import Receiving
from ranvier.rooms.restrictions import Restrictions
from ranvier.rooms.servers import Servers
from ranvier.store.database import Database
from ranvier.store.shares import Leases


def add_memberships(signer: SigningKey, database: Database, parts: Parts, now: Callable[[], int]) -> None:
    """Build them; what takes in other servers' events must be there."""
    own_name = signer.server_name
    heads, servers, events = parts.get(Heads), parts.get(Servers), parts.get(Events)
    client, verifying = parts.get(FederationClient), parts.get(Verifying)
    appending, receiving = parts.get(Appending), parts.get(Receiving)
    peer_rooms, afar, founding = parts.get(PeerRooms), parts.get(Afar), parts.get(Founding)
    restrictions = parts.get(Restrictions)

    # others' users in our rooms
    parts.add(Templates(peer_rooms, heads, appending, restrictions))
    admitting = Admitting(signer, peer_rooms, heads, verifying, receiving, restrictions)
    parts.add(Admission(database, admitting, events, parts.get(PeerHistory), servers))
    parts.add(Invited(signer, database, verifying, peer_rooms, parts.get(MemberProfiles), afar))

    # our users in others' rooms
    completing = parts.get(Completing)
    fetching, shares = parts.get(Fetching), parts.get(Leases).queue("partial rooms", Role.FEDERATION)
    resyncing = parts.add(Resyncing(own_name, heads, events, servers, fetching, completing, shares))
    joining = Joining(signer, client, verifying, founding, parts.get(MissingEvents), resyncing, now)
    inviting = Inviting(client, verifying, heads, appending, receiving)
    memberships = parts.add(FederatedMemberships(parts.get(Memberships), peer_rooms, joining, afar, inviting))
    parts.add(ThirdPartyInvites(peer_rooms, memberships, client))
    parts.add(FederatedCreation(own_name, parts.get(Creation), memberships))
