"""The keys of a listener, which `listeners` and `worker_listeners` share."""

from ranvier.config.kinds import Blocks, Choice, Flag, Integer, Key, ListOf, Text

RESOURCES = (
    "client",
    "media",
    "metrics",
    "health",
    "federation",
    "keys",
    "openid",
    "consent",
    "static",
    "replication",
)

LISTENER: tuple[Key, ...] = (
    Key("port", Integer(0, 65_535), doc="TCP port; 0 takes any free one.", example=8008),
    Key(
        "path",
        Text("file"),
        doc="Unix socket instead of a port, for a reverse proxy on the same machine.",
        example="/run/ranvier/http.sock",
    ),
    Key(
        "bind_addresses",
        ListOf(Text("IP address")),
        [],
        "Local addresses. An empty list means all of them.",
        example=["127.0.0.1"],
    ),
    Key("bind_address", Text("IP address"), doc="One more local address.", example="127.0.0.1"),
    Key(
        "type",
        Choice(("http", "metrics")),
        "http",
        "metrics serves Prometheus and nothing else.",
    ),
    Key(
        "tls",
        Flag(),
        False,
        "Speak TLS, with tls_certificate_path and tls_private_key_path; without it, TLS ends at a "
        "reverse proxy in front of the server.",
    ),
    Key(
        "x_forwarded",
        Flag(),
        doc="Take the client's address from X-Forwarded-For. Only behind a reverse proxy "
        "that sets the header itself: otherwise clients can pretend any address. The "
        "default is false for a port and true for a Unix socket.",
        example=True,
    ),
    Key(
        "resources",
        Blocks(
            (
                Key(
                    "names",
                    ListOf(Choice(RESOURCES)),
                    ["client"],
                    "client: the client API, media and admin API; federation: what other servers "
                    "ask, media, keys and openid; media, keys, openid: these alone; "
                    "static: the page that says that the server runs; metrics: Prometheus at /_synapse/metrics; "
                    "replication: what workers ask the main process. /health is always there. "
                    "consent is accepted, but nothing is served for it yet.",
                ),
            )
        ),
        [{"names": ["client"]}],
        "What the listener serves.",
    ),
)
