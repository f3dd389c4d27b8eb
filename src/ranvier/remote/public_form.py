"""A diagnosis as JSON with the fields that the public federation tester gives, and `Findings` beside them."""

from typing import Any

from ranvier.protocol import unpadded_base64
from ranvier.remote.diagnosis import Diagnosis, Host, Reached
from ranvier.remote.findings import Finding, check_keys, federation_ok


def public_form(found: Diagnosis, findings: list[Finding]) -> dict[str, Any]:
    """The report."""
    report: dict[str, Any] = {"Error": found.error} if found.error is not None else {}
    known = found.well_known
    well_known: dict[str, Any] = {"m.server": (known.m_server or "") if known is not None else ""}
    if known is not None and known.fault is not None:
        well_known["result"] = known.fault
    well_known["CacheExpiresAt"] = (
        known.until_ts // 1000 if known is not None and known.m_server is not None else 0
    )
    report |= {
        "WellKnownResult": well_known,
        "DNSResult": _dns(found),
        "ConnectionReports": {
            reached.address: _connection(found, reached)
            for reached in found.reached
            if reached.keys is not None
        },
        "ConnectionErrors": {
            reached.address: {"Message": reached.fault or reached.keys_fault}
            for reached in found.reached
            if reached.keys is None
        },
        "Version": dict(found.version) if found.version is not None else {"error": found.version_fault or ""},
        "FederationOK": federation_ok(findings),
        "Findings": [
            {"Step": f.step, "Verdict": f.verdict, "Message": f.sentence, "Cure": f.cure} for f in findings
        ],
    }
    return report


def _dns(found: Diagnosis) -> dict[str, Any]:
    records = [
        {"Target": f"{r.target}.", "Port": r.port, "Priority": r.priority, "Weight": r.weight}
        for r in found.srv_records
    ]
    is_skipped = not found.srv_names
    return {
        "SRVSkipped": is_skipped,
        "SRVCName": f"{found.srv_names[-1]}." if records else "",
        "SRVRecords": records or None,
        "SRVError": None if is_skipped or records else {"Message": "no such record"},
        "Hosts": {name: _host(host) for name, host in found.hosts.items()},
        "Addrs": [reached.address for reached in found.reached],
    }


def _host(host: Host) -> dict[str, Any]:
    return {
        "CName": f"{host.alias or host.name}.",
        "Addrs": list(host.addresses),
        "Error": {"Message": host.fault} if host.fault is not None else None,
    }


def _connection(found: Diagnosis, reached: Reached) -> dict[str, Any]:
    document = reached.keys or {}
    checks = check_keys(document, found.server_name, found.now)
    is_certified = reached.certificate_fault is None
    errors = [] if is_certified else [{"Message": reached.certificate_fault}]
    return {
        "Certificates": [
            {
                "SubjectCommonName": certificate.subject,
                "IssuerCommonName": certificate.issuer,
                "SHA256Fingerprint": unpadded_base64.encode(certificate.fingerprint),
                "DNSNames": list(certificate.names),
            }
            for certificate in reached.certificates
        ],
        "Cipher": {"Version": reached.tls_version.replace("TLSv", "TLS "), "CipherSuite": reached.cipher},
        "Checks": {
            "AllChecksOK": checks.all_good and is_certified,
            "MatchingServerName": checks.is_of_server,
            "FutureValidUntilTS": checks.is_valid_for_long,
            "HasEd25519Key": bool(checks.keys),
            "AllEd25519ChecksOK": bool(checks.keys) and all(a and b for a, b in checks.keys.values()),
            "Ed25519Checks": {
                key_id: {"ValidEd25519": is_key, "MatchingSignature": has_signed}
                for key_id, (is_key, has_signed) in checks.keys.items()
            },
            "ValidCertificates": is_certified,
        },
        "Errors": errors,
        "Ed25519VerifyKeys": {key_id: document["verify_keys"][key_id].get("key") for key_id in checks.keys}
        if checks.all_good
        else None,
        "Info": {},
        "Keys": document,
    }
