"""Pages for people who open the server's address in a browser, and the answer for those who watch whether it lives."""

import html
from dataclasses import dataclass

from ranvier.http.endpoints import Answer, endpoint
from ranvier.http.request import Request
from ranvier.http.response import Response, redirect

_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{server_name}: a Matrix homeserver</title>
<style>
body {{ font: 1.1rem/1.6 system-ui, sans-serif; max-width: 36rem; margin: 15vh auto; padding: 0 1.5rem; }}
h1 {{ font-size: 1.6rem; }}
code {{ background: #eee; padding: 0.1em 0.3em; border-radius: 0.2em; }}
@media (prefers-color-scheme: dark) {{
  body {{ background: #1b1b1b; color: #ddd; }} a {{ color: #8ab4f8; }} code {{ background: #333; }}
}}
</style>
</head>
<body>
<h1>It works: {server_name} is running</h1>
<p>This is a <a href="https://matrix.org/">Matrix</a> homeserver. To talk with others through it, open a
<a href="https://matrix.org/ecosystem/clients/">Matrix client</a> and choose <code>{server_name}</code>
as homeserver.</p>
</body>
</html>
"""
_POLICY = (
    b"content-security-policy",
    b"default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'",
)


@dataclass(frozen=True, slots=True)
class Welcome:
    """What the page tells: the server's name and nothing else."""

    server_name: str


@endpoint("GET", "/_matrix/static/", access="open")
async def show_page(request: Request, welcome: Welcome) -> Answer:
    """A page that says that the server runs."""
    page = _PAGE.format(server_name=html.escape(welcome.server_name))
    return Response(200, page.encode(), [(b"content-type", b"text/html; charset=utf-8"), _POLICY])


@endpoint("GET", "/", access="open", confirms=False)
async def go_to_page(request: Request) -> Answer:
    """Send people who opened the bare address to that page."""
    return redirect("/_matrix/static/")


@endpoint("GET", "/health", access="open", confirms=False)
async def show_health(request: Request) -> Answer:
    """`OK`, for load balancers and whoever watches the server."""
    return Response(200, b"OK", [(b"content-type", b"text/plain; charset=utf-8")])
