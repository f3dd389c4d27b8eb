"""What a local user's membership shows of their profile."""

from typing import Any

from ranvier.protocol.identifiers import server_name_of
from ranvier.store import profiles as store
from ranvier.store.database import Database


class MemberProfiles:
    """Display names and avatars as the content of memberships has them."""

    def __init__(self, server_name: str, database: Database) -> None:
        self._server_name = server_name
        self._database = database

    async def __call__(self, user_id: str) -> dict[str, Any]:
        """`displayname` and `avatar_url` of a user, as far as they are set; nothing for users of other servers."""
        if server_name_of(user_id) != self._server_name:
            return {}
        found = await store.read_many(self._database, [user_id])
        displayname, avatar_url = found.get(user_id, (None, None))
        shown = {"displayname": displayname, "avatar_url": avatar_url}
        return {name: value for name, value in shown.items() if value is not None}
