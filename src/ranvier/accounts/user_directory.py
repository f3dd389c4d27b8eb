"""Finding users by name.

Source: Client-Server API, "User Directory".
"""

from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from ranvier.bus.local import Ring
from ranvier.rooms.events import Events
from ranvier.rooms.following import Following
from ranvier.store import profiles
from ranvier.store import user_directory as store
from ranvier.store.database import Database
from ranvier.store.user_directory import Seeker
from ranvier.store.words import beginnings, fold

MAX_RESULTS: Final = 50
_WORDS: Final = 8
_LONGEST_TERM: Final = 255
_PATIENCE_SECONDS: Final = 3.0


@dataclass(frozen=True, slots=True)
class UserDirectoryRules:
    """Whom users find.

    With `everybody` also those with whom they share no room. `local_only` leaves users of other servers out,
    `local_first` puts them last; `locked_too` shows accounts that are locked.
    """

    server_name: str
    enabled: bool = True
    everybody: bool = False
    local_first: bool = False
    local_only: bool = False
    locked_too: bool = False


class Found(NamedTuple):
    """A user who was found, as the seeker may see them."""

    user_id: str
    display_name: str | None
    avatar_url: str | None

    def to_json(self) -> dict[str, Any]:
        """The user as the answer has them."""
        return {name: value for name, value in self._asdict().items() if value is not None}


class UserDirectory:
    """Answers who there is."""

    def __init__(
        self, rules: UserDirectoryRules, database: Database, events: Events, following: Following
    ) -> None:
        self._rules = rules
        self._ending = f":{rules.server_name}"
        self._database = database
        self._events = events
        self._following = following

    async def start(self) -> None:
        """Keep the directory up from now on."""
        if self._rules.enabled:
            await self._following.start()

    async def stop(self) -> None:
        """The directory is kept up no more."""
        await self._following.stop()

    def hear(self, ring: Ring) -> None:
        """Something was committed."""
        self._following.hear(ring)

    async def search(self, user_id: str, term: str, limit: int) -> tuple[list[Found], bool]:
        """Up to `limit` users whom the term fits, the best first, and whether there are more.

        Each word of the term must begin a word of the name or of the id's local part. A term that begins like a user
        id finds ids that begin so.
        """
        rules = self._rules
        term = term.strip()[:_LONGEST_TERM]
        beginning = term if term.startswith("@") else None
        words = beginnings(term[1:].partition(":")[0] if beginning is not None else term, _WORDS)
        if not rules.enabled or not words:
            return [], False
        # Who registered or changed their name a moment ago expects to be found.
        await self._following.catch_up(_PATIENCE_SECONDS)
        seeker = Seeker(
            user_id, rules.everybody, rules.locked_too, self._ending if rules.local_only else None
        )
        rows = await store.search(self._database, seeker, words, beginning)
        found = await self._shown(user_id, rows)
        found.sort(key=lambda one: self._place(one, fold(term)))
        limit = min(limit, MAX_RESULTS)
        return found[:limit], len(found) > limit

    async def _shown(self, user_id: str, rows: list[tuple[str, int]]) -> list[Found]:
        local = sorted({user for user, room in rows if room == 0})
        names = await profiles.read_many(self._database, local) if local else {}
        found = {user: Found(user, *names.get(user, (None, None))) for user in local}
        elsewhere = [(user, room) for user, room in rows if room]
        if elsewhere:
            nids = await store.memberships_shown(self._database, user_id, elsewhere)
            events = await self._events.by_nids(list(nids.values()))
            for user, nid in nids.items():
                content = events[nid].event.content if nid in events else {}
                found[user] = Found(user, _text(content, "displayname"), _text(content, "avatar_url"))
        return list(found.values())

    def _place(self, one: Found, term: str) -> tuple[bool, bool, bool, str, str]:
        """Where a user stands among those who were found: exact names before others, then by name."""
        name, localpart = fold(one.display_name or ""), one.user_id[1:].partition(":")[0]
        is_away = self._rules.local_first and not one.user_id.endswith(self._ending)
        return (is_away, term not in (name, localpart, one.user_id), not name, name or localpart, one.user_id)


def _text(content: dict[str, Any], key: str) -> str | None:
    value = content.get(key)
    return value if isinstance(value, str) else None
