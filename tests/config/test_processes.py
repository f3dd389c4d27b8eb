"""What a process is, by keys of our own and by the files of Synapse's workers as administrators have them."""

from pathlib import Path
from typing import Any

import pytest

from ranvier.config import ALL_ROLES, Config, ConfigError, Role, build, load, read_text

FOLDER = Path("/srv/example")
SHARED = """
server_name: example.org
database: {name: psycopg2, args: {user: synapse_user, database: synapse, host: localhost, cp_min: 5, cp_max: 10}}
redis:
    enabled: true
    port: 32992
send_federation: false
"""
MAIN = """
listeners:
  - port: 8008
    bind_addresses: ['::1', '127.0.0.1']
    type: http
    x_forwarded: true
    resources:
     - names: [client, federation]
  - port: 32993
    bind_address: '127.0.0.1'
    type: http
    resources:
     - names: [replication]
worker_app: synapse.app.homeserver
daemonize: true
"""
READER = """
worker_app: synapse.app.generic_worker
worker_name: federation_reader

worker_replication_host: 127.0.0.1
worker_replication_http_port: 32993

worker_listeners:
    - type: http
      port: 32902
      bind_address: '127.0.0.1'
      resources:
          - names: 
            - client
            - federation
    - type: metrics
      port: 32981
      bind_address: '127.0.0.1'
"""  # noqa: W291 - as the guide prints it
SENDER = """
worker_app: synapse.app.federation_sender

# The replication listener on the synapse to talk to.
worker_replication_host: 127.0.0.1
worker_replication_http_port: 32993

worker_listeners:
    - type: metrics
      port: 32980
      bind_address: '127.0.0.1'
"""


@pytest.fixture
def files(tmp_path: Path) -> Any:
    """Loads several files one after the other, as `-c a.yaml -c b.yaml` does."""

    def load_all(*texts: str) -> Config:
        paths = []
        for number, text in enumerate(texts):
            paths.append(tmp_path / f"{number}.yaml")
            paths[-1].write_text(text)
        return load(paths)

    return load_all


def _faults(*texts: str) -> str:
    with pytest.raises(ConfigError) as caught:
        build(read_text("\n".join(texts), "worker.yaml"), FOLDER)
    return str(caught.value)


def test_a_server_without_a_word_about_processes_is_one_process_that_does_all() -> None:
    processes = build(read_text("server_name: example.org", "a"), FOLDER).processes
    assert processes.is_main and processes.instance == "main"
    assert processes.roles == ALL_ROLES
    assert (processes.workers, processes.redis, processes.daemon) == (1, None, None)


def test_the_guides_main_file_makes_the_main_process_which_sends_nothing(files: Any) -> None:
    config = files(SHARED + MAIN)
    assert config.processes.is_main and config.processes.instance == "main"
    assert config.processes.roles == ALL_ROLES - {Role.SENDING}
    # The reader works through what comes from others as long as it lives.
    assert config.processes.in_reserve == {Role.FEDERATION}
    assert config.processes.daemon is not None
    assert [(one.port, one.addresses) for one in config.listeners] == [
        (8008, ("::1", "127.0.0.1")),
        (32993, ("127.0.0.1",)),
    ]
    assert config.listeners[1].resources == {"replication", "health"}
    assert config.warnings == ()


def test_redis_is_on_localhost_unless_its_place_is_given(files: Any) -> None:
    redis = files(SHARED + MAIN).processes.redis
    assert (redis.host, redis.port, redis.path, redis.dbid, redis.tls) == ("localhost", 32992, None, 0, None)
    other = files(
        SHARED + MAIN + "\n", "redis: {enabled: true, path: /run/redis.sock, dbid: 3}"
    ).processes.redis
    assert (other.path, other.dbid) == (Path("/run/redis.sock"), 3)


def test_the_guides_generic_worker_answers_clients_and_servers_on_its_own_listeners(files: Any) -> None:
    config = files(SHARED + MAIN, READER)
    processes = config.processes
    assert (processes.instance, processes.is_main) == ("federation_reader", False)
    assert processes.roles == {Role.CLIENTS, Role.FEDERATION, Role.MEDIA}
    assert processes.in_reserve == frozenset()
    assert [(one.kind, one.port, one.addresses) for one in config.listeners] == [
        ("http", 32902, ("127.0.0.1",)),
        ("metrics", 32981, ("127.0.0.1",)),
    ]
    assert {"client", "federation"} <= config.listeners[0].resources
    assert processes.main_address is not None
    assert (processes.main_address.host, processes.main_address.port) == ("127.0.0.1", 32993)
    # `daemonize` is the main process's.
    assert processes.daemon is None
    assert len(config.warnings) == 1
    assert "`worker_replication_host` and `worker_replication_http_port`" in config.warnings[0]


