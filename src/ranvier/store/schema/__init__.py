"""Numbered, forward-only schema files, one text for both databases.

`NNNN_name.sql` runs on both; `NNNN_name.postgres.sql` and `NNNN_name.sqlite.sql` only on the one that they name, after
it. A release expands the schema and the next contracts it, so that two neighbouring releases can share a database: a
file that contracts says in `meta` which schema a program must know from then on (0055, and
docs/decisions/0107-two-versions-side-by-side.md).
"""

from importlib import resources

from ranvier.store.database import Database, Dialect


class SchemaTooNew(Exception):
    """The database was written by a newer Ranvier."""


def files(dialect: Dialect) -> dict[int, list[str]]:
    """The statements of each schema version, in order."""
    found: dict[int, list[str]] = {}
    names = sorted(entry.name for entry in resources.files(__name__).iterdir() if entry.name.endswith(".sql"))
    for name in sorted(names, key=lambda n: (n[:4], n.count("."))):
        parts = name.split(".")
        if len(parts) == 3 and parts[1] != dialect:
            continue
        text = (resources.files(__name__) / name).read_text("utf-8")
        found.setdefault(int(name[:4]), []).extend(_statements(text))
    return found


def _statements(text: str) -> list[str]:
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("--")]
    return [part.strip() for part in "\n".join(lines).split(";") if part.strip()]


_EXISTS = {
    "sqlite": "SELECT 1 FROM sqlite_master WHERE name = 'schema_version'",
    # Not `to_regclass`, which may answer from what its session remembers.
    "postgres": "SELECT 1 FROM pg_tables WHERE schemaname = current_schema() AND tablename = 'schema_version'",
}


async def version_of(database: Database) -> int:
    """The schema version that the database has; 0 if it is empty."""
    exists = await database.fetch_value(_EXISTS[database.dialect])
    return int(await database.fetch_value("SELECT MAX(version) FROM schema_version")) if exists else 0


async def _is_enough(database: Database, known: int) -> bool:
    """Whether a program that knows schemas up to this can work with the database, which has a newer one."""
    oldest = await database.fetch_value("SELECT value FROM meta WHERE name = 'schema_oldest'")
    return oldest is not None and int(oldest) <= known


async def upgrade(database: Database) -> tuple[int, int]:
    """Bring the database to the newest schema, each version in a transaction of its own; answers (from, to).

    Another process may do the same at once: each version is then reached by one of them. Raises `SchemaTooNew` for a
    database that a newer program has taken something from which this one needs.
    """
    steps = files(database.dialect)
    newest = max(steps)
    before = await version_of(database)
    if before > newest:
        if await _is_enough(database, newest):
            # A newer program runs beside this one, or did.
            return before, before
        raise SchemaTooNew(
            f"The database has schema {before}, and this program knows schemas up to {newest}. "
            "It was written by a newer Ranvier: install that version, or restore a backup made before the upgrade."
        )
    for version in sorted(step for step in steps if step > before):
        done = f"INSERT INTO schema_version (version) VALUES ({version})"  # noqa: S608
        known = f"SELECT 1 FROM schema_version WHERE version = {version}"  # noqa: S608
        unless = known if version > min(steps) else _EXISTS[database.dialect]
        await database.run_script([*steps[version], done], unless)
    return before, newest
