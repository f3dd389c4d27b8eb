"""Profiles across servers.

Source: Server-Server API, GET /query/profile.
"""

import time
from collections import OrderedDict
from typing import Any, Final

from ranvier.protocol.identifiers import server_name_of
from ranvier.protocol.refusal import Refusal, not_found
from ranvier.remote.client import FederationClient
from ranvier.remote.failure import RemoteFailure
from ranvier.remote.query import query_profile

_KEPT_S: Final = 300.0
_PROFILES: Final = 2_000


class RemoteProfiles:
    """Asks other servers for their users' profiles, and remembers what they say for some minutes."""

    def __init__(self, client: FederationClient) -> None:
        self._client = client
        self._known: OrderedDict[str, tuple[float, dict[str, Any]]] = OrderedDict()

    async def fetch(self, user_id: str) -> dict[str, Any]:
        """All fields of a profile. Raises `Refusal`."""
        known = self._known.get(user_id)
        if known is not None and known[0] > time.monotonic():
            return known[1]
        server = server_name_of(user_id)
        try:
            profile = await query_profile(self._client, server, user_id)
        except RemoteFailure as failure:
            if failure.status == 404:
                raise not_found(f"{server} knows no profile of {user_id}.") from failure
            if failure.refused:
                raise Refusal("M_FORBIDDEN", f"{server} does not show the profile.", status=403) from failure
            raise Refusal("M_UNKNOWN", f"The profile can't be had: {failure}", status=502) from failure
        self._known[user_id] = (time.monotonic() + _KEPT_S, profile)
        self._known.move_to_end(user_id)
        if len(self._known) > _PROFILES:
            self._known.popitem(last=False)
        return profile
