"""Who may give rooms which aliases, and show which rooms in the directory: the administrator's lists of rules."""

from collections.abc import Sequence
from dataclasses import dataclass

from ranvier.protocol.globs import Glob
from ranvier.protocol.refusal import forbidden


@dataclass(frozen=True, slots=True)
class NamingRule:
    """Allows or forbids where all three patterns match."""

    allows: bool
    user_id: Glob
    alias: Glob
    room_id: Glob

    def matches(self, user_id: str, room_id: str, aliases: Sequence[str]) -> bool:
        """Whether the rule is about this; of several aliases one suffices, and a room without any has an empty one."""
        return (
            self.user_id.matches(user_id)
            and self.room_id.matches(room_id)
            and any(self.alias.matches(alias) for alias in aliases or ("",))
        )


@dataclass(frozen=True, slots=True)
class NamingRules:
    """The first rule that matches decides; none forbids. None is no list: then everybody may make aliases, and only
    administrators publish rooms. With `needs_membership`, only members of a room may give it an alias."""

    aliases: Sequence[NamingRule] | None = None
    publication: Sequence[NamingRule] | None = None
    needs_membership: bool = True

    def check_alias(self, user_id: str, room_id: str, alias: str) -> None:
        """Refuse an alias that the rules forbid."""
        if self.aliases is not None and not _allow(self.aliases, user_id, room_id, [alias]):
            raise forbidden("The rules of this server do not allow you to make this alias.")

    def check_publication(
        self, user_id: str, room_id: str, aliases: Sequence[str], *, is_admin: bool
    ) -> None:
        """Refuse to show a room in the directory where the rules forbid it; administrators always may."""
        if not is_admin and not _allow(self.publication or (), user_id, room_id, aliases):
            raise forbidden("The rules of this server do not allow you to show this room in its directory.")


def _allow(rules: Sequence[NamingRule], user_id: str, room_id: str, aliases: Sequence[str]) -> bool:
    first = next((rule for rule in rules if rule.matches(user_id, room_id, aliases)), None)
    return first is not None and first.allows
