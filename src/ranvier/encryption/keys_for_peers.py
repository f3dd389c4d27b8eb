"""Keys of this server's users, as other servers get them.

Source: Server-Server API, "Device Management", "End-to-End Encryption".
"""

from collections.abc import Mapping, Sequence
from typing import Any

from ranvier.encryption.keys import Keys
from ranvier.protocol.identifiers import BadIdentifier, server_name_of
from ranvier.protocol.refusal import not_found
from ranvier.store import accounts, device_changes
from ranvier.store import device_keys as store
from ranvier.store.database import Database

_NOBODY = ""
"""Who sees only what a key's owner signed."""


class KeysForPeers:
    """Answers for this server's users alone: of others it has no say. Names of devices are told if `tells_names`."""

    def __init__(
        self, server_name: str, database: Database, keys: Keys, *, tells_names: bool = False
    ) -> None:
        self._tells_names = tells_names
        self._server_name = server_name
        self._database = database
        self._keys = keys

    async def query(self, wanted: Mapping[str, Sequence[str]]) -> dict[str, Any]:
        """Identity keys of users, of all their devices where none is named, and their cross-signing keys."""
        found = await self._query({user: wanted[user] for user in self._own(wanted)})
        return {name: found[name] for name in ("device_keys", "master_keys", "self_signing_keys")}

    async def claim(self, wanted: Mapping[str, Mapping[str, str]]) -> dict[str, Any]:
        """One one-time key of each device, or its fallback key."""
        found = await self._keys.claim({user: wanted[user] for user in self._own(wanted)})
        return {"one_time_keys": found["one_time_keys"]}

    async def devices(self, user_id: str) -> dict[str, Any]:
        """All devices of a user, up to a place in the sequence of the user's changes (`stream_id`).

        The place is read first: what changes meanwhile is told again, which does no harm.
        """
        account = await accounts.find(self._database, user_id) if self._own([user_id]) else None
        if account is None or account.deactivated:
            raise not_found(f"There is no user {user_id[:255]} on this server.")
        stream_id = await device_changes.newest(self._database, user_id)
        found = await self._query({user_id: []})
        names = await store.read_devices(self._database, [user_id]) if self._tells_names else {}
        answer: dict[str, Any] = {
            "user_id": user_id,
            "stream_id": stream_id,
            "devices": [
                {
                    "device_id": device,
                    "keys": keys,
                    **_named(names.get(user_id, {}).get(device)),
                }
                for device, keys in found["device_keys"].get(user_id, {}).items()
            ],
        }
        for purpose in ("master", "self_signing"):
            if user_id in found[f"{purpose}_keys"]:
                answer[f"{purpose}_key"] = found[f"{purpose}_keys"][user_id]
        return answer

    async def _query(self, wanted: Mapping[str, Sequence[str]]) -> dict[str, Any]:
        found = await self._keys.query(_NOBODY, wanted)
        for by_device in found["device_keys"].values() if not self._tells_names else ():
            for keys in by_device.values():
                keys.pop("unsigned", None)
        return found

    def _own(self, user_ids: Sequence[str] | Mapping[str, Any]) -> list[str]:
        return [user_id for user_id in user_ids if self._is_own(user_id)]

    def _is_own(self, user_id: str) -> bool:
        try:
            return server_name_of(user_id) == self._server_name
        except BadIdentifier:
            return False


def _named(name: str | None) -> dict[str, str]:
    return {"device_display_name": name} if name else {}
