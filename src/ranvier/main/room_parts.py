"""The floor of rooms, composed."""

from collections.abc import Callable, Sequence
from typing import Final

from ranvier.config import Config, Role
from ranvier.config.records import RoomNaming, Rooms
from ranvier.main.parts import Parts
from ranvier.protocol.globs import Glob
from ranvier.protocol.signing import SigningKey
from ranvier.remote.client import FederationClient
from ranvier.rooms.access import Accesses
from ranvier.rooms.aliases import Aliases
from ranvier.rooms.appending import Appending
from ranvier.rooms.backfilling import Backfilling
from ranvier.rooms.catching_up import CatchingUp
from ranvier.rooms.completing import Completing
from ranvier.rooms.creation import Creation, RoomDefaults
from ranvier.rooms.directory import Directory, DirectoryRules
from ranvier.rooms.elsewhere import Elsewhere
from ranvier.rooms.events import Events
from ranvier.rooms.following import GATHERING_S, Following
from ranvier.rooms.founding import Founding
from ranvier.rooms.guests import Guests
from ranvier.rooms.heads import Heads
from ranvier.rooms.hierarchy import Hierarchies
from ranvier.rooms.history import History
from ranvier.rooms.joined import UserRooms
from ranvier.rooms.membership import Memberships
from ranvier.rooms.message_index import MessageIndex
from ranvier.rooms.naming_rules import NamingRule, NamingRules
from ranvier.rooms.new_rows import NewRows
from ranvier.rooms.notifications import Notifications
from ranvier.rooms.outliers import Outliers
from ranvier.rooms.peer_history import PeerHistory
from ranvier.rooms.peer_summaries import PeerSummaries
from ranvier.rooms.plans import Plans
from ranvier.rooms.policy import Policies
from ranvier.rooms.preferences import Preferences
from ranvier.rooms.profiles import MemberProfiles
from ranvier.rooms.receiving import Receiving
from ranvier.rooms.related import Related
from ranvier.rooms.relations import Relations
from ranvier.rooms.reports import Reports
from ranvier.rooms.resolving import Resolving
from ranvier.rooms.restrictions import Restrictions
from ranvier.rooms.search import Searching
from ranvier.rooms.sending import Sending
from ranvier.rooms.servers import Servers
from ranvier.rooms.shaping import Shapes
from ranvier.rooms.state import RoomState
from ranvier.rooms.summaries import Summaries
from ranvier.rooms.thread_subscriptions import ThreadSubscriptions
from ranvier.rooms.times import Times
from ranvier.rooms.unread import Unread
from ranvier.rooms.upgrade import Upgrading
from ranvier.rooms.verdicts import Verdicts
from ranvier.rooms.visibility import Visibility
from ranvier.store.database import Database
from ranvier.store.numbers import Counters
from ranvier.store.shares import Leases
from ranvier.store.writer import Writer

_CACHE_BYTES: Final = 128 * 1024 * 1024
"""For events, and again for rooms, at a cache factor of 1."""


