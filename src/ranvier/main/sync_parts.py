"""The parts that answer what is new: receipts, typing, push rules, and sync over them."""

from collections.abc import Callable

from ranvier.config.records import Presence
from ranvier.main.parts import Parts
from ranvier.protocol.presence import PresenceTimes
from ranvier.push.rules import PushRuleBook
from ranvier.rooms.access import Accesses
from ranvier.rooms.events import Events
from ranvier.rooms.heads import Heads
from ranvier.rooms.joined import UserRooms
from ranvier.rooms.moments import Moments
from ranvier.rooms.preferences import Preferences
from ranvier.rooms.presence import PresenceRules, Presences
from ranvier.rooms.read_markers import ReadMarkers
from ranvier.rooms.receipts import Receipts
from ranvier.rooms.relations import Relations
from ranvier.rooms.sending import Sending
from ranvier.rooms.typing import Typing
from ranvier.rooms.unread import Unread
from ranvier.rooms.visibility import Visibility
from ranvier.store.database import Database
from ranvier.store.writer import Writer
from ranvier.sync.answers import RoomAnswers
from ranvier.sync.devices import Devices
from ranvier.sync.ephemera import Ephemera
from ranvier.sync.filtering import Filters
from ranvier.sync.presence import PresenceNews
from ranvier.sync.sections import RoomSections
from ranvier.sync.syncing import LogView, Syncing
from ranvier.sync.timelines import Timelines
from ranvier.sync.waiting import Waiting


def add_sync(
    parts: Parts,
    database: Database,
    writer: Writer,
    log: LogView,
    now: Callable[[], int],
    presence: PresenceRules,
    timeline_limit: int | None,
    shared_now: Callable[[], int] | None = None,
) -> None:
    """Sync, with everything that it gathers from; `timeline_limit` bounds the events of a room in an answer.

    `shared_now` is the clock (ms since the epoch) that this process and others have in common, if there can be others.
    """
    waiting = Waiting()
    heads, events, unread = parts.get(Heads), parts.get(Events), parts.get(Unread)
    preferences = parts.get(Preferences)
    parts.add(PushRuleBook(writer, preferences))
    moments = Moments(shared_now)
    typing = parts.add(Typing(now, waiting.wake, moments))
    presences = parts.add(Presences(presence, writer, database, parts.get(UserRooms), moments, now))
    presences.listen(waiting.wake_few)
    receipts = parts.add(Receipts(database, writer, events, unread, preferences, now))
    parts.add(ReadMarkers(writer, events, parts.get(Sending), receipts))
    visibility, accesses = parts.get(Visibility), parts.get(Accesses)
    timelines = Timelines(database, log.tail, heads, events, visibility, accesses, timeline_limit)
    sections = RoomSections(database, heads, events, parts.get(Relations), timelines, now)
    ephemera = Ephemera(database, typing, receipts, PresenceNews(presences, preferences, moments))
    answers = RoomAnswers(database, heads, timelines, sections, ephemera, unread)
    devices = parts.add(Devices(database, writer))
    parts.add(Filters(database))
    parts.add(Syncing(log, parts.get(UserRooms), waiting, answers, ephemera, devices))
    # Those who wait are woken by the bell, which rings when every cache has heard.
    parts.bell.listen(waiting.hear)
    parts.bell.when_closing(waiting.close)


def presence_rules(settings: Presence) -> PresenceRules:
    """The settings, as the floor of rooms takes them."""
    times = PresenceTimes(settings.idle_timeout, settings.active_granularity, settings.online_timeout)
    return PresenceRules(settings.enabled, settings.shows_offline, times)
