"""Synapse in a container, to check the runner by known results, and as a peer."""

import asyncio
import base64
import json
import os
import sys
from pathlib import Path
from typing import Any

from complement.servers.certificate import make_certificate
from complement.servers.child import run_child
from complement.servers.settings import make_settings
from complement.servers.surroundings import CLIENT_PORT, FEDERATION_PORT, Surroundings

# What a released Synapse hides behind a switch, and the suite tests.
_EXPERIMENTS = dict.fromkeys(
    (
        "msc2409_to_device_messages_enabled",
        "msc3202_device_masquerading",
        "msc3202_transaction_extensions",
        "msc3381_polls_enabled",
        "msc3391_enabled",
        "msc3874_enabled",
        "msc3890_enabled",
        "msc3983_appservice_otk_claims",
        "msc3984_appservice_key_query",
        "msc4155_enabled",
        "msc4222_enabled",
        "msc4306_enabled",
    ),
    True,
)


def write_configuration(here: Surroundings) -> Path:
    """The configuration file, and the files that it names."""
    data = here.data
    certificate, key = make_certificate(here.server_name, here.authority, data)
    signing_key = data / "signing.key"
    if not signing_key.exists():
        signing_key.write_text(f"ed25519 a_cmpl {base64.b64encode(os.urandom(32)).decode().rstrip('=')}\n")
    log = data / "log.yaml"
    log.write_text(json.dumps(_LOG))
    plain = [_listener(address, port, tls=False) for address, port in here.sockets(CLIENT_PORT)]
    secure = [_listener(address, port, tls=True) for address, port in here.sockets(FEDERATION_PORT)]
    settings = {
        **make_settings(here),
        "pid_file": str(data / "homeserver.pid"),
        "log_config": str(log),
        "macaroon_secret_key": "complement",
        "form_secret": "complement",
        "suppress_key_server_warning": True,
        "allow_device_name_lookup_over_federation": True,
        "federation_rr_transactions_per_room_per_second": 9999,
        "bcrypt_rounds": 4,
        "url_preview_enabled": True,
        "url_preview_ip_range_blacklist": [],
        "max_event_delay_duration": "24h",
        # An answer that is kept for retries would hide what came since.
        "caches": {"sync_response_cache_duration": 0},
        "presence": {"enabled": True},
        "tls_certificate_path": str(certificate),
        "tls_private_key_path": str(key),
        "experimental_features": _EXPERIMENTS,
        "server_notices": {
            "system_mxid_localpart": "_server",
            "system_mxid_display_name": "Server Alert",
            "system_mxid_avatar_url": "",
            "room_name": "Server Alert",
        },
        "listeners": [*plain, *secure],
    }
    path = data / "homeserver.yaml"
    path.write_text(json.dumps(settings, indent=1))
    return path


_LOG: dict[str, Any] = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"lines": {"format": "%(asctime)s %(levelname)s %(name)s %(request)s %(message)s"}},
    "filters": {"context": {"()": "synapse.logging.context.LoggingContextFilter", "request": ""}},
    "handlers": {"stdout": {"class": "logging.StreamHandler", "formatter": "lines", "filters": ["context"]}},
    "root": {"level": "WARNING", "handlers": ["stdout"]},
}


def _listener(address: str, port: int, *, tls: bool) -> dict[str, Any]:
    resources = [{"names": ["client", "federation"], "compress": False}]
    return {"type": "http", "port": port, "bind_addresses": [address], "tls": tls, "resources": resources}


async def run() -> int:
    """Start the server; answers the exit status. SYNAPSE_PYTHON names the interpreter that has Synapse."""
    here = Surroundings.read()
    configuration = write_configuration(here)
    python = os.environ.get("SYNAPSE_PYTHON", sys.executable)
    return await run_child([python, "-m", "synapse.app.homeserver", "-c", str(configuration)], here.data)


if __name__ == "__main__":
    sys.exit(asyncio.run(run()))
