"""Run by the Python that has Synapse: names, redacts and authorises the events that come in as lines of JSON.

Each line holds a room version, an event and the state before it; each answer its ID, its redacted form and
whether the state allows it.
"""

import json
import logging
import sys
from typing import Any

from synapse.api.room_versions import KNOWN_ROOM_VERSIONS
from synapse.event_auth import check_state_dependent_auth_rules
from synapse.events import make_event_from_dict
from synapse.events.utils import prune_event


def answer(case: dict[str, Any]) -> dict[str, Any]:
    version = KNOWN_ROOM_VERSIONS[case["version"]]
    event = make_event_from_dict(case["event"], version)
    state = [make_event_from_dict(pdu, version) for pdu in case["state"]]
    try:
        check_state_dependent_auth_rules(event, state)
        reason = None
    except Exception as error:  # malformed content makes it fail in any way, and the event with it
        reason = repr(error)
    return {"event_id": event.event_id, "redacted": prune_event(event).get_pdu_json(), "reason": reason}


if __name__ == "__main__":
    logging.disable(logging.CRITICAL)
    for line in sys.stdin:
        sys.stdout.write(json.dumps(answer(json.loads(line))) + "\n")
