"""The keys that spread a server over several processes: `workers`, and the form that Synapse's workers have."""

from ranvier.config.kinds import (
    Block,
    Blocks,
    Choice,
    Flag,
    Free,
    Integer,
    Key,
    ListOf,
    NumberOrAuto,
    SecretText,
    Section,
    Text,
)
from ranvier.config.listener_keys import LISTENER
from ranvier.config.roles import Role

MAIN_APP = "synapse.app.homeserver"
WORKER_APPS = (
    MAIN_APP,
    "synapse.app.generic_worker",
    "synapse.app.federation_sender",
    "synapse.app.pusher",
    "synapse.app.appservice",
    "synapse.app.user_dir",
    "synapse.app.media_repository",
    # What generic workers were called before.
    "synapse.app.client_reader",
    "synapse.app.event_creator",
    "synapse.app.federation_reader",
    "synapse.app.frontend_proxy",
    "synapse.app.synchrotron",
)
MOST_WORKERS = 256

REDIS = Key(
    "redis",
    Block(
        (
            Key("enabled", Flag(), False, "Use it."),
            Key("host", Text("host"), "localhost", "Where it is."),
            Key("port", Integer(1, 65_535), 6379, "Its port."),
            Key(
                "path",
                Text("file"),
                doc="Its Unix socket, instead of host and port.",
                example="/run/redis/redis.sock",
            ),
            Key("username", Text("name"), doc="Name of the account.", example="ranvier"),
            Key("password", SecretText(), doc="Its password.", example="<password>"),
            Key(
                "password_path",
                Text("file"),
                doc="A file that holds the password; instead of password.",
                example="redis_password",
            ),
            Key("dbid", Integer(0, 65_535), doc="Number of the database in it.", example=0),
            Key("use_tls", Flag(), False, "Speak TLS with it."),
            Key(
                "certificate_file",
                Text("file"),
                doc="This server's certificate for it, PEM.",
                example="redis.crt",
            ),
            Key("private_key_file", Text("file"), doc="The certificate's key, PEM.", example="redis.key"),
            Key(
                "ca_file",
                Text("file"),
                doc="Authorities that may have signed its certificate, PEM.",
                example="ca.pem",
            ),
            Key("ca_path", Text("folder"), doc="A folder of such files.", example="/etc/ssl/certs"),
        )
    ),
    doc="Redis or Valkey, by which processes tell each other at once what happened. It may be lost at any time: that "
    "costs time only. Without it PostgreSQL's LISTEN/NOTIFY does the same.",
)

PROCESSES = Section(
    "Processes",
    (
        Key(
            "workers",
            NumberOrAuto(1, MOST_WORKERS),
            1,
            "Equal processes that answer together on the same listeners; auto: one for each core. More than one needs "
            "PostgreSQL. Metrics listeners count up: with port 9000, process 1 has 9000, process 2 has 9001. Not a "
            "Synapse key.",
        ),
        Key(
            "roles",
            ListOf(Choice(tuple(role.value for role in Role))),
            doc="What the process does; the default is all of it. clients, federation and media answer requests on "
            "listeners with these resources, events appends events for other processes, sending sends to other "
            "servers, pushing to push gateways, bridges to application services, and background does what nobody "
            "asks for. Processes with the same role share its work. Not a Synapse key.",
            example=["clients", "federation", "media", "events"],
        ),
        REDIS,
        Key(
            "daemonize", Flag(), False, "Go on in the background once the server answers. Not under systemd."
        ),
        Key(
            "pid_file",
            Text("file"),
            doc="File for the process's number, with daemonize.",
            example="/run/ranvier/ranvier.pid",
        ),
        Key(
            "worker_app",
            Choice(WORKER_APPS),
            doc="What a process of Synapse's form is. synapse.app.homeserver is the main process, like no value at "
            "all. Each other one is a worker: it stands in a file of its own that comes last (`-c homeserver.yaml -c "
            "worker.yaml`), and has worker_listeners instead of listeners.",
            example="synapse.app.generic_worker",
        ),
        Key(
            "worker_name",
            Text("name"),
            doc="The worker's name, another one for each; without it it is called as its worker_app.",
            example="federation_reader",
        ),
        Key("worker_listeners", Blocks(LISTENER), [], "The sockets that the worker opens, like listeners."),
        Key("worker_daemonize", Flag(), False, "daemonize for a worker."),
        Key(
            "worker_pid_file",
            Text("file"),
            doc="pid_file for a worker.",
            example="/run/ranvier/federation_reader.pid",
        ),
        Key(
            "worker_replication_secret",
            SecretText(),
            doc="What workers show to the replication listener of the main process.",
            example="<long random text>",
        ),
        Key(
            "worker_replication_secret_path",
            Text("file"),
            doc="A file that holds it; instead of worker_replication_secret.",
            example="replication_secret",
        ),
        Key(
            "instance_map",
            Free(),
            {},
            "Where the replication listeners are, by the processes' names: host, port and tls, or the path of a Unix "
            "socket. The main process is called main: workers ask it at their start whether they are of one server.",
            example={"main": {"host": "127.0.0.1", "port": 9093}},
        ),
        Key(
            "worker_replication_host",
            Text("host"),
            doc="An older form of instance_map.main: its host.",
            example="127.0.0.1",
        ),
        Key(
            "worker_replication_http_port",
            Integer(1, 65_535),
            doc="An older form of instance_map.main: its port.",
            example=9093,
        ),
        Key("worker_replication_http_tls", Flag(), False, "An older form of instance_map.main: its tls."),
        Key(
            "stream_writers",
            Free(),
            {},
            "Names of processes that write. events says which append events for the others; every process can write "
            "everything, so other names need not be followed.",
            example={"events": ["event_writer_1", "event_writer_2"]},
        ),
        Key(
            "send_federation",
            Flag(),
            True,
            "The main process sends to other servers. With false, a worker synapse.app.federation_sender does. "
            "federation_sender_instances stands above it.",
        ),
        Key(
            "federation_sender_instances",
            ListOf(Text("name")),
            doc="Names of the processes that send to other servers; the main process is called master.",
            example=["federation_sender"],
        ),
        Key(
            "start_pushers",
            Flag(),
            True,
            "The main process sends to push gateways. With false, a worker synapse.app.pusher does. pusher_instances "
            "stands above it.",
        ),
        Key(
            "pusher_instances",
            ListOf(Text("name")),
            doc="Names of the processes that send to push gateways; the main process is called master.",
            example=["pusher"],
        ),
        Key(
            "notify_appservices",
            Flag(),
            True,
            "The main process serves bridges. With false, a worker synapse.app.appservice does.",
        ),
        Key(
            "notify_appservices_from_worker",
            Text("name"),
            doc="Name of the process that serves bridges.",
            example="appservice",
        ),
        Key(
            "update_user_directory",
            Flag(),
            True,
            "The main process keeps the user directory. With false, a worker synapse.app.user_dir does, with all "
            "other background work.",
        ),
        Key(
            "update_user_directory_from_worker",
            Text("name"),
            doc="Name of one more process for background work: in Synapse, that of the user directory.",
            example="user_directory",
        ),
        Key(
            "run_background_tasks_on",
            Text("name"),
            doc="Name of the process that does what nobody asks for; the main process otherwise.",
            example="background",
        ),
        Key(
            "enable_media_repo",
            Flag(),
            True,
            "The main process serves media. With false, a worker whose listener has the resource media does.",
        ),
        Key(
            "media_instance_running_background_jobs",
            Text("name"),
            doc="Name of the process that tidies media up: one more for background work.",
            example="media",
        ),
    ),
)
