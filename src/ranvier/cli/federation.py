"""`ranvier federation`: whether servers can reach each other."""

from __future__ import annotations

import asyncio
import json
import textwrap
import time
from pathlib import Path

import click

from ranvier.cli.options import config_option, configuration_paths, data_option, refuse, stop
from ranvier.config import Config, ConfigError, build, load, read_text
from ranvier.main.databases import CannotStart
from ranvier.main.keys import load_signing_keys
from ranvier.main.way_out import open_examiner
from ranvier.protocol.signing import SigningKey
from ranvier.remote.diagnosis import Diagnosis
from ranvier.remote.findings import Finding, federation_ok, findings_of
from ranvier.remote.public_form import public_form

_MARKS = {"good": ("✔", "green"), "doubtful": ("!", "yellow"), "fault": ("✘", "red")}
_WIDTH = 100


@click.group()
def federation() -> None:
    """This server among others."""


@federation.command("test")
@click.argument("server_name")
@click.option(
    "--json", "as_json", is_flag=True, help="Print JSON with the fields of the public federation tester."
)
@config_option
@data_option
def test(server_name: str, as_json: bool, config_paths: tuple[Path, ...], data: Path) -> None:
    """Test whether other servers can reach SERVER_NAME, step by step, and say what to do where they can't.

    With this server's configuration its key is used to send signed requests too; for this server itself that shows
    whether the reverse proxy passes paths on as they came. Exit status 1 if anything is at fault.

    \b
    ranvier federation test example.org
    """
    config, signer = _configuration(config_paths, data)
    try:
        found = asyncio.run(_test(server_name, config, signer))
    except CannotStart as error:
        stop(str(error))
    findings = findings_of(found)
    if as_json:
        click.echo(json.dumps(public_form(found, findings), indent=2))
    else:
        for finding in findings:
            _tell(finding)
        if signer is None:
            click.echo(
                "No signed requests were sent: give --config or --data of a server to send them in its name."
            )
        ok = federation_ok(findings)
        verdict = "can be reached by other servers" if ok else "can't be reached as it should be"
        click.secho(f"{server_name} {verdict}.", bold=True)
    if not federation_ok(findings):
        raise SystemExit(1)


async def _test(server_name: str, config: Config, signer: SigningKey | None) -> Diagnosis:
    async with open_examiner(config.federation, signer, lambda: time.time_ns() // 1_000_000) as examiner:
        return await examiner.test(server_name)


def _tell(finding: Finding) -> None:
    mark, colour = _MARKS[finding.verdict]
    click.echo(f"{click.style(mark, fg=colour)} {finding.step:16} {finding.sentence}")
    if finding.verdict != "good" and finding.cure:
        indent = " " * 19
        click.echo(textwrap.fill(finding.cure, _WIDTH, initial_indent=indent, subsequent_indent=indent))


def _configuration(config_paths: tuple[Path, ...], data: Path) -> tuple[Config, SigningKey | None]:
    """The server's configuration and key; without a server, defaults and none."""
    paths = configuration_paths(config_paths, data)
    if not config_paths and not paths[0].exists():
        return build(read_text("server_name: nobody.invalid", "defaults"), Path.cwd()), None
    try:
        config = load(paths)
        return config, load_signing_keys(config.server.signing_key_path, config.server.name, is_new=False)[0]
    except ConfigError as error:
        refuse(error)
    except CannotStart as error:
        stop(str(error))
