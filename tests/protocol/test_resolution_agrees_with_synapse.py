"""Resolved states of chance histories, compared with those of Synapse.

The histories are of all room versions, and hold what only faulty or malicious servers send: demoted senders, bans that
conflict, power levels on several branches, rejected events in states and auth chains. RANVIER_TEST_RESOLUTIONS is how
many histories are made of each room version, RANVIER_TEST_SEED where chance begins.
"""

import json
import os
import random
import subprocess
from pathlib import Path

import pytest
from tests.protocol import naive_state_resolution as naive
from tests.protocol.resolving import resolve
from tests.protocol.room_histories import History
from tests.protocol.room_script import ALL_VERSIONS
from tests.protocol.test_agreement_with_synapse import synapse_python

from ranvier.protocol.room_versions import StateResolution
from ranvier.protocol.state_resolution import StateMap

HISTORIES = int(os.environ.get("RANVIER_TEST_RESOLUTIONS", "5"))
PORTION = 5
CASES = 8
"""Resolutions for each history."""


def make_case(chance: random.Random, version: str) -> tuple[History, list[list[StateMap]]]:
    history = History(chance, version, wild=chance.choice([0, 0.15, 0.4]))
    history.grow(chance.choice([6, 20, 40]))
    if history.version.state_resolution is StateResolution.V1:
        # Of them its text says nothing, and Synapse takes the last that is left without letting it authorise others.
        history.rejected.clear()
    elif chance.random() < 0.5:
        history.reject_some()
    return history, [history.some_states(chance.randrange(2, 9)) for _ in range(CASES)]


def as_line(history: History, cases: list[list[StateMap]]) -> str:
    return json.dumps(
        {
            "version": history.version.identifier,
            "events": {event_id: event.pdu for event_id, event in history.events.items()},
            "rejected": sorted(history.rejected),
            "cases": [
                [[[*key, event_id] for key, event_id in state.items()] for state in states]
                for states in cases
            ],
        }
    )


def answers_to(made: list[tuple[History, list[list[StateMap]]]]) -> list[list[StateMap]]:
    run = subprocess.run(
        [synapse_python(), str(Path(__file__).with_name("synapse_resolutions.py"))],
        input="\n".join(as_line(*case) for case in made),
        capture_output=True,
        text=True,
        check=True,
        timeout=560,
        env={key: value for key, value in os.environ.items() if key != "PYTHONPATH"},
    )
    answers = [json.loads(line) for line in run.stdout.splitlines()]
    return [
        [{(type, key): event_id for type, key, event_id in state} for state in states] for states in answers
    ]


@pytest.mark.timeout(600)
@pytest.mark.parametrize("portion", range(0, HISTORIES, PORTION))
def test_synapse_resolves_states_as_we_do(portion: int) -> None:
    seed = os.environ.get("RANVIER_TEST_SEED", "1")
    chance = random.Random(f"{seed} {portion}")
    number = min(PORTION, HISTORIES - portion)
    made = [make_case(chance, version) for version in ALL_VERSIONS for _ in range(number)]
    changed = 0
    for (history, cases), answers in zip(made, answers_to(made), strict=True):
        for states, theirs in zip(cases, answers, strict=True):
            asked = (history.version, states, history.events)
            ours = resolve(*asked, history.index, history.rejected)
            if ours != theirs and history.rejected:
                # Against the text, rejected events neither enter Synapse's state nor authorise anything there.
                ours = naive.resolve(*asked, history.rejected, admit_rejected=False)
            told = f"seed {seed}, portion {portion}, version {history.version.identifier}"
            keys = {key for key in ours.keys() | theirs.keys() if ours.get(key) != theirs.get(key)}
            assert not keys, f"{told}: {[(key, ours.get(key), theirs.get(key)) for key in keys]}"
            changed += ours not in states
    # Else little of interest was resolved.
    assert changed > len(made) * CASES / 2
