"""What a local user's membership shows of their profile, and whether they may be invited at all."""

from typing import Any

import orjson

from ranvier.protocol.identifiers import server_name_of
from ranvier.protocol.invite_permission import INVITE_PERMISSION, PROPOSED_PERMISSION, judge_invite
from ranvier.protocol.refusal import Refusal
from ranvier.store import account_data, profiles
from ranvier.store.database import Database


class MemberProfiles:
    """Display names and avatars as the content of memberships has them."""

    def __init__(self, server_name: str, database: Database) -> None:
        self._server_name = server_name
        self._database = database

    async def of(self, user_id: str) -> dict[str, Any]:
        """`displayname` and `avatar_url` of a user, as far as they are set; nothing for users of other servers."""
        if server_name_of(user_id) != self._server_name:
            return {}
        found = await profiles.read_many(self._database, [user_id])
        displayname, avatar_url = found.get(user_id, (None, None))
        shown = {"displayname": displayname, "avatar_url": avatar_url}
        return {name: value for name, value in shown.items() if value is not None}

    async def of_invited(self, user_id: str, inviter: str) -> dict[str, Any]:
        """The same for one who is invited; refused if they take none from the inviter (see `invite_permission`)."""
        if server_name_of(user_id) != self._server_name:
            return {}
        for kind in (PROPOSED_PERMISSION, INVITE_PERMISSION):
            text = await account_data.find(self._database, user_id, None, kind)
            if text is not None and judge_invite(orjson.loads(text), inviter) == "block":
                raise Refusal("M_INVITE_BLOCKED", f"{user_id} takes no invites from you.", status=403)
        return await self.of(user_id)
