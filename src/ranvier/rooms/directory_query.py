"""What is asked of a room directory, by clients and by other servers alike."""

from typing import Any, Final

import msgspec

from ranvier.protocol.refusal import invalid_param

MAX_ROOMS: Final = 500
"""Rooms in one answer."""
MAX_TERM: Final = 500
_DEFAULT_ROOMS: Final = 100


class RoomSearch(msgspec.Struct, omit_defaults=True):
    """What is looked for; `None` among the types stands for rooms without one."""

    generic_search_term: str | None = None
    room_types: list[str | None] | None = None


class DirectoryQuery(msgspec.Struct, omit_defaults=True):
    """Which part of the directory is wanted."""

    limit: int | None = None
    since: str | None = None
    filter: RoomSearch | None = None
    include_all_networks: bool = False
    third_party_instance_id: str | None = None

    def check(self) -> None:
        """Refuse one network and all at once."""
        if self.include_all_networks and self.third_party_instance_id:
            raise invalid_param("'third_party_instance_id' can't be given with 'include_all_networks'.")

    def rooms(self) -> int:
        """How many rooms are wanted."""
        return _DEFAULT_ROOMS if self.limit is None or self.limit <= 0 else min(self.limit, MAX_ROOMS)

    def body(self) -> dict[str, Any]:
        """The query as another server is asked it."""
        found: dict[str, Any] = msgspec.to_builtins(self)
        return {**found, "limit": self.rooms()}
