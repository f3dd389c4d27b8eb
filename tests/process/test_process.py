"""The program as an administrator meets it: it says when it is ready, and stops in order."""

import asyncio
import json
import shutil
import signal
import ssl
from pathlib import Path

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families
from tests.authority import Authority, Files
from tests.http.raw import RawConnection, request
from tests.server import SERVER_NAME, ServerProcess, free_port


async def test_it_says_that_it_is_ready_once_it_answers(server_process: ServerProcess):
    # `start` waits for READY=1 on the socket that NOTIFY_SOCKET names.
    async with server_process.client() as client:
        assert (await client.get("/health")).body == b"OK"


async def test_the_first_page_says_whose_server_runs(server_process: ServerProcess):
    raw = await RawConnection.open(("127.0.0.1", server_process.port))
    await raw.send(request("GET", "/") + request("GET", "/_matrix/static/"))
    assert (await raw.answer()).headers["location"] == "/_matrix/static/"
    page = await raw.answer()
    assert page.headers["content-type"].startswith("text/html")
    assert SERVER_NAME in page.body.decode()


async def test_it_ends_with_status_0_when_it_is_asked_to(server_process: ServerProcess):
    assert await server_process.stop() == 0
    assert '"stopped"' in server_process.words()


async def test_an_interrupt_from_the_keyboard_ends_it_in_order_too(server_process: ServerProcess):
    server_process.signal(signal.SIGINT)
    assert await server_process.wait() == 0


async def test_idle_connections_do_not_hold_it(server_process: ServerProcess):
    raw = await RawConnection.open(("127.0.0.1", server_process.port))
    await raw.send(request("GET", "/health"))
    await raw.answer()
    await RawConnection.open(("127.0.0.1", server_process.port))
    assert await server_process.stop() == 0
    assert await raw.rest() == b""


async def test_its_data_folder_holds_a_key_that_only_its_owner_reads(server_process: ServerProcess):
    key = server_process.folder / "signing.key"
    assert key.read_text().startswith("ed25519 ")
    assert key.stat().st_mode & 0o077 == 0


async def test_it_starts_again_after_it_was_killed(server_process: ServerProcess):
    key = (server_process.folder / "signing.key").read_text()
    await server_process.restart()
    assert (server_process.folder / "signing.key").read_text() == key
    async with server_process.client() as client:
        assert (await client.get("/health")).status == 200


async def _fails_with(process: ServerProcess) -> str:
    with pytest.raises(RuntimeError):
        await process.start()
    assert process.process is not None
    assert process.process.returncode == 1
    return process.words()


async def test_it_refuses_the_database_of_another_server_and_says_what_to_do(server_process: ServerProcess):
    await server_process.stop()
    config = yaml.safe_load(server_process.config.read_text())
    server_process.config.write_text(yaml.safe_dump({**config, "server_name": "other.test"}))
    words = await _fails_with(server_process)
    assert f"set `server_name: {SERVER_NAME}`" in words
    assert "Traceback" not in words


async def test_it_does_not_make_a_new_key_for_a_server_that_has_data(server_process: ServerProcess):
    await server_process.stop()
    (server_process.folder / "signing.key").unlink()
    words = await _fails_with(server_process)
    assert "bring the key back" in words
    assert not (server_process.folder / "signing.key").exists()


async def test_a_port_that_is_taken_is_named(server_process: ServerProcess, tmp_path: Path):
    second = ServerProcess(tmp_path / "second")
    config = yaml.safe_load(second.config.read_text())
    config["listeners"][0]["port"] = server_process.port
    second.config.write_text(yaml.safe_dump(config))
    words = await _fails_with(second)
    assert f"127.0.0.1:{server_process.port}" in words
    assert "Traceback" not in words


