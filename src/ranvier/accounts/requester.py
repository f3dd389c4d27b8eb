"""Who makes a request."""

from dataclasses import dataclass

from ranvier.protocol.refusal import Refusal


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
    is_suspended: bool = False

    def check_not_suspended(self) -> None:
        """Refuse what a suspended user may not do (Client-Server API, "Account suspension")."""
        if self.is_suspended:
            raise Refusal(
                "M_USER_SUSPENDED", "Your account is suspended: you can read, leave rooms and log out."
            )

    def check_admin(self) -> None:
        """Refuse everybody but administrators of this server."""
        if not self.is_admin:
            raise Refusal("M_FORBIDDEN", "Only an administrator of this server may do this.")

    def check_is(self, user_id: str) -> None:
        """Refuse unless this is the user whose things are asked for."""
        if user_id != self.user_id:
            raise Refusal("M_FORBIDDEN", f"This belongs to {user_id[:255]}; you are {self.user_id}.")
