"""`ranvier run`: start the server, and make its data folder if there is none."""

from __future__ import annotations

import gc
import shlex
import shutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import click

from ranvier.cli.options import (
    config_option,
    configuration_paths,
    data_option,
    refuse,
    say,
    set_option,
    stop,
)
from ranvier.config import CONFIG_NAME, Config, ConfigError, create, load

TRIAL_NAME = "localhost"


@click.command()
@data_option
@config_option
@click.option(
    "--server-name",
    metavar="DOMAIN",
    help="Domain of the users' IDs (@user:DOMAIN). Written down at the first start, and never changed after it. "
    f"Without it a new server is called {TRIAL_NAME}, which is good for trying only.",
)
@click.option("--address", metavar="IP", help="Address of the first listener.  [new server: 127.0.0.1]")
@click.option(
    "--port", type=click.IntRange(0, 65_535), help="Port of the first listener.  [new server: 8008]"
)
@set_option
def run(
    data: Path,
    config_paths: tuple[Path, ...],
    server_name: str | None,
    address: str | None,
    port: int | None,
    assignments: tuple[str, ...],
) -> None:
    """Start the server; Ctrl-C stops it.

    The first start makes the data folder with configuration, signing key, secrets and an SQLite database. Every
    later start uses what is there.
    """
    try:
        if not config_paths and not (data / CONFIG_NAME).exists():
            name = server_name or _assigned_name(assignments) or TRIAL_NAME
            create(data, name, address or "127.0.0.1", 8008 if port is None else port)
        paths = configuration_paths(config_paths, data)
        assigned = [*_overrides(address, port), *assignments]
        config = load(paths, assigned)
    except ConfigError as error:
        refuse(error)
    if server_name is not None and server_name != config.server.name:
        stop(
            f"This server is {config.server.name}, not {server_name}: a server can't be renamed, as its users and "
            f"rooms carry the name. Leave --server-name out, or start {server_name} in another folder with --data."
        )
    _serve(config, lambda: load(paths, assigned), lambda bound: _greet(config, paths, bound))


def _assigned_name(assignments: Sequence[str]) -> str | None:
    """The server's name where `--set` gives one: it is written down like that of `--server-name`, for later starts."""
    names = [
        value.strip() for key, _, value in (one.partition("=") for one in assignments) if key == "server_name"
    ]
    return names[-1] if names else None


def _overrides(address: str | None, port: int | None) -> list[str]:
    found = []
    if address is not None:
        found.append(f"listeners.0.bind_addresses=[{address!r}]")
    if port is not None:
        found.append(f"listeners.0.port={port}")
    return found


def _greet(config: Config, paths: Sequence[Path], bound: Sequence[str]) -> None:
    """What somebody wants to know who just started a server; `bound` is where it listens: HOST:PORT, or a socket."""
    addresses = [where if where.startswith(("/", "https://")) else f"http://{where}" for where in bound]
    rows = [
        ("server name", config.server.name),
        ("listens on", ", ".join(addresses)),
        ("data folder", str(config.server.data_directory)),
    ]
    reachable = [url for url in addresses if url.startswith("http")]
    if config.registration.shared_secret is not None and reachable:
        files = " ".join(f"-c {shlex.quote(str(path))}" for path in paths)
        rows.append(("first user", f"{_program()} register {files} --admin {local(reachable[0])}"))
    rows.append(("to stop", "Ctrl-C"))
    for label, value in rows:
        say(value, head=f"{label:12}")


def local(url: str) -> str:
    """A URL that this machine can call, of one that may name all addresses."""
    return url.replace("//0.0.0.0:", "//127.0.0.1:").replace("//[::]:", "//[::1]:")


def _program() -> str:
    """How this command is called from here: by its name where the shell finds it, else by its path."""
    called = Path(sys.argv[0])
    found = shutil.which("ranvier")
    if called.name != "ranvier" or (found is not None and Path(found).samefile(called)):
        return "ranvier"
    return shlex.quote(str(called))


def _serve(config: Config, load_again: Callable[[], Config], on_ready: Callable[[list[str]], None]) -> None:
    """Serve in this process, or start several that do."""
    # Loading makes many objects and next to no garbage; who serves switches the collector on again.
    gc.disable()
    # The other commands don't wait for the whole server to load.
    from ranvier.main.handed_over import HandedOver  # noqa: PLC0415

    handed_over = HandedOver.take()
    if handed_over is None:
        for warning in config.warnings:
            say(warning)
        from ranvier.main.supervisor import processes_of, supervise  # noqa: PLC0415

        if processes_of(config) > 1:
            supervise(config, [sys.executable, "-m", "ranvier", *sys.argv[1:]], load_again, on_ready)
            return
    from ranvier.main.process import serve  # noqa: PLC0415

    serve(config, on_ready, handed_over)
