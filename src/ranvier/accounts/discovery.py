"""What clients can find out about this server before and after they log in.

Source: Client-Server API, "Well-known URIs", "API Versions" and "Capabilities negotiation".
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from ranvier.accounts.requester import Requester
from ranvier.protocol.room_versions import DEFAULT_ROOM_VERSION, ROOM_VERSIONS

_CLIENT = "/_matrix/client"
_ROOM = f"{_CLIENT}/v1/rooms/{{roomId}}"
_MEDIA = f"{_CLIENT}/v1/media"
_BASELINE = ("r0.6.1",)

ADDED: tuple[tuple[str, tuple[tuple[str, str], ...]], ...] = (
    (
        "v1.1",
        (
            ("POST", f"{_CLIENT}/v3/keys/device_signing/upload"),
            ("POST", f"{_CLIENT}/v3/keys/signatures/upload"),
            ("POST", f"{_CLIENT}/v3/knock/{{roomIdOrAlias}}"),
            ("PUT", f"{_CLIENT}/v3/room_keys/keys"),
            ("GET", f"{_CLIENT}/v3/room_keys/version"),
        ),
    ),
    (
        "v1.2",
        (
            ("GET", f"{_ROOM}/hierarchy"),
            ("GET", f"{_CLIENT}/v1/register/m.login.registration_token/validity"),
        ),
    ),
    (
        "v1.3",
        (("GET", f"{_ROOM}/relations/{{eventId}}"), ("POST", f"{_CLIENT}/v3/refresh")),
    ),
    ("v1.4", (("GET", f"{_ROOM}/threads"),)),
    ("v1.5", ()),
    ("v1.6", (("GET", f"{_ROOM}/timestamp_to_event"),)),
    ("v1.7", (("POST", "/_matrix/media/v1/create"),)),
    ("v1.8", ()),
    ("v1.9", ()),
    ("v1.10", ()),
    (
        "v1.11",
        (
            ("GET", f"{_MEDIA}/config"),
            ("GET", f"{_MEDIA}/download/{{serverName}}/{{mediaId}}"),
            ("GET", f"{_MEDIA}/thumbnail/{{serverName}}/{{mediaId}}"),
        ),
    ),
    ("v1.12", ()),
    ("v1.13", (("POST", f"{_CLIENT}/v3/rooms/{{roomId}}/report"),)),
    ("v1.14", (("POST", f"{_CLIENT}/v3/users/{{userId}}/report"),)),
    ("v1.15", (("GET", f"{_CLIENT}/v1/room_summary/{{roomIdOrAlias}}"),)),
    ("v1.16", (("DELETE", f"{_CLIENT}/v3/profile/{{userId}}/{{keyName}}"),)),
    ("v1.17", ()),
    (
        "v1.18",
        (
            ("PUT", f"{_CLIENT}/v1/admin/suspend/{{userId}}"),
            ("PUT", f"{_CLIENT}/v1/admin/lock/{{userId}}"),
        ),
    ),
    ("v1.19", (("GET", f"{_CLIENT}/v1/mutual_rooms"),)),
)
"""Versions of the specification in order, with the operations new in each that a client may use unasked.

