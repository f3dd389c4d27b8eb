"""Many events at once: each gets its own verdict, whatever core it was checked on."""

from bench.protocol.rooms import signed_messages
from bench.protocol.work import Keys

from ranvier.protocol.events import BadEvent, Event
from ranvier.protocol.room_versions import ROOM_VERSIONS
from ranvier.remote.verifying import Verifying


async def test_of_many_events_each_has_its_verdict_at_its_place() -> None:
    pdus, keys = signed_messages(300)
    for place in range(0, 300, 7):
        pdus[place] = {**pdus[place], "depth": -1}
    for place in range(1, 300, 7):
        pdus[place] = {**pdus[place], "depth": 4}
    for place in range(2, 300, 7):
        pdus[place] = {**pdus[place], "content": {"body": "other words", "msgtype": "m.text"}}
    verifying = Verifying(Keys(keys))  # type: ignore[arg-type]
    try:
        outcomes = await verifying.check(pdus, ROOM_VERSIONS["11"])
    finally:
        verifying.stop()
    assert len(outcomes) == len(pdus)
    for place, (pdu, outcome) in enumerate(zip(pdus, outcomes, strict=True)):
        if place % 7 < 2:
            assert isinstance(outcome, BadEvent)
        else:
            assert isinstance(outcome, Event)
            assert outcome.origin_server_ts == pdu["origin_server_ts"]
            # What is not what its origin hashed comes back redacted.
            assert bool(outcome.content) is (place % 7 != 2)
