"""What the server holds after all work that ran before."""

from bench.accounting import settle, tree_memory
from bench.figures import Fact, Result
from bench.world import World


async def measure_memory(world: World) -> list[Result]:
    """PSS and RSS of the server's processes, and of the database's."""
    server = world.server
    await settle([*server.pids, *server.database_pids], window=0.3)
    memory = tree_memory(server.pids)
    facts = [
        Fact("memory after all of it, PSS", memory.pss, "MiB", compared=True),
        Fact("memory after all of it, RSS", memory.rss, "MiB", compared=True),
    ]
    if server.database_pids:
        facts.append(
            Fact(
                "memory of the database after all of it, PSS",
                tree_memory(server.database_pids).pss,
                "MiB",
                compared=True,
            )
        )
    return [Result(work="memory", facts=tuple(facts))]