def add_rooms(
    config: Config,
    server_name: str,
    signer: SigningKey,
    database: Database,
    writer: Writer,
    parts: Parts,
    now: Callable[[], int],
) -> None:
    """Everything about rooms; what else a process does with rooms finds its parts by type."""
    counters = parts.add(Counters(database, ("room", "event", "line", "inbox")))
    memory = int(config.operation.cache_factor * _CACHE_BYTES)
    events = parts.add(Events(database, memory, is_shared=database.dialect != "sqlite"))
    heads = parts.add(Heads(database, events, memory))
    user_rooms = parts.add(UserRooms(database, writer))
    preferences = parts.add(Preferences(database))
    visibility = parts.add(Visibility(database, heads, events, preferences))
    accesses = parts.add(Accesses(database, heads, events))
    relations = parts.add(Relations(database, heads, events, visibility))
    parts.add(Shapes(database, events, relations, now))
    parts.add(RoomState(database, heads, events, accesses))
    history = parts.add(History(database, heads, events, visibility, accesses))
    parts.add(Reports(database, writer, heads, history, now))
    parts.add(ThreadSubscriptions(database, writer, history, events))
    parts.add(Times(database, events, visibility, accesses))
    parts.add(Related(database, events, visibility, accesses, history))
    following = None
    if config.searching.messages:
        shares = parts.get(Leases).queue("search", Role.BACKGROUND, 1)
        index = MessageIndex(database, events)
        following = Following(index, database, writer, shares, gathering=GATHERING_S)
    searching = parts.add(Searching(database, heads, events, visibility, user_rooms, following))
    parts.bell.listen(searching.hear)
    unread = parts.add(Unread(server_name, database, heads, preferences))
    if database.dialect != "sqlite":
        catching_up = parts.add(CatchingUp(server_name, database, heads, events, unread, user_rooms))
        writer.fill_by(catching_up.fill)
    verdicts = parts.add(Verdicts(heads, preferences))
    parts.add(Notifications(database, events, user_rooms, verdicts, visibility, unread))
    appending = parts.add(Appending(writer, heads, events, counters.by_name, unread, signer, now))
    servers = _add_others_events(server_name, database, writer, parts, now)
    sending = parts.add(Sending(database, heads, events, appending, Guests(database, appending)))
    profiles = parts.add(MemberProfiles(server_name, database))
    naming = _naming_rules(config.rooms)
    defaults = RoomDefaults(config.rooms.default_version, config.rooms.encrypted_by_default, naming)
    creation = parts.add(Creation(server_name, appending, counters.by_name["room"], profiles, defaults, now))
    parts.add(Upgrading(database, accesses, appending, creation, profiles, now))
    elsewhere = parts.add(Elsewhere(parts.get(FederationClient), now))
    summaries = parts.add(Summaries(server_name, heads, servers, user_rooms, elsewhere))
    parts.add(PeerSummaries(database, heads, servers, summaries))
    parts.add(Hierarchies(summaries, elsewhere, now))
    parts.add(
        Aliases(
            server_name,
            database,
            writer,
            heads,
            accesses,
            sending,
            elsewhere,
            naming,
        )
    )
    parts.add(Directory(database, writer, heads, elsewhere, naming, now))
    listed = config.rooms
    parts.add(
        DirectoryRules(server_name, listed.list_enabled, listed.list_without_token, listed.list_for_peers)
    )
    restrictions = parts.add(Restrictions(server_name, database, heads, servers))
    parts.add(
        Memberships(
            server_name,
            database,
            writer,
            heads,
            appending,
            profiles,
            restrictions,
            leaving_forgets=config.rooms.leaving_forgets,
        )
    )


def _add_others_events(
    server_name: str, database: Database, writer: Writer, parts: Parts, now: Callable[[], int]
) -> Servers:
    """What takes in events that other servers made, and gives them ours."""
    heads, events, appending = parts.get(Heads), parts.get(Events), parts.get(Appending)
    rows = NewRows(parts.get(Counters).by_name, now)
    outliers = parts.add(Outliers(database, writer, events, rows))
    servers = parts.add(Servers(database, writer, heads, events))
    plans = Plans(database, events, parts.add(Resolving(database, events)))
    policies = Policies(parts.get(FederationClient), servers)
    receiving = parts.add(Receiving(events, appending, plans, outliers, policies))
    appending.ask_first(receiving.append_recommended)
    parts.add(Backfilling(writer, heads, events, outliers, plans, rows))
    parts.add(Completing(database, writer, heads, events, outliers, plans))
    parts.add(PeerHistory(database, heads, events))
    parts.add(Founding(server_name, database, writer, heads, outliers, rows))
    return servers


def _naming_rules(rooms: Rooms) -> NamingRules:
    return NamingRules(
        _rules(rooms.alias_rules), _rules(rooms.publication_rules), rooms.alias_needs_membership
    )


def _rules(settings: Sequence[RoomNaming] | None) -> list[NamingRule] | None:
    if settings is None:
        return None
    return [NamingRule(r.allows, Glob(r.user_id), Glob(r.alias), Glob(r.room_id)) for r in settings]
