"""Whose invites a user takes.

Source: Client-Server API, "Invite permission" (v1.18: all or none), and MSC4155 (by user and server).
"""

from collections.abc import Iterable
from typing import Any, Final, Literal

from ranvier.protocol.globs import Glob
from ranvier.protocol.identifiers import server_name_of

INVITE_PERMISSION: Final = "m.invite_permission_config"
"""The account data that says so."""
PROPOSED_PERMISSION: Final = "org.matrix.msc4155.invite_permission_config"
"""The same under the proposal's prefix."""
_PATTERNS: Final = 500
"""Patterns of one list that are looked at."""
_LONGEST: Final = 255

Verdict = Literal["allow", "ignore", "block"]
_LISTS: Final[tuple[tuple[Verdict, str], ...]] = (
    ("allow", "allowed"),
    ("ignore", "ignored"),
    ("block", "blocked"),
)


def judge_invite(content: Any, inviter: str) -> Verdict:
    """What becomes of an invite: `ignore` hides it from the user and says nothing, `block` refuses it.

    Whatever is missing, of a wrong type or not known leaves invites as they are.
    """
    if not isinstance(content, dict):
        return "allow"
    # What is said of a user goes before what is said of their server.
    for kind, text in (("users", inviter), ("servers", server_name_of(inviter))):
        for verdict, name in _LISTS:
            if _fits(text, content.get(f"{name}_{kind}")):
                return verdict
    return "block" if content.get("default_action") == "block" else "allow"


def _fits(text: str, patterns: object) -> bool:
    return isinstance(patterns, list) and any(Glob(pattern).matches(text) for pattern in _usable(patterns))


def _usable(patterns: list[Any]) -> Iterable[str]:
    return (one for one in patterns[:_PATTERNS] if isinstance(one, str) and len(one) <= _LONGEST)
