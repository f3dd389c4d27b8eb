"""What the suite needs of any server's configuration: open registration, its secret, no rate limits."""

from typing import Any
from urllib.parse import urlsplit

from bench.lifted_limits import LIFTED_LIMITS

from complement.servers.surroundings import SHARED_SECRET, Surroundings

_LIMITS: dict[str, Any] = {
    **LIFTED_LIMITS,
    "rc_federation": {
        "window_size": 1000,
        "sleep_limit": 100_000,
        "reject_limit": 100_000,
        "concurrent": 100,
    },
}


def make_settings(here: Surroundings) -> dict[str, Any]:
    """The keys that all kinds of server here understand alike."""
    data = here.data
    return {
        "server_name": here.server_name,
        "report_stats": False,
        "signing_key_path": str(data / "signing.key"),
        "media_store_path": str(data / "media_store"),
        "database": _database(here),
        # The suite's tests of power levels write the creator's own, which room version 12 forbids; its tests of that
        # version ask for it by name.
        "default_room_version": "11",
        "enable_registration": True,
        "enable_registration_without_verification": True,
        "registration_shared_secret": SHARED_SECRET,
        "allow_guest_access": True,
        "allow_public_rooms_without_auth": True,
        "room_list_publication_rules": [{"action": "allow"}],
        "login_via_existing_session": {"enabled": True, "require_ui_auth": False},
        # The suite's older tests of media use the paths that ask for no token.
        "enable_authenticated_media": False,
        "app_service_config_files": [str(path) for path in here.registrations],
        "federation_custom_ca_list": [str(here.authority / "ca.crt")],
        "federation_ip_range_blacklist": [],
        "ip_range_blacklist": [],
        "trusted_key_servers": [],
        **_LIMITS,
    }


def _database(here: Surroundings) -> dict[str, Any]:
    if here.database_url is None:
        return {"name": "sqlite3", "args": {"database": str(here.data / "homeserver.db")}}
    url = urlsplit(here.database_url)
    where = {"host": url.hostname, "port": url.port, "user": url.username, "dbname": url.path.lstrip("/")}
    return {"name": "psycopg2", "args": {**where, "cp_min": 1, "cp_max": 5}}