async def test_it_listens_on_a_unix_socket_and_on_several_ports(tmp_path: Path):
    ports = [free_port(), free_port()]
    tcp = [
        {"port": port, "bind_addresses": ["127.0.0.1"], "resources": [{"names": ["client"]}]}
        for port in ports
    ]
    path = tmp_path / "http.sock"
    unix = {"path": str(path), "resources": [{"names": ["client"]}]}
    process = ServerProcess(tmp_path / "server", listeners=[*tcp, unix])
    await process.start()
    try:
        for port in ports:
            raw = await RawConnection.open(("127.0.0.1", port))
            await raw.send(request("GET", "/health"))
            assert (await raw.answer()).status == 200
        reader, writer = await asyncio.open_unix_connection(path)
        writer.write(request("GET", "/health"))
        assert (await reader.readline()).startswith(b"HTTP/1.1 200")
        writer.close()
        assert await process.stop() == 0
        assert not path.exists()
        # After a kill the socket's file lies there and must not be in the way.
        await process.start()
        await process.restart()
    finally:
        await process.kill()


async def test_figures_have_a_listener_of_their_own(tmp_path: Path):
    port = free_port()
    metrics = {"port": port, "bind_addresses": ["127.0.0.1"], "type": "metrics"}
    main = {"port": free_port(), "bind_addresses": ["127.0.0.1"], "resources": [{"names": ["client"]}]}
    process = ServerProcess(tmp_path / "server", listeners=[main, metrics])
    await process.start()
    try:
        await asyncio.sleep(0.3)
        raw = await RawConnection.open(("127.0.0.1", port))
        await raw.send(request("GET", "/_synapse/metrics"))
        answer = await raw.answer()
        assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
        families = {family.name: family for family in text_string_to_metric_families(answer.body.decode())}
        memory = families["process_resident_memory_bytes"].samples[0].value
        assert 10_000_000 < memory < 1_000_000_000
        lag = {sample.name: sample.value for sample in families["ranvier_event_loop_lag_seconds"].samples}
        assert lag["ranvier_event_loop_lag_seconds_count"] >= 2
        assert families["synapse_server_name_info"].samples[0].labels == {"server_name": SERVER_NAME}
        assert families["process_open_fds"].samples[0].value > 5
        main_port = await RawConnection.open(("127.0.0.1", main["port"]))
        await main_port.send(request("GET", "/_synapse/metrics"))
        assert (await main_port.answer()).status == 404
    finally:
        await process.kill()


async def test_its_log_is_json_lines_without_secrets(server_process: ServerProcess):
    raw = await RawConnection.open(("127.0.0.1", server_process.port))
    await raw.send(request("GET", "/_matrix/client/v3/account/whoami?access_token=s3cret-token"))
    await raw.answer()
    await server_process.stop()
    lines = [json.loads(line) for line in server_process.log.read_text().splitlines() if line.startswith("{")]
    assert [line["event"] for line in lines if line["logger"] == "ranvier.main"] == [
        "ready",
        "stopping",
        "stopped",
    ]
    assert "s3cret-token" not in server_process.log.read_text()


async def test_a_listener_with_tls_takes_a_new_certificate_at_sighup(
    tmp_path: Path, authority: Authority
) -> None:
    first, second = authority.issue("first.test"), authority.issue("second.test")
    certificate, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    port = free_port()
    listener = {
        "port": port,
        "bind_addresses": ["127.0.0.1"],
        "tls": True,
        "resources": [{"names": ["federation"]}],
    }

    def put(files: Files) -> None:
        shutil.copy(files.certificate, certificate)
        shutil.copy(files.private_key, key)

    async def names(name: str) -> bool:
        context = ssl.create_default_context(cafile=authority.path)
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context, server_hostname=name)
        except ssl.SSLCertVerificationError:
            return False
        writer.close()
        return True

    put(first)
    server = ServerProcess(
        tmp_path / "server",
        listeners=[listener],
        tls_certificate_path=str(certificate),
        tls_private_key_path=str(key),
    )
    await server.start()
    try:
        assert await names("first.test")
        put(second)
        server.signal(signal.SIGHUP)
        async with asyncio.timeout(4):
            while not await names("second.test"):  # noqa: ASYNC110 - another process works
                await asyncio.sleep(0.05)
    finally:
        await server.kill()
