"""Resolved states of chance histories, compared with those of Synapse.

The histories are of all room versions, and hold what only faulty or malicious servers send: demoted senders, bans that
conflict, power levels on several branches, rejected events in states and auth chains. RANVIER_TEST_RESOLUTIONS is how
many histories are made of each room version, RANVIER_TEST_SEED where chance begins; `beside_synapse.py` is a command,
too, that compares thousands.
"""

import os
from collections.abc import Iterator

import pytest
from tests.protocol.beside_synapse import Resolver, Tally, compare, resolver, synapse_python
from tests.protocol.room_script import ALL_VERSIONS

HISTORIES = int(os.environ.get("RANVIER_TEST_RESOLUTIONS", "5"))
SEED = os.environ.get("RANVIER_TEST_SEED", "1")


@pytest.fixture(scope="module")
def synapse() -> Iterator[Resolver]:
    with resolver(synapse_python()) as process:
        yield process


# A history takes about a tenth of a second of each side; what is left is for a machine that is busy with other things.
@pytest.mark.timeout(300 + 20 * HISTORIES)
@pytest.mark.parametrize("version", ALL_VERSIONS)
def test_synapse_resolves_states_as_we_do(synapse: Resolver, version: str) -> None:
    tally = Tally()
    for number in range(HISTORIES):
        tally.add(compare(synapse, version, f"{SEED} {number}"))
    # Else little of interest was resolved.
    assert tally.changed > tally.resolutions / 3
