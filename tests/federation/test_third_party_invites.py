"""Invites by address, between two servers, once an identity server says whose the address is."""

from __future__ import annotations

from typing import Any

from tests.federated import Federated
from tests.federation.following import Follower
from tests.http_client import path_of
from tests.server import Server, UserClient

from ranvier.protocol import unpadded_base64
from ranvier.protocol.signing import SigningKey

ROOMS = "_matrix/client/v3/rooms"
IDENTITY = SigningKey("identity.example", "ed25519:0", bytes(range(32)))
TOKEN = "a-token"


async def _invite_address(alice: UserClient) -> str:
    room_id = await alice.create_room(preset="private_chat")
    content = {
        "display_name": "b...@example.org",
        "key_validity_url": "https://identity.example/valid",
        "public_key": unpadded_base64.encode(IDENTITY.public),
    }
    await alice.send_state(room_id, "m.room.third_party_invite", content, TOKEN)
    return room_id


async def _bind(server: Server, room_id: str, sender: str, mxid: str, signer: SigningKey = IDENTITY) -> None:
    """The identity server tells a user's server that the user has the address."""
    invite: dict[str, Any] = {
        "medium": "email",
        "address": "bob@example.org",
        "mxid": mxid,
        "room_id": room_id,
        "sender": sender,
        "signed": signer.sign_json({"mxid": mxid, "token": TOKEN}),
    }
    body = {"medium": "email", "address": "bob@example.org", "mxid": mxid, "invites": [invite]}
    (await server.client.put("/_matrix/federation/v1/3pid/onbind", json=body)).ok()


async def test_who_was_invited_by_address_is_invited_as_the_user_whose_it_is(
    alpha: Federated, beta: Federated
) -> None:
    alice, bob = await alpha.register("alice"), await beta.register("bob")
    room_id = await _invite_address(alice)
    await _bind(beta, room_id, alice.user_id, bob.user_id)
    await Follower(bob).membership(room_id, "invite")
    (await bob.post(path_of("_matrix/client/v3/join", room_id), json={})).ok()
    member = await alice.get(path_of(ROOMS, room_id, "state", "m.room.member", bob.user_id))
    assert member.ok()["membership"] == "join"


async def test_what_the_identity_server_did_not_sign_invites_nobody(
    alpha: Federated, beta: Federated
) -> None:
    alice, bob = await alpha.register("alice"), await beta.register("bob")
    room_id = await _invite_address(alice)
    stranger = SigningKey("identity.example", "ed25519:0", bytes(32))
    await _bind(beta, room_id, alice.user_id, bob.user_id, stranger)
    member = await alice.get(path_of(ROOMS, room_id, "state", "m.room.member", bob.user_id))
    assert member.status == 404
