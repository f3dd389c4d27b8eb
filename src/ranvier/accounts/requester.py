"""Who makes a request."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Requester:
    """The user, and the device if there is one, that an access token stands for.

    `token` is the token's hash as it lies in the store, never the token.
    """

    user_id: str
    device_id: str | None
    token: bytes
    is_admin: bool = False
    is_guest: bool = False
    shadow_banned: bool = False
