"""The records of federation, with the rules that concern their keys."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ranvier.config.records import (
    Federation,
    OldSigningKey,
    Patience,
    PeerLimit,
    ServerKeys,
    TrustedKeyServer,
)
from ranvier.protocol import unpadded_base64

Values = Mapping[str, Any]
Complain = Callable[[str, str], None]
"""Takes the name of a key and a sentence on what is wrong with its value."""

_KEY_ID = re.compile(r"ed25519:[A-Za-z0-9_]+\Z")
_SHORTEST_VALIDITY_MS = 3_600_000
"""Servers shall not have to ask for keys each hour."""


def federation_of(values: Values, path_of: Callable[[str], Path]) -> Federation:
    """How this server federates."""
    allowed = values["federation_domain_whitelist"]
    own_ranges = values["federation_ip_range_blacklist"]
    version = values["federation_client_minimum_tls_version"]
    return Federation(
        serves_wellknown=values["serve_server_wellknown"],
        allowed_servers=frozenset(allowed) if allowed is not None else None,
        denied_servers=frozenset(values["federation_domain_blacklist"]),
        verifies_certificates=values["federation_verify_certificates"],
        unverified_hosts=values["federation_certificate_verification_whitelist"],
        minimum_tls="1.3" if version == "1.3" else "1.2",
        authorities=tuple(path_of(name) for name in values["federation_custom_ca_list"]),
        blocked_ranges=own_ranges if own_ranges is not None else values["ip_range_blacklist"],
        allowed_ranges=values["ip_range_whitelist"],
        nameservers=values["dns_nameservers"],
        patience=_patience(values["federation"]),
        peer_limit=_peer_limit(values["rc_federation"]),
        tells_profiles=values["allow_profile_lookup_over_federation"],
        tells_device_names=values["allow_device_name_lookup_over_federation"],
        nominated_servers=frozenset(values["federation_metrics_domains"]),
    )


def server_keys_of(values: Values, complain: Complain) -> ServerKeys:
    """This server's published keys, and its notaries."""
    old = []
    for key_id, entry in values["old_signing_keys"].items():
        public = _public_key(key_id, entry.get("key") if isinstance(entry, dict) else None)
        expired = entry.get("expired_ts") if isinstance(entry, dict) else None
        if public is None or type(expired) is not int or expired < 0:
            complain(
                "old_signing_keys",
                f"`{key_id}` must look like ed25519:a_old, and hold `key` (public key in Base64) and `expired_ts` "
                "(milliseconds)",
            )
        else:
            old.append(OldSigningKey(key_id, public, expired))
    notaries = []
    for block in values["trusted_key_servers"]:
        keys = {key_id: _public_key(key_id, text) for key_id, text in (block["verify_keys"] or {}).items()}
        if any(public is None for public in keys.values()):
            complain("trusted_key_servers", "`verify_keys` must hold public keys in Base64 by key ID")
        found = {key_id: public for key_id, public in keys.items() if public is not None}
        notaries.append(TrustedKeyServer(block["server_name"], found))
    validity = max(values["key_refresh_interval"], _SHORTEST_VALIDITY_MS)
    return ServerKeys(validity, tuple(old), tuple(notaries))


def _patience(values: Values) -> Patience:
    return Patience(
        timeout=values["client_timeout"],
        retries=values["max_short_retries"],
        longest_pause=values["max_short_retry_delay"],
        patient_retries=values["max_long_retries"],
        longest_patient_pause=values["max_long_retry_delay"],
        first_back_off=values["destination_min_retry_interval"],
        back_off_growth=values["destination_retry_multiplier"],
        longest_back_off=values["destination_max_retry_interval"],
    )


def _peer_limit(values: Values) -> PeerLimit:
    return PeerLimit(
        window=values["window_size"],
        free_requests=values["sleep_limit"],
        delay=values["sleep_delay"],
        waiting_requests=values["reject_limit"],
        at_once=values["concurrent"],
    )


def _public_key(key_id: Any, text: Any) -> bytes | None:
    if not isinstance(key_id, str) or _KEY_ID.match(key_id) is None or not isinstance(text, str):
        return None
    try:
        public = unpadded_base64.decode(text)
    except ValueError:
        return None
    return public if len(public) == 32 else None
