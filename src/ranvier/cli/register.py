"""`ranvier register`: make a user on a running server, through its shared registration secret.

The flags are those of Synapse's `register_new_matrix_user`, and the server may as well be a Synapse.
"""

from __future__ import annotations

import hashlib
import hmac
import http.client
import json
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

import click

from ranvier.cli.options import config_option, configuration_paths, data_option, refuse, say, stop
from ranvier.cli.run import local
from ranvier.config import Config, ConfigError, Secret, load

PATH = "/_synapse/admin/v1/register"
TIMEOUT_SECONDS = 60
MAX_ANSWER_BYTES = 1024 * 1024


class Refused(Exception):
    """The server said no: `errcode` with a sentence."""

    def __init__(self, errcode: str, sentence: str) -> None:
        super().__init__(f"{sentence} ({errcode})")
        self.errcode = errcode


@click.command()
@click.option(
    "-u", "--user", help="Name of the account, the part before the colon. Asked for if it isn't given."
)
@click.option(
    "-p",
    "--password",
    help="Password. Asked for if it isn't given, which is better: others can see a command line.",
)
@click.option(
    "--password-file",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="File with the password.",
)
@click.option(
    "-a/ ",
    "--admin/--no-admin",
    "admin",
    default=None,
    help="Whether the user administers the server. Asked for if neither is given.",
)
@click.option(
    "-t", "--user_type", "--user-type", "user_type", help="Type of the user, such as bot or support."
)
@click.option("--exists-ok", is_flag=True, help="It is no error when the user exists already.")
@config_option
@data_option
@click.option(
    "-k", "--shared-secret", help="The shared registration secret, instead of the one in the configuration."
)
@click.argument("server_url", required=False)
def register(
    user: str | None,
    password: str | None,
    password_file: Path | None,
    admin: bool | None,
    user_type: str | None,
    exists_ok: bool,
    config_paths: tuple[Path, ...],
    data: Path,
    shared_secret: str | None,
    server_url: str | None,
) -> None:
    """Make a user on a running server.

    SERVER_URL is where the server listens; without it, the first listener in the configuration, or
    http://localhost:8008.

    \b
    ranvier register --admin                            asks for the rest; secret from ./data
    ranvier register -c /etc/ranvier/homeserver.yaml    secret and address from there
    ranvier register -k SECRET https://matrix.example.org
    """
    if shared_secret is not None and config_paths:
        raise click.UsageError("Give either --config or --shared-secret, not both.")
    config = None if shared_secret is not None else _configuration(config_paths, data)
    secret = Secret(shared_secret) if shared_secret is not None else _secret_of(config)
    url = (server_url or _url_of(config)).rstrip("/")
    name = user or click.prompt("User name")
    word = _password(password, password_file)
    is_admin = click.confirm("Make them an administrator?", default=False) if admin is None else admin
    try:
        answer = make_user(url, secret, name, word, is_admin, user_type)
    except Refused as refusal:
        if exists_ok and refusal.errcode == "M_USER_IN_USE":
            say(f"{name} exists already.")
            return
        stop(f"The server at {url} refuses: {refusal}")
    except (OSError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", None) or error
        stop(f"No server answers at {url}: {reason}. Is it running? `ranvier run` starts it.")
    say(f"{answer.get('user_id', name)} is there; log in at {url}")


def _configuration(config_paths: tuple[Path, ...], data: Path) -> Config:
    try:
        return load(configuration_paths(config_paths, data))
    except ConfigError as error:
        refuse(error)


def _secret_of(config: Config | None) -> Secret:
    secret = config.registration.shared_secret if config is not None else None
    if secret is None:
        stop(
            "The configuration has no registration_shared_secret. Add `registration_shared_secret_path: FILE`, run "
            "`ranvier config --create-missing` with it, and start the server again."
        )
    return secret


def _url_of(config: Config | None) -> str:
    for listener in config.listeners if config is not None else ():
        if listener.kind == "http" and "client" in listener.resources and listener.port:
            host = listener.addresses[0] if listener.addresses else "127.0.0.1"
            return local(f"http://{f'[{host}]' if ':' in host else host}:{listener.port}")
    return "http://localhost:8008"


def _password(password: str | None, file: Path | None) -> str:
    if password is not None and file is not None:
        raise click.UsageError("Give either --password or --password-file, not both.")
    if file is not None:
        return file.read_text(encoding="utf-8").rstrip("\r\n")
    if password is not None:
        return password
    asked: str = click.prompt("Password", hide_input=True, confirmation_prompt=True)
    return asked


def make_user(
    url: str, secret: Secret, user: str, password: str, admin: bool, user_type: str | None = None
) -> dict[str, Any]:
    """Ask the server at `url` for a nonce, then for the user; answers what it said.

    Raises Refused when the server does, OSError or http.client.HTTPException when none answers.
    """
    nonce = _call(f"{url}{PATH}", None).get("nonce")
    if not isinstance(nonce, str):
        raise Refused("M_UNKNOWN", "its answer to the first question has no nonce; is it a homeserver?")
    body: dict[str, Any] = {
        "nonce": nonce,
        "username": user,
        "password": password,
        "admin": admin,
        "mac": mac(secret, nonce, user, password, admin, user_type),
    }
    if user_type:
        body["user_type"] = user_type
    return _call(f"{url}{PATH}", body)


def mac(
    secret: Secret, nonce: str, user: str, password: str, admin: bool, user_type: str | None = None
) -> str:
    """The proof of knowing the secret: HMAC-SHA1 over the fields, separated by NUL, in lower-case hex."""
    fields = [nonce, user, password, "admin" if admin else "notadmin", *([user_type] if user_type else [])]
    message = "\0".join(fields).encode()
    return hmac.new(secret.reveal().encode(), message, hashlib.sha1).hexdigest()


def _call(url: str, body: dict[str, Any] | None) -> dict[str, Any]:
    """GET, or POST with a body; the JSON of the answer."""
    if not url.startswith(("http://", "https://")):
        raise Refused("M_INVALID_PARAM", "the address must begin with http:// or https://")
    data = json.dumps(body).encode() if body is not None else None
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"})  # noqa: S310 - checked
    try:
        with _opener(request.host).open(request, timeout=TIMEOUT_SECONDS) as answer:
            text = answer.read(MAX_ANSWER_BYTES)
    except urllib.error.HTTPError as error:
        text = error.read(MAX_ANSWER_BYTES)
        fields = _object(text)
        sentence = fields.get("error", f"status {error.code}")
        raise Refused(str(fields.get("errcode", "no errcode")), str(sentence)) from None
    found = _object(text)
    if not found:
        raise Refused("no errcode", "it answered with something that is no JSON object; is it a homeserver?")
    return found


def _opener(host: str) -> urllib.request.OpenerDirector:
    """Proxies of the environment, but for this machine: a proxy elsewhere can't know its loopback addresses."""
    if urllib.parse.urlsplit(f"//{host}").hostname in ("localhost", "127.0.0.1", "::1"):
        return urllib.request.build_opener(urllib.request.ProxyHandler({}))
    return urllib.request.build_opener()


def _object(text: bytes) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}
