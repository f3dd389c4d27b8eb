"""The parts of the media floor."""

from collections.abc import Callable

from ranvier.config.records import Media
from ranvier.main.parts import Parts
from ranvier.media.files import Files
from ranvier.media.remote_media import RemoteMedia
from ranvier.media.repository import Repository, UploadQuota, UploadRules
from ranvier.media.thumbnail_plans import ThumbnailSize
from ranvier.media.thumbnails import ThumbnailRules, Thumbnails
from ranvier.remote.client import FederationClient
from ranvier.remote.downloads import Downloads
from ranvier.store.database import Database
from ranvier.store.writer import Writer


def add_media(
    config: Media, server_name: str, database: Database, writer: Writer, parts: Parts, now: Callable[[], int]
) -> None:
    """Build them."""
    files = parts.add(Files(config.path))
    uploads = UploadRules(
        config.max_upload_bytes,
        config.max_pending_uploads,
        config.pending_lifetime,
        config.needs_token,
        tuple(UploadQuota(limit.period, limit.most_bytes) for limit in config.upload_limits),
    )
    client, downloads = parts.get(FederationClient), parts.get(Downloads)
    remote = RemoteMedia(database, writer, files, client, downloads, now, max_bytes=config.max_upload_bytes)
    parts.add(Repository(database, writer, files, remote, uploads, server_name, now))
    sizes = [ThumbnailSize(size.width, size.height, size.method) for size in config.thumbnail_sizes]
    parts.add(Thumbnails(files, ThumbnailRules(config.max_image_pixels, sizes, config.dynamic_thumbnails)))
