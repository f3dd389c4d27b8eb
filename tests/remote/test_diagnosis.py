"""`ranvier federation test`: it says of each fault where it is and what to do, and of a sound server that it is one."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import yaml
from aiohttp import web
from click.testing import CliRunner
from tests.authority import Authority, Files
from tests.federated import Federated, federation_settings, start_federated
from tests.remote.neighbourhood import Answering, Neighbourhood

from ranvier.cli import main
from ranvier.main.way_out import open_examiner
from ranvier.protocol import server_keys
from ranvier.protocol.signing import SigningKey
from ranvier.remote.diagnosis import Diagnosis, Examiner
from ranvier.remote.findings import Finding, findings_of
from ranvier.remote.own_keys import OwnKeys
from ranvier.remote.public_form import public_form
from ranvier.remote.tls import TlsRules

NOW = 1_700_000_000_000
SIGNER = SigningKey("a.test", "ed25519:1", bytes([1]) * 32)


async def examine(server: Federated, name: str) -> Diagnosis:
    own = server.part(OwnKeys)
    async with open_examiner(server.config.federation, own.signer, own.now) as examiner:
        return await examiner.test(name)


def faults(found: Diagnosis) -> list[Finding]:
    return [finding for finding in findings_of(found) if finding.verdict == "fault"]


async def test_a_sound_server_passes_by_itself_and_seen_from_another(
    alpha: Federated, beta: Federated
) -> None:
    for seen_from in (alpha, beta):
        found = await examine(seen_from, alpha.server_name)
        assert faults(found) == []
        assert found.version is not None
        assert found.version["name"] == "Ranvier"
        assert len(found.signed) == 7
        [reached] = [reached for reached in found.reached if reached.address.startswith("127.0.0.1")]
        assert reached.certificates[0].names == ("localhost",)
        assert reached.certificates[0].issuer


async def test_the_report_has_the_fields_of_the_public_tester(alpha: Federated) -> None:
    found = await examine(alpha, alpha.server_name)
    report = json.loads(json.dumps(public_form(found, findings_of(found))))
    assert report["FederationOK"] is True
    assert report["Version"]["name"] == "Ranvier"
    assert report["DNSResult"]["SRVSkipped"] is True
    assert report["ConnectionErrors"] == {}
    connection = report["ConnectionReports"][f"127.0.0.1:{alpha.server_name.partition(':')[2]}"]
    signer = alpha.part(OwnKeys).signer
    assert connection["Checks"] == {
        "AllChecksOK": True,
        "MatchingServerName": True,
        "FutureValidUntilTS": True,
        "HasEd25519Key": True,
        "AllEd25519ChecksOK": True,
        "Ed25519Checks": {signer.key_id: {"ValidEd25519": True, "MatchingSignature": True}},
        "ValidCertificates": True,
    }
    assert connection["Certificates"][0]["DNSNames"] == ["localhost"]
    assert connection["Cipher"]["Version"] == "TLS 1.3"
    assert set(connection["Ed25519VerifyKeys"]) == {signer.key_id}


@asynccontextmanager
async def proxy(files: Files, port: int, change: Callable[[bytes], bytes], to: int) -> AsyncIterator[None]:
    """A reverse proxy that changes the first line of each request."""

    async def pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            head = await reader.readuntil(b"\r\n\r\n")
            line, rest = head.split(b"\r\n", 1)
            inner, outer = await asyncio.open_connection("127.0.0.1", to)
            outer.write(change(line) + b"\r\nConnection: close\r\n" + rest)
            writer.write(await inner.read())
            await writer.drain()
            outer.close()
        writer.close()

    server = await asyncio.start_server(pass_on, ["127.0.0.1", "::1"], port, ssl=files.context())
    try:
        yield
    finally:
        server.close()


async def test_a_proxy_that_changes_paths_is_found_and_the_cure_is_named(
    tmp_path: Path, authority: Authority
) -> None:
    settings = federation_settings(authority)
    port = settings["listeners"].pop()["port"]
    server = await start_federated(
        tmp_path, authority, server_name=settings["server_name"], listeners=settings["listeners"]
    )
    inside = server.process.listenings[0].bound[0].port
    try:
        async with proxy(authority.issue("localhost"), port, lambda line: line, inside):
            assert faults(await examine(server, server.server_name)) == []
        async with proxy(authority.issue("localhost"), port, lambda line: line.replace(b"%2F", b"/"), inside):
            [fault] = faults(await examine(server, server.server_name))
        assert fault.step == "signed requests"
        assert "nocanon" in fault.cure
        async with proxy(authority.issue("localhost"), port, lambda line: line.replace(b"%40", b"@"), inside):
            [fault] = faults(await examine(server, server.server_name))
        assert "/@d%3Ae" in fault.sentence, "it tells what arrived"
    finally:
        await server.close()


def keys_document(name: str = "a.test", **fields: Any) -> dict[str, Any]:
    return {**server_keys.make([SIGNER], [], NOW + 86_400_000), "server_name": name, **fields}


def homeserver(document: object) -> Answering:
    async def answer(request: web.Request) -> web.Response:
        if request.path == "/_matrix/key/v2/server":
            return web.json_response(document)
        if request.path == "/_matrix/federation/v1/version":
            return web.json_response({"server": {"name": "Other", "version": "1"}})
        return web.json_response({"errcode": "M_NOT_FOUND", "error": "x"}, status=404)

    return answer


async def test_each_fault_has_its_place_and_its_cure(neighbourhood: Neighbourhood) -> None:
    names = neighbourhood.name_server
    names.host("a.test", "127.0.0.1")
    names.host("target.test", "127.0.0.1")
    names.alias("alias.test", "target.test")
    good = await neighbourhood.serve(homeserver(keys_document()), "a.test")
    other_name = await neighbourhood.serve(homeserver(keys_document()), "b.test")
    other_keys = await neighbourhood.serve(homeserver(keys_document("b.test")), "a.test")
    unsigned = await neighbourhood.serve(homeserver(keys_document(signatures={})), "a.test")
    stale = await neighbourhood.serve(homeserver(server_keys.make([SIGNER], [], NOW - 1)), "a.test")
    nonsense = await neighbourhood.serve(homeserver([1]), "a.test")

    async def faults_at(port: int, target: str = "target.test", **rules: Any) -> dict[str, Finding]:
        names.records.pop(("_matrix-fed._tcp.a.test", 33), None)
        names.service("_matrix-fed._tcp.a.test", port, target)
        outside = neighbourhood.outside(rules=TlsRules(**rules) if rules else None)
        examiner = Examiner(outside.network, None, lambda: NOW)
        found = await examiner.test("a.test")
        json.dumps(public_form(found, findings_of(found)))
        return {fault.step: fault for fault in faults(found)}

    assert await faults_at(good) == {}
    assert "valid for a.test" in (await faults_at(other_name))["certificate"].sentence
    assert "b.test" in (await faults_at(other_name))["certificate"].cure
    assert "chain" in (await faults_at(good, unverified=["x.test"]))["certificate"].cure
    assert "'b.test'" in (await faults_at(other_keys))["keys"].sentence
    assert "not signed" in (await faults_at(unsigned))["keys"].sentence
    assert "clock" in (await faults_at(stale))["keys"].cure
    assert "no object" in (await faults_at(nonsense))["keys"].sentence
    assert "refused" in (await faults_at(1))["connection"].sentence
    assert "CNAME" in (await faults_at(good, "alias.test"))["SRV"].sentence
    assert "no IP address" in (await faults_at(good, "nobody.test"))["addresses"].sentence
    assert "no server" in (await faults_at(0, "."))["SRV"].sentence


async def test_what_is_no_server_name_is_told_so(neighbourhood: Neighbourhood) -> None:
    examiner = Examiner(neighbourhood.outside().network, None, lambda: NOW)
    found = await examiner.test("https://a.test/")
    [fault] = findings_of(found)
    assert fault.step == "name"
    assert public_form(found, [fault])["FederationOK"] is False


async def test_the_command_tells_it_in_words_or_json_and_by_its_exit_status(
    alpha: Federated, tmp_path: Path
) -> None:
    file = tmp_path / "homeserver.yaml"
    own = {
        "server_name": alpha.server_name,
        "signing_key_path": str(alpha.config.server.signing_key_path),
        "federation_custom_ca_list": [str(path) for path in alpha.config.federation.authorities],
    }
    file.write_text(yaml.safe_dump(own))

    async def run(*words: str) -> tuple[int, str]:
        arguments = ["federation", "test", *words, "--config", str(file)]
        result = await asyncio.to_thread(CliRunner().invoke, main, arguments)
        return result.exit_code, result.stdout

    status, told = await run(alpha.server_name)
    assert status == 0, told
    assert "can be reached by other servers." in told
    status, told = await run(alpha.server_name, "--json")
    assert (status, json.loads(told)["FederationOK"]) == (0, True)
    status, told = await run("localhost:1")
    assert status == 1
    assert "nothing listens there" in told
