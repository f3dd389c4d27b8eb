"""From the command to the first answer, and the memory of a server that has nothing to do."""

from bench.accounting import settle, tree_memory, tree_seconds
from bench.figures import Fact, Result, percentile
from bench.world import World


async def measure_start(world: World) -> list[Result]:
    """Stop and start with the database as it stands; CPU is charged until the server is quiet."""
    server, starts, cpu, database_cpu = world.server, [], 0.0, 0.0
    with world.bars.step("starting", world.sizes.starts) as step:
        for _ in range(world.sizes.starts):
            await server.stop()
            before = tree_seconds(server.database_pids)
            starts.append(await server.start())
            await settle([*server.pids, *server.database_pids], window=0.3, at_most=10)
            cpu += tree_seconds(server.pids)
            database_cpu += tree_seconds(server.database_pids) - before
            step.advance()
    memory = tree_memory(server.pids)
    facts = [
        Fact("idle memory, PSS", memory.pss, "MiB", compared=True),
        Fact("idle memory, RSS", memory.rss, "MiB", compared=True),
        Fact("first start, empty database", world.first_start_seconds * 1e3, "ms", compared=True),
    ]
    if server.database_pids:
        facts.append(
            Fact(
                "idle memory of the database, PSS",
                tree_memory(server.database_pids).pss,
                "MiB",
                compared=True,
            )
        )
    return [
        Result(
            work="start to first answer",
            operations=len(starts),
            seconds=sum(starts),
            p50_ms=percentile(starts, 0.5) * 1e3,
            p99_ms=percentile(starts, 0.99) * 1e3,
            server_cpu_ms=cpu * 1e3 / len(starts),
            database_cpu_ms=database_cpu * 1e3 / len(starts),
            facts=tuple(facts),
            checked="GET /versions answered 200 each time",
        )
    ]
