"""Run by the Python that has Synapse: says of each event that comes in as a line of JSON what its format leads to.

Each line holds a room version and an event; each answer is "accepted", "rejected" or "dropped".
"""

import json
import logging
import sys
from typing import Any

from synapse.api.errors import EventSizeError
from synapse.api.room_versions import KNOWN_ROOM_VERSIONS
from synapse.crypto.event_signing import check_event_content_hash
from synapse.event_auth import validate_event_for_room_version
from synapse.federation.federation_base import event_from_pdu_json


def fate(case: dict[str, Any]) -> str:
    try:
        event = event_from_pdu_json(case["event"], KNOWN_ROOM_VERSIONS[case["version"]])
        if len(event.prev_event_ids()) > 20 or len(event.auth_event_ids()) > 10:
            return "dropped"
        check_event_content_hash(event)
        validate_event_for_room_version(event)
    except EventSizeError as error:
        return "dropped" if error.unpersistable else "rejected"
    except Exception:  # whatever it is, the event does not get in
        return "dropped"
    return "accepted"


if __name__ == "__main__":
    logging.disable(logging.CRITICAL)
    for line in sys.stdin:
        sys.stdout.write(json.dumps(fate(json.loads(line))) + "\n")
