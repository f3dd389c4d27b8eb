"""The engine's HTTP API on a Unix socket: the requests that Complement's Docker client makes, and no others."""

import json
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aiohttp import web

from complement.engine.addresses import HOST_ADDRESS
from complement.engine.archive import MOST_BYTES, BadArchive, unpack
from complement.engine.containers import Conflict, Container, Containers
from complement.engine.images import Image, Images
from complement.engine.labels import BadLabel, match, parse_change, parse_filters
from complement.engine.logs import frame

API_VERSION = "1.47"
"""The version that clients are told, and hence speak."""

_STOP_SECONDS = 10.0
_HEADERS = {"API-Version": API_VERSION, "OSType": "linux", "Server": "complement-engine"}
_GATEWAY = "host-gateway"


@dataclass
class Network:
    """A name space: containers of a network know each other's names."""

    identifier: str
    name: str
    labels: dict[str, str]

    def describe(self) -> dict[str, Any]:
        """As `GET /networks` lists it."""
        return {
            "Id": self.identifier,
            "Name": self.name,
            "Labels": self.labels,
            "Driver": "bridge",
            "Scope": "local",
        }


class Engine:
    """Parses requests, and shapes what containers, images and networks answer."""

    def __init__(self, containers: Containers, images: Images) -> None:
        self._containers = containers
        self._images = images
        self._networks: dict[str, Network] = {}

    def application(self) -> web.Application:
        """The routes, with and without a version in front."""
        app = web.Application(client_max_size=MOST_BYTES, middlewares=[_explain])
        for method, path, answer in self._routes():
            app.router.add_route(method, path, answer)
            app.router.add_route(method, r"/v{version:[0-9.]+}" + path, answer)
        return app

    def _routes(self) -> list[tuple[str, str, Callable[[web.Request], Awaitable[web.Response]]]]:
        one = "/containers/{id}"
        return [
            ("*", "/_ping", self._ping),
            ("GET", "/version", self._version),
            ("GET", "/networks", self._list_networks),
            ("POST", "/networks/create", self._create_network),
            ("DELETE", "/networks/{id}", self._remove_network),
            ("GET", "/images/json", self._list_images),
            ("DELETE", "/images/{id:.+}", self._remove_image),
            ("POST", "/commit", self._commit),
            ("GET", "/containers/json", self._list_containers),
            ("POST", "/containers/create", self._create_container),
            ("GET", f"{one}/json", self._inspect),
            ("GET", f"{one}/logs", self._logs),
            ("PUT", f"{one}/archive", self._copy_in),
            ("POST", f"{one}/start", self._start),
            ("POST", f"{one}/stop", self._stop),
            ("POST", f"{one}/kill", self._kill),
            ("POST", f"{one}/pause", self._pause),
            ("POST", f"{one}/unpause", self._unpause),
            ("DELETE", one, self._remove_container),
        ]

    async def _ping(self, request: web.Request) -> web.Response:
        return web.Response(text="OK", headers=_HEADERS)

    async def _version(self, request: web.Request) -> web.Response:
        return _json(
            {"Version": API_VERSION, "ApiVersion": API_VERSION, "MinAPIVersion": "1.24", "Os": "linux"}
        )

    async def _list_networks(self, request: web.Request) -> web.Response:
        wanted = parse_filters(request.query.get("filters"))
        return _json(
            [network.describe() for network in self._networks.values() if match(network.labels, wanted)]
        )

    async def _create_network(self, request: web.Request) -> web.Response:
        body = await _body(request)
        network = Network(secrets.token_hex(32), body["Name"], body.get("Labels") or {})
        self._networks[network.identifier] = network
        return _json({"Id": network.identifier, "Warning": ""}, 201)

    async def _remove_network(self, request: web.Request) -> web.Response:
        reference = request.match_info["id"]
        for network in list(self._networks.values()):
            if reference in {network.identifier, network.name}:
                del self._networks[network.identifier]
                return web.Response(status=204)
        raise _Missing(f"No such network: {reference}")

    async def _list_images(self, request: web.Request) -> web.Response:
        wanted = parse_filters(request.query.get("filters"))
        return _json([image.describe() for image in self._images.all() if match(image.labels, wanted)])

    async def _remove_image(self, request: web.Request) -> web.Response:
        image = self._image(request.match_info["id"])
        self._images.remove(image)
        return _json([{"Deleted": image.identifier}])

    async def _commit(self, request: web.Request) -> web.Response:
        container = self._container(request.query.get("container", ""))
        changes = dict(parse_change(change) for change in request.query.getall("changes", []))
        tag = f"{request.query.get('repo', '')}:{request.query.get('tag') or 'latest'}"
        if container.running and not container.paused:
            raise Conflict(f"Container {container.name} runs: its files can't be copied as a whole.")
        labels = {**container.labels, **changes}
        image = self._images.commit(container.identifier, container.image, container.state, labels, tag)
        return _json({"Id": image.identifier}, 201)

    async def _list_containers(self, request: web.Request) -> web.Response:
        wanted = parse_filters(request.query.get("filters"))
        everything = request.query.get("all") in {"1", "true"}
        return _json(
            [
                {
                    "Id": container.identifier,
                    "Names": [f"/{container.name}"],
                    "Image": container.image.identifier,
                    "Labels": container.labels,
                    "State": container.status,
                    "Status": container.status,
                }
                for container in self._containers.all()
                if match(container.labels, wanted) and (everything or container.running)
            ]
        )

    async def _create_container(self, request: web.Request) -> web.Response:
        body = await _body(request)
        host = body.get("HostConfig") or {}
        endpoints = (body.get("NetworkingConfig") or {}).get("EndpointsConfig") or {}
        network = next(iter(endpoints), "none")
        settings = endpoints.get(network) or {}
        container = self._containers.create(
            request.query.get("name", ""),
            self._image(body.get("Image", "")),
            labels=body.get("Labels") or {},
            environment=dict(pair.split("=", 1) for pair in body.get("Env") or [] if "=" in pair),
            network=network,
            aliases=settings.get("Aliases") or [],
            extra_names=dict(_extra_name(row) for row in host.get("ExtraHosts") or []),
        )
        return _json({"Id": container.identifier, "Warnings": _unmet(host)}, 201)

    async def _inspect(self, request: web.Request) -> web.Response:
        return _json(self._container(request.match_info["id"]).describe())

    async def _logs(self, request: web.Request) -> web.Response:
        log = self._container(request.match_info["id"]).log
        content = log.read_bytes() if log.exists() else b""
        return web.Response(body=frame(content), content_type="application/vnd.docker.multiplexed-stream")

    async def _copy_in(self, request: web.Request) -> web.Response:
        container = self._container(request.match_info["id"])
        unpack(await request.read(), container.state, request.query.get("path", "/").lstrip("/"))
        return web.Response(status=200)

    async def _start(self, request: web.Request) -> web.Response:
        await self._containers.start(self._container(request.match_info["id"]))
        return web.Response(status=204)

    async def _stop(self, request: web.Request) -> web.Response:
        seconds = float(request.query.get("t") or _STOP_SECONDS)
        await self._containers.stop(self._container(request.match_info["id"]), seconds)
        return web.Response(status=204)

    async def _kill(self, request: web.Request) -> web.Response:
        container = self._container(request.match_info["id"])
        if not container.running:
            raise Conflict(f"Container {container.name} is not running.")
        if request.query.get("signal", "KILL") not in {"KILL", "SIGKILL", "9"}:
            raise Conflict("Only KILL is sent here.")
        await self._containers.kill(container)
        return web.Response(status=204)

    async def _pause(self, request: web.Request) -> web.Response:
        self._containers.pause(self._container(request.match_info["id"]))
        return web.Response(status=204)

    async def _unpause(self, request: web.Request) -> web.Response:
        self._containers.unpause(self._container(request.match_info["id"]))
        return web.Response(status=204)

    async def _remove_container(self, request: web.Request) -> web.Response:
        container = self._container(request.match_info["id"])
        if container.running and request.query.get("force") not in {"1", "true"}:
            raise Conflict(f"Container {container.name} runs; stop it, or remove it with force.")
        await self._containers.remove(container)
        return web.Response(status=204)

    def _container(self, reference: str) -> Container:
        found = self._containers.find(reference)
        if found is None:
            raise _Missing(f"No such container: {reference}")
        return found

    def _image(self, reference: str) -> Image:
        found = self._images.find(reference)
        if found is None:
            known = ", ".join(sorted(tag for image in self._images.all() for tag in image.tags))
            raise _Missing(f"No such image: {reference}. Known: {known}")
        return found


