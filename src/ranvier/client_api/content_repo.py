"""The content repository: uploads, and the endpoints that need no token, for content of before they were frozen."""

from ranvier.client_api import media_answers
from ranvier.http.endpoints import Answer, endpoint
from ranvier.http.request import Request
from ranvier.media.files import Files
from ranvier.media.repository import Repository
from ranvier.media.thumbnails import Thumbnails


@endpoint(
    "POST",
    "/_matrix/media/v3/upload",
    rate_limit="media",
    streams_body=True,
    body_limit=media_answers.UPLOAD_BYTES,
)
async def upload_content(request: Request, repository: Repository) -> Answer:
    """Upload content."""
    request.requester.check_not_suspended()
    uri = await repository.upload(request.requester.user_id, media_answers.upload_of(request))
    return {"content_uri": uri}


@endpoint("POST", "/_matrix/media/v1/create", rate_limit="media_create")
async def create_content(request: Request, repository: Repository) -> Answer:
    """Announce content that will be uploaded."""
    request.requester.check_not_suspended()
    uri, expires = await repository.create(request.requester.user_id)
    return {"content_uri": uri, "unused_expires_at": expires}


@endpoint(
    "PUT",
    "/_matrix/media/v3/upload/{serverName}/{mediaId}",
    rate_limit="media",
    streams_body=True,
    body_limit=media_answers.UPLOAD_BYTES,
)
async def upload_content_to_mxc(request: Request, repository: Repository) -> Answer:
    """Upload content that was announced."""
    request.requester.check_not_suspended()
    server_name, media_id = request.parameters["serverName"], request.parameters["mediaId"]
    upload = media_answers.upload_of(request)
    await repository.fill(request.requester.user_id, server_name, media_id, upload)
    return {}


@endpoint("GET", "/_matrix/media/v3/download/{serverName}/{mediaId}", access="open", rate_limit="media")
async def get_content(request: Request, repository: Repository, files: Files) -> Answer:
    """Download content."""
    return await media_answers.download(request, repository, files)


@endpoint(
    "GET",
    "/_matrix/media/v3/download/{serverName}/{mediaId}/{fileName}",
    access="open",
    rate_limit="media",
)
async def get_content_override_name(request: Request, repository: Repository, files: Files) -> Answer:
    """Download content under another name."""
    return await media_answers.download(request, repository, files)


@endpoint("GET", "/_matrix/media/v3/thumbnail/{serverName}/{mediaId}", access="open", rate_limit="media")
async def get_content_thumbnail(
    request: Request, repository: Repository, files: Files, thumbnails: Thumbnails
) -> Answer:
    """Download a thumbnail of content."""
    return await media_answers.thumbnail(request, repository, files, thumbnails)


@endpoint("GET", "/_matrix/media/v3/config", rate_limit="media")
async def get_config(request: Request, repository: Repository) -> Answer:
    """Tell the bounds of uploads."""
    return {"m.upload.size": repository.rules.max_bytes}
