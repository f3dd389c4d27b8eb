"""What peers are told of the devices and keys of this server's users.

Each user's changes are numbered. An update names the one before it (`prev_id`), so that a peer that lacks one asks for
the whole list. Source: server-server API, "Device Management", "End-to-End Encryption".
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from ranvier.encryption.key_views import View
from ranvier.federation.destinations import DeviceNews
from ranvier.federation.edus import Edu, device_edu, signing_key_edu
from ranvier.store import cross_signing, device_changes, device_keys
from ranvier.store.database import Database, Reader
from ranvier.store.device_changes import DeviceChange

USERS: Final = 15
"""Users whose changes go into one transaction."""
_DEVICES: Final = 3
"""Changes of a user that are told one by one; after more a peer asks for the whole list."""


class DeviceUpdates:
    """Makes the EDUs that tell of changes. With `tells_names`, peers are told what users call their devices."""

    def __init__(self, database: Database, *, tells_names: bool) -> None:
        self._database = database
        self._tells_names = tells_names

    async def edus(self, news: Mapping[str, DeviceNews]) -> list[Edu]:
        """The EDUs for these users, at most four for each, of what they have now."""
        users = list(news)
        async with self._database.snapshot() as reader:
            changes = {user: await _changes(reader, user, news[user].stream_id) for user in users}
            owned = await device_keys.read_device_keys(reader, users)
            names = await device_keys.read_devices(reader, users)
            signing = await cross_signing.read_cross_signing_keys(reader, users)
            targets = [(user, device) for user in owned for device in owned[user]]
            targets += [(user, row.public_key) for user in signing for row in signing[user].values()]
            added = await device_keys.read_signatures(reader, targets, [])
        view = View("", signing, added)
        found = [
            self._device(view, user, change, before, owned.get(user, {}), names.get(user, {}))
            for user in users
            for before, change in changes[user]
        ]
        masters, self_signing = view.cross_signing("master"), view.cross_signing("self_signing")
        for user in users:
            if news[user].cross_signing and user in masters:
                keys = {"master_key": masters.get(user), "self_signing_key": self_signing.get(user)}
                found.append(signing_key_edu({"user_id": user} | {k: v for k, v in keys.items() if v}))
        return found

    def _device(
        self,
        view: View,
        user_id: str,
        change: DeviceChange,
        before: int,
        owned: Mapping[str, str],
        names: Mapping[str, str | None],
    ) -> Edu:
        device_id = change.device_id
        content: dict[str, Any] = {
            "user_id": user_id,
            "device_id": device_id,
            "stream_id": change.stream_id,
            "prev_id": [before] if before > 0 else [],
        }
        if device_id not in names:
            return device_edu({**content, "deleted": True})
        name = names[device_id]
        if name is not None and self._tells_names:
            content["device_display_name"] = name
        if device_id in owned:
            keys = view.device(user_id, device_id, owned[device_id], None)
            del keys["unsigned"]
            content["keys"] = keys
        return device_edu(content)


async def _changes(reader: Reader, user_id: str, after: int | None) -> Sequence[tuple[int, DeviceChange]]:
    """What changed after a place, each with the place before it. The newest alone makes a peer ask for all."""
    newest = await device_changes.newest(reader, user_id)
    if after is not None:
        changes = await device_changes.after(reader, user_id, after, _DEVICES + 1)
        if len(changes) <= _DEVICES:
            places = [after, *(change.stream_id for change in changes)]
            return list(zip(places[:-1], changes, strict=True))
    return [(newest - 1, change) for change in await device_changes.after(reader, user_id, newest - 1, 1)]
