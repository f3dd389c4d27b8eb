"""Where servers are, by their names: drives the specification's discovery, and remembers what it found."""

import asyncio
import random
import time
from collections.abc import Callable
from functools import partial
from typing import Final

from ranvier.protocol.server_discovery import Discovery, NeedSrv, NeedWellKnown, Route, in_order
from ranvier.remote.resolver import Resolver
from ranvier.remote.well_known import WellKnowns

_REMEMBERED: Final = 20_000
_LONGEST_S: Final = 300.0
"""A route that needed no look-up of service records is thought over again after this; documents have their own time."""


class Routes:
    """Routes by server name. `now` counts seconds from any moment."""

    def __init__(
        self,
        resolver: Resolver,
        well_knowns: WellKnowns,
        now: Callable[[], float] = time.monotonic,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._resolver = resolver
        self._well_knowns = well_knowns
        self._now = now
        self._chance = chance
        self._known: dict[str, tuple[Route, float]] = {}
        self._asking: dict[str, asyncio.Task[Route]] = {}

    async def find(self, server_name: str) -> Route:
        """The route to a server, whose name is valid. It never fails: the last resort is port 8448 of that name."""
        known = self._known.get(server_name)
        if known is not None and known[1] > self._now():
            return known[0]
        task = self._asking.get(server_name)
        if task is None:
            task = asyncio.create_task(self._discover(server_name), name=f"route to {server_name}")
            self._asking[server_name] = task
            task.add_done_callback(partial(self._asked, server_name))
        # One who gives up takes nothing from the others who wait for the same.
        return await asyncio.shield(task)

    def forget(self, server_name: str) -> None:
        """The route led nowhere: look anew next time."""
        self._known.pop(server_name, None)

    def _asked(self, server_name: str, _: object) -> None:
        self._asking.pop(server_name, None)

    async def _discover(self, server_name: str) -> Route:
        discovery = Discovery(server_name)
        lifetime = _LONGEST_S
        while not isinstance(step := discovery.next_step(), Route):
            if isinstance(step, NeedWellKnown):
                discovery.tell_well_known(await self._well_knowns.find(step.host))
            elif isinstance(step, NeedSrv):
                records, ttl = await self._resolver.find_srv(step.name)
                lifetime = min(lifetime, ttl)
                discovery.tell_srv(in_order(records, [self._chance() for _ in records]))
        if len(self._known) >= _REMEMBERED:
            for old in list(self._known)[: _REMEMBERED // 10]:
                del self._known[old]
        self._known.pop(server_name, None)
        self._known[server_name] = (step, self._now() + lifetime)
        return step