def test_the_guides_federation_sender_only_sends_and_is_called_as_its_app(files: Any) -> None:
    config = files(SHARED + MAIN, SENDER)
    assert config.processes.instance == "synapse.app.federation_sender"
    assert config.processes.roles == {Role.SENDING}
    assert [one.port for one in config.listeners] == [32980]
    assert any("there is no `worker_name`" in warning for warning in config.warnings)
    assert len(config.warnings) == 2


def test_the_instance_map_stands_above_the_older_keys_and_a_warning_says_so(files: Any) -> None:
    config = files(SHARED + MAIN, READER + "instance_map: {main: {host: 10.0.0.1, port: 9093}}")
    assert (config.processes.main_address.host, config.processes.main_address.port) == ("10.0.0.1", 9093)
    assert "is followed instead" in config.warnings[0]


def test_a_federation_sender_beside_a_main_process_that_sends_is_refused() -> None:
    shared = SHARED.replace("send_federation: false", "")
    sentence = _faults(shared, SENDER)
    assert "set `send_federation: false`" in sentence and "federation_sender_instances" in sentence


def test_listed_senders_share_the_sending_whatever_the_switch_says(files: Any) -> None:
    listed = SHARED.replace("false", "true") + "federation_sender_instances: [one, two]\n"
    assert Role.SENDING not in files(listed + MAIN).processes.roles
    worker = "worker_app: synapse.app.generic_worker\nworker_name: "
    assert files(listed, worker + "one").processes.roles == {Role.SENDING}
    assert files(listed, worker + "three").processes.roles == frozenset()


@pytest.mark.parametrize(
    ("key", "role"),
    [
        ("pusher_instances: [w]", Role.PUSHING),
        ("notify_appservices_from_worker: w", Role.BRIDGES),
        ("run_background_tasks_on: w", Role.BACKGROUND),
        ("update_user_directory_from_worker: w", Role.BACKGROUND),
        ("stream_writers: {events: w}", Role.EVENTS),
        ("stream_writers: {events: [v, w], typing: v}", Role.EVENTS),
    ],
)
def test_a_duty_goes_to_the_process_that_is_named_for_it(files: Any, key: str, role: Role) -> None:
    worker = "worker_app: synapse.app.generic_worker\nworker_name: "
    assert files(SHARED + key, worker + "w").processes.roles == {role}
    assert role not in files(SHARED + key, worker + "x").processes.roles
    if not key.startswith("update_user_directory"):
        assert role not in files(SHARED + MAIN + key).processes.roles


def test_a_media_worker_needs_a_main_process_that_serves_no_media(files: Any) -> None:
    worker = """
worker_app: synapse.app.media_repository
worker_name: media
worker_listeners: [{port: 8085, resources: [{names: [media]}]}]
"""
    assert "enable_media_repo: false" in _faults(SHARED, worker)
    shared = SHARED + "enable_media_repo: false\n"
    assert files(shared, worker).processes.roles == {Role.MEDIA}
    assert Role.MEDIA not in files(shared + MAIN).processes.roles


def test_several_processes_on_sqlite_are_refused_with_the_key_and_the_cure() -> None:
    sentence = _faults("server_name: example.org\nworkers: 2")
    assert "`workers`" in sentence and "PostgreSQL" in sentence and "worker.yaml:" in sentence
    assert "`worker_app`" in _faults("server_name: example.org\nworker_app: synapse.app.generic_worker")


def test_one_process_for_each_core_can_be_asked_for_on_any_database() -> None:
    assert build(read_text("server_name: example.org\nworkers: auto", "a"), FOLDER).processes.workers is None
    assert "whole number from 1 to 256, or auto" in _faults("server_name: example.org\nworkers: many")


def test_a_later_file_replaces_all_listeners_and_a_warning_says_that_no_client_gets_in(files: Any) -> None:
    replication = MAIN[MAIN.index("  - port: 32993") : MAIN.index("worker_app")]
    config = files(SHARED + MAIN, "listeners:\n" + replication)
    assert [one.port for one in config.listeners] == [32993]
    assert "no listener has the resource client" in config.warnings[0]


def test_what_workers_ask_is_kept_from_others_by_a_secret_or_by_its_address(files: Any) -> None:
    opened = MAIN.replace("port: 32993\n    bind_address: '127.0.0.1'", "port: 32993")
    assert "`worker_replication_secret`" in files(SHARED + opened).warnings[0]
    config = files(SHARED + opened + "worker_replication_secret: a long one")
    assert config.warnings == ()
    assert config.processes.replication_secret.reveal() == "a long one"


def test_a_worker_daemon_has_its_own_keys(files: Any) -> None:
    config = files(SHARED + MAIN, READER + "worker_daemonize: true\nworker_pid_file: /run/reader.pid\n")
    assert config.processes.daemon.pid_file == Path("/run/reader.pid")


def test_roles_may_be_named_in_our_own_way(files: Any) -> None:
    assert files(SHARED + "roles: [clients, events]").processes.roles == {Role.CLIENTS, Role.EVENTS}
