"""The pieces of work, in the order in which they run; each takes a world and answers rows."""

from collections.abc import Awaitable, Callable

from bench.figures import Result
from bench.work import (
    delivery,
    history,
    joining,
    memory,
    mixture,
    registration,
    room_creation,
    sending,
    start,
    syncing,
)
from bench.world import World

Work = Callable[[World], Awaitable[list[Result]]]

WORK: dict[str, Work] = {
    "start": start.measure_start,
    "register": registration.measure_registration,
    "login": registration.measure_login,
    "send": sending.measure_sequential,
    "send-concurrent": sending.measure_concurrent,
    "deliver": delivery.measure_delivery,
    "first-sync": syncing.measure_first_sync,
    "sync-quiet": syncing.measure_quiet_sync,
    "sync-one": syncing.measure_one_event_sync,
    "messages": history.measure_messages,
    "create-room": room_creation.measure_creation,
    "join": joining.measure_joins,
    "mixed": mixture.measure_mixture,
    "memory": memory.measure_memory,
}
