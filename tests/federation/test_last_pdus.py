"""Whoever watches a server sees how long ago it heard of the servers that matter to them."""

from __future__ import annotations

import time
from pathlib import Path

from tests.authority import Authority
from tests.federated import Federated, start_federated
from tests.federation.following import Follower
from tests.http_client import path_of


def shown(server: Federated) -> dict[tuple[str, str], float]:
    """The figures of nominated servers, by name and server."""
    return {
        (family.name, server_name): sample.value
        for family in server.composition.parts.families()
        if "_pdu_time" in family.name
        for sample in family.samples
        for server_name in sample.labels.values()
    }


async def test_the_last_event_to_and_from_a_nominated_server_is_shown_and_of_no_other(
    tmp_path: Path, authority: Authority
) -> None:
    beta = await start_federated(tmp_path / "beta", authority)
    alpha = await start_federated(
        tmp_path / "alpha", authority, federation_metrics_domains=[beta.server_name, "absent.example"]
    )
    try:
        alice, bob = await alpha.register("alice"), await beta.register("bob")
        room_id = await alice.create_room(preset="public_chat")
        (
            await bob.post(
                path_of("_matrix/client/v3/join", room_id), json={}, query={"via": alpha.server_name}
            )
        ).ok()
        assert shown(alpha) == {}
        following = {alice: Follower(alice), bob: Follower(bob)}
        before = time.time()
        for speaker, listener in ((alice, bob), (bob, alice)):
            await following[listener].event(room_id, await speaker.send(room_id, "hello"))
        found = shown(alpha)
        assert set(found) == {
            ("synapse_federation_last_received_pdu_time", beta.server_name),
            ("synapse_federation_last_sent_pdu_time", beta.server_name),
        }
        assert all(before - 1 < seconds < time.time() + 1 for seconds in found.values())
        assert shown(beta) == {}
    finally:
        await alpha.close()
        await beta.close()