Left out are those that a client learns of in another way: optional pages of `/.well-known`, single sign-on and login
tokens (both among the login flows), link previews, and what only bridges call.
"""


def spoken_versions(served: Collection[tuple[str, str]]) -> list[str]:
    """The versions that clients may rely on, by the (method, path) that are served: up to the first gap."""
    spoken = list(_BASELINE)
    for version, operations in ADDED:
        if not all(operation in served for operation in operations):
            break
        spoken.append(version)
    return spoken


_THREADS = (("GET", f"{_ROOM}/threads"), ("GET", f"{_ROOM}/relations/{{eventId}}"))
_SEND = (("PUT", f"{_CLIENT}/v3/rooms/{{roomId}}/send/{{eventType}}/{{txnId}}"),)
_PROPOSED = ""
"""In the place of a version, for what none has yet."""
_DATA = f"{_CLIENT}/unstable/org.matrix.msc3391/user/{{userId}}/account_data/{{type}}"
_DELAYED = f"{_CLIENT}/unstable/org.matrix.msc4140/delayed_events"
_SUBSCRIPTION = f"{_CLIENT}/unstable/io.element.msc4306/rooms/{{roomId}}/thread/{{threadRootId}}/subscription"
_FEATURES: tuple[tuple[str, str, tuple[tuple[str, str], ...]], ...] = (
    ("org.matrix.msc3440.stable", "v1.4", _THREADS),  # threads
    ("org.matrix.msc3771", "v1.4", _THREADS),  # receipts by thread
    ("org.matrix.msc3773", "v1.4", _THREADS),  # unread counts by thread
    ("org.matrix.msc3856.stable", "v1.4", _THREADS),  # the list of threads
    ("org.matrix.msc3952_intentional_mentions", "v1.7", _SEND),
    ("org.matrix.msc3981", "v1.10", (_THREADS[1],)),  # relations of relations
    ("org.matrix.msc3916.stable", "v1.11", dict(ADDED)["v1.11"]),  # media with authentication
    ("org.matrix.msc3391", _PROPOSED, (("DELETE", _DATA),)),  # deletion of account data
    ("org.matrix.msc4140", _PROPOSED, (("GET", _DELAYED),)),  # events that are sent later
    ("org.matrix.msc4306", _PROPOSED, (("PUT", _SUBSCRIPTION),)),  # following threads
)
"""Names by which clients ask for what a version added, where that version is not listed yet; and what it takes."""


def early_features(served: Collection[tuple[str, str]]) -> dict[str, bool]:
    """What is served of versions that are not listed because an earlier one has a gap."""
    spoken = spoken_versions(served)
    return {
        feature: True
        for feature, version, operations in _FEATURES
        if version not in spoken and all(operation in served for operation in operations)
    }


@dataclass(frozen=True, slots=True)
class Discovery:
    """What this server says of itself, from its settings.

    `base_url` is where clients reach it, and `well_known` what else its well-known document holds. `unstable_features`
    names what is built of proposals that no version has yet.
    """

    versions: tuple[str, ...]
    base_url: str | None = None
    well_known: Mapping[str, Any] = field(default_factory=dict)
    support: Mapping[str, Any] = field(default_factory=dict)
    unstable_features: Mapping[str, bool] = field(default_factory=dict)

    def client_document(self) -> dict[str, Any] | None:
        """The well-known document for clients; `None` where no address is configured."""
        if self.base_url is None:
            return None
        return {**self.well_known, "m.homeserver": {"base_url": self.base_url}}


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What users may do here, from the settings."""

    change_password: bool = True
    set_displayname: bool = True
    set_avatar_url: bool = True
    get_login_token: bool = False
    forgets_left_rooms: bool = False
    default_room_version: str = DEFAULT_ROOM_VERSION

    def of(self, requester: Requester) -> dict[str, Any]:
        """The capabilities of one user."""
        fields: dict[str, Any] = {"enabled": True}
        fixed = [
            name
            for name, allowed in (("displayname", self.set_displayname), ("avatar_url", self.set_avatar_url))
            if not allowed
        ]
        if fixed:
            fields["disallowed"] = fixed
        found: dict[str, Any] = {
            "m.change_password": {"enabled": self.change_password},
            "m.room_versions": {
                "default": self.default_room_version,
                "available": {
                    identifier: "stable" if version.is_stable else "unstable"
                    for identifier, version in ROOM_VERSIONS.items()
                },
            },
            "m.profile_fields": fields,
            "m.set_displayname": {"enabled": self.set_displayname},
            "m.set_avatar_url": {"enabled": self.set_avatar_url},
            "m.3pid_changes": {"enabled": False},
            "m.get_login_token": {"enabled": self.get_login_token},
            "m.forget_forced_upon_leave": {"enabled": self.forgets_left_rooms},
            "org.matrix.msc4155.invite_permission_config_enforced": {"enabled": True},
        }
        if requester.is_admin:
            found["m.account_moderation"] = {"suspend": True, "lock": True}
        return found
