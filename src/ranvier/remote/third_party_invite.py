"""Turning a third-party invite into an invite, at a server of the room (`third_party_invite.yaml`)."""

from typing import Any

from ranvier.remote.client import FederationClient, path_of


async def exchange_third_party_invite(
    client: FederationClient, destination: str, room_id: str, event: dict[str, Any]
) -> None:
    """Ask the destination, which is in the room, to check and send the invite. Raises RemoteFailure."""
    path = path_of("/_matrix/federation/v1/exchange_third_party_invite", room_id)
    await client.request(destination, "PUT", path, body=event, urgent=True)
