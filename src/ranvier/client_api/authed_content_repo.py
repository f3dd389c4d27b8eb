"""The content repository for those who are logged in."""

from ranvier.client_api import media_answers
from ranvier.http.endpoints import Answer, endpoint
from ranvier.http.request import Request
from ranvier.media.files import Files
from ranvier.media.repository import Repository
from ranvier.media.thumbnails import Thumbnails

_MEDIA = "/_matrix/client/v1/media"


@endpoint("GET", _MEDIA + "/download/{serverName}/{mediaId}", rate_limit="media")
async def get_content_authed(request: Request, repository: Repository, files: Files) -> Answer:
    """Download content."""
    return await media_answers.download(request, repository, files)


@endpoint("GET", _MEDIA + "/download/{serverName}/{mediaId}/{fileName}", rate_limit="media")
async def get_content_override_name_authed(request: Request, repository: Repository, files: Files) -> Answer:
    """Download content under another name."""
    return await media_answers.download(request, repository, files)


@endpoint("GET", _MEDIA + "/thumbnail/{serverName}/{mediaId}", rate_limit="media")
async def get_content_thumbnail_authed(
    request: Request, repository: Repository, files: Files, thumbnails: Thumbnails
) -> Answer:
    """Download a thumbnail of content."""
    return await media_answers.thumbnail(request, repository, files, thumbnails)


@endpoint("GET", _MEDIA + "/config", rate_limit="media")
async def get_config_authed(request: Request, repository: Repository) -> Answer:
    """Tell the bounds of uploads."""
    return {"m.upload.size": repository.rules.max_bytes}
