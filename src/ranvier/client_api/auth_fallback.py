"""Pages that do a stage of interactive authentication for clients that can't do it themselves.

Source: Client-Server API, "Fallback".
"""

import html
from typing import Any
from urllib.parse import parse_qs

from ranvier.accounts.interactive_auth import DUMMY, PASSWORD, REGISTRATION_TOKEN, TERMS, InteractiveAuth
from ranvier.http.endpoints import Answer, endpoint
from ranvier.http.request import Request
from ranvier.http.response import Response
from ranvier.protocol.refusal import Refusal, invalid_param, not_found

_PATH = "/_matrix/client/v3/auth/{authType}/fallback/web"
_HEADERS = [
    (b"content-type", b"text/html; charset=utf-8"),
    (
        b"content-security-policy",
        b"default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; form-action 'self'; "
        b"frame-ancestors 'none'",
    ),
    (b"referrer-policy", b"no-referrer"),
    (b"cache-control", b"no-store"),
]
_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>body {{ font: 1rem/1.5 system-ui, sans-serif; max-width: 32rem; margin: 3rem auto; padding: 0 1rem; }}</style>
</head>
<body>
<h1>{title}</h1>
{content}
</body>
</html>
"""
# The specification gives this script: it tells the client that the stage is done.
_DONE = """<p>Done. You can go back to your client.</p>
<script>
if (window.onAuthDone) {
    window.onAuthDone();
} else if (window.opener && window.opener.postMessage) {
    window.opener.postMessage("authDone", "*");
}
</script>"""
_FORM = """{failure}
<form method="post" action="?session={session}">
{fields}
<p><button type="submit">{button}</button></p>
</form>"""
_FIELDS = {
    DUMMY: ("", "Go on"),
    REGISTRATION_TOKEN: (
        '<p><label>Registration token <input name="token" required autocomplete="off"></label></p>',
        "Go on",
    ),
    PASSWORD: (
        '<p><label>Password <input name="password" type="password" required></label></p>',
        "Confirm",
    ),
}
_FIELDS_AT_MOST = 20
_TITLES = {
    DUMMY: "Confirm",
    REGISTRATION_TOKEN: "Registration token",
    PASSWORD: "Confirm with your password",
    TERMS: "Terms of this server",
}


@endpoint("GET", _PATH, access="open", rate_limit="other")
async def show_auth_fallback(request: Request, authentication: InteractiveAuth) -> Answer:
    """Show the page of a stage."""
    return _form(request, authentication, "")


@endpoint("POST", _PATH, access="open", rate_limit="other", body_limit=16 * 1024)
async def submit_auth_fallback(request: Request, authentication: InteractiveAuth) -> Answer:
    """Do the stage with what was filled in."""
    stage = request.parameters["authType"]
    session = request.query_required("session")
    fields = _filled_in(request.body)
    try:
        await authentication.complete(session, stage, fields)
    except Refusal as refusal:
        return _form(request, authentication, f"<p><strong>{html.escape(refusal.error)}</strong></p>")
    return _page(stage, _DONE)


def _filled_in(body: bytes) -> dict[str, Any]:
    """The form's fields that a stage may need."""
    try:
        given = parse_qs(body.decode("utf-8", "replace"), max_num_fields=_FIELDS_AT_MOST)
    except ValueError as error:
        raise invalid_param(f"The form has more than {_FIELDS_AT_MOST} fields.") from error
    return {name: values[-1] for name, values in given.items() if name in ("token", "password")}


def _form(request: Request, authentication: InteractiveAuth, failure: str) -> Response:
    stage = request.parameters["authType"]
    if stage == TERMS:
        fields, button = _policies(authentication), "I accept"
    elif stage in _FIELDS:
        fields, button = _FIELDS[stage]
    else:
        raise not_found("This server has no page for that stage.")
    session = html.escape(request.query_required("session"), quote=True)
    return _page(stage, _FORM.format(failure=failure, session=session, fields=fields, button=button))


def _policies(authentication: InteractiveAuth) -> str:
    items = []
    for policy in authentication.policies.values():
        text = policy.get("en") or next(value for value in policy.values() if isinstance(value, dict))
        url, name = html.escape(text["url"], quote=True), html.escape(text["name"])
        items.append(f'<li><a href="{url}" target="_blank" rel="noopener">{name}</a></li>')
    return f"<p>Please read and accept:</p><ul>{''.join(items)}</ul>"


def _page(stage: str, content: str) -> Response:
    return Response(200, _PAGE.format(title=_TITLES[stage], content=content).encode(), list(_HEADERS))