class _Missing(Exception):
    """Something that a request names does not exist."""


async def serve(engine: Engine, socket: Path) -> web.AppRunner:
    """Listen on a Unix socket; `cleanup()` of the answer ends that."""
    runner = web.AppRunner(engine.application(), access_log=None)
    await runner.setup()
    await web.UnixSite(runner, str(socket)).start()
    return runner


@web.middleware
async def _explain(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    try:
        return await handler(request)
    except _Missing as error:
        return _json({"message": str(error)}, 404)
    except Conflict as error:
        return _json({"message": str(error)}, 409)
    except (BadLabel, BadArchive, KeyError, ValueError) as error:
        return _json({"message": f"{type(error).__name__}: {error}"}, 400)
    except web.HTTPNotFound:
        return _json({"message": f"This engine does not know {request.method} {request.path}."}, 404)


async def _body(request: web.Request) -> dict[str, Any]:
    body = json.loads(await request.read())
    if not isinstance(body, dict):
        raise ValueError("The body is not an object.")
    return body


def _extra_name(row: str) -> tuple[str, str]:
    """Name and address of an extra host; a container reaches the host at the host's own loopback address."""
    name, _, address = row.partition(":")
    return name, HOST_ADDRESS if address == _GATEWAY else address


def _unmet(host: dict[str, Any]) -> list[str]:
    """What was asked for and isn't done by this engine, a sentence each."""
    asked = {"NanoCpus": "A limit on processors", "Memory": "A limit on memory", "Mounts": "A mount"}
    return [f"{what} was asked for; this engine has none." for key, what in asked.items() if host.get(key)]


def _json(value: Any, status: int = 200) -> web.Response:
    return web.json_response(value, status=status, headers=_HEADERS)
