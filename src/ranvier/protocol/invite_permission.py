"""Whether a user takes invites at all (client-server API, "Invite permission", v1.18)."""

from typing import Any, Final

INVITE_PERMISSION: Final = "m.invite_permission_config"
"""The account data that says so."""


def blocks_invites(content: Any) -> bool:
    """Whether this content of the user's `m.invite_permission_config` blocks every invite.

    Whatever is missing, of a wrong type or not known leaves invites as they are.
    """
    return isinstance(content, dict) and content.get("default_action") == "block"
