"""`ranvier keys`: the server's signing keys, shown and renewed."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime
from pathlib import Path

import click

from ranvier.cli.options import config_option, configuration_paths, data_option, refuse, say, stop
from ranvier.config import Config, ConfigError, load
from ranvier.main.databases import CannotStart
from ranvier.main.keys import load_retired_keys, load_signing_keys, rotate
from ranvier.main.remote_parts import own_keys
from ranvier.protocol import unpadded_base64
from ranvier.remote.own_keys import OwnKeys


@click.group()
def keys() -> None:
    """The keys by which other servers know this one."""


@keys.command("show")
@config_option
@data_option
@click.option("--json", "as_json", is_flag=True, help="Print the document that other servers get.")
def show(config_paths: tuple[Path, ...], data: Path, as_json: bool) -> None:
    """Show the public keys: those that sign, and those that signed before. Nothing secret is printed."""
    own = _own_keys(_configuration(config_paths, data))
    if as_json:
        click.echo(json.dumps(own.document(), indent=2))
        return
    for place, signer in enumerate(own.signers):
        note = "signs" if place == 0 else "published beside it"
        click.echo(f"{signer.key_id}  {unpadded_base64.encode(signer.public)}  {note}")
    for key_id, old in own.document()["old_verify_keys"].items():
        retired = datetime.fromtimestamp(old["expired_ts"] / 1000, UTC).strftime("%Y-%m-%d %H:%M UTC")
        click.echo(f"{key_id}  {old['key']}  retired {retired}")


@keys.command("rotate")
@config_option
@data_option
@click.confirmation_option(
    prompt="A new key takes the place of the one in the key file. Go on?", help="Don't ask."
)
def rotate_key(config_paths: tuple[Path, ...], data: Path) -> None:
    """Make a new signing key; the old ones are retired and stay published, so that what they signed can be checked.

    Stop the server before, and start it after. Do this when somebody else may know the key. Servers learn of it when
    they next ask: within the time of key_refresh_interval.
    """
    config = _configuration(config_paths, data)
    path = config.server.signing_key_path
    try:
        new, retired = rotate(path, config.server.name, time.time_ns() // 1_000_000)
    except CannotStart as error:
        stop(str(error))
    say(
        f"{config.server.name} signs by {new.key_id} when it starts next; keep a copy of {path} in a safe place."
    )
    for old in retired:
        say(f"{old.key_id} is retired; its public half is kept beside it.")


def _configuration(config_paths: tuple[Path, ...], data: Path) -> Config:
    try:
        return load(configuration_paths(config_paths, data))
    except ConfigError as error:
        refuse(error)


def _own_keys(config: Config) -> OwnKeys:
    path = config.server.signing_key_path
    try:
        signers = load_signing_keys(path, config.server.name, is_new=False)
        retired = load_retired_keys(path)
    except CannotStart as error:
        stop(str(error))
    return own_keys(config.server_keys, signers, retired, lambda: time.time_ns() // 1_000_000)
