"""Relays for calls: where they are, and credentials that they take for a while.

Source: Client-Server API, "Voice over IP"; the credentials are those of draft-uberti-behave-turn-rest.
"""

import base64
import hmac
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ranvier.accounts.requester import Requester
from ranvier.protocol.refusal import Refusal, not_found


@dataclass(frozen=True, slots=True)
class RelayRules:
    """Where TURN servers are, and how users are let in: by a shared secret, or all by one name and password.

    `lifetime` is that of the credentials, in milliseconds.
    """

    uris: tuple[str, ...] = ()
    secret: str | None = None
    username: str | None = None
    password: str | None = None
    lifetime: int = 3_600_000
    for_guests: bool = True


class Relays:
    """Gives out credentials; `now` is milliseconds since the epoch."""

    def __init__(self, rules: RelayRules, now: Callable[[], int]) -> None:
        self._rules = rules
        self._now = now

    def credentials(self, requester: Requester) -> dict[str, Any]:
        """The answer for a user; M_NOT_FOUND where no relay is configured."""
        rules = self._rules
        if requester.is_guest and not rules.for_guests:
            raise Refusal("M_GUEST_ACCESS_FORBIDDEN", "Guests get no relay for calls here.")
        if rules.secret is not None:
            username = f"{(self._now() + rules.lifetime) // 1000}:{requester.user_id}"
            digest = hmac.digest(rules.secret.encode(), username.encode(), "sha1")
            password = base64.b64encode(digest).decode()
        elif rules.username is not None and rules.password is not None:
            username, password = rules.username, rules.password
        else:
            username = password = ""
        if not rules.uris or not password:
            raise not_found("This server has no relay for calls.")
        return {
            "uris": list(rules.uris),
            "username": username,
            "password": password,
            "ttl": rules.lifetime // 1000,
        }
