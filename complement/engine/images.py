"""Images: those that are known from the start, and those that containers were committed to."""

import secrets
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol


class BaseImage(Protocol):
    """A kind of server. Its state is the container's folder; what it keeps elsewhere it copies and drops itself."""

    @property
    def command(self) -> Sequence[str]:
        """What a container of this image runs."""

    def environment(self, container_id: str) -> Mapping[str, str]:
        """Variables for one container, over those that the suite asks for."""

    def copied(self, source_id: str, target_id: str) -> None:
        """The folder of `source_id` was copied to `target_id` (container to image, or image to container)."""

    def removed(self, identifier: str) -> None:
        """A container or image is gone."""


@dataclass
class Image:
    """`folder` None: nothing was written yet. A committed image keeps its container's files and labels."""

    identifier: str
    base: BaseImage
    folder: Path | None = None
    labels: dict[str, str] = field(default_factory=dict)
    tags: list[str] = field(default_factory=list)
    created: int = field(default_factory=lambda: int(time.time()))

    def describe(self) -> dict[str, Any]:
        """As `GET /images/json` lists it."""
        return {"Id": self.identifier, "RepoTags": self.tags, "Labels": self.labels, "Created": self.created}


class Images:
    """All images, by identifier and by tag."""

    def __init__(self, folder: Path, bases: Mapping[str, BaseImage]) -> None:
        self._folder = folder
        self._images = {f"base:{tag}": Image(f"base:{tag}", base, tags=[tag]) for tag, base in bases.items()}

    def all(self) -> list[Image]:
        """Every image there is."""
        return list(self._images.values())

    def find(self, reference: str) -> Image | None:
        """By identifier, with or without `sha256:`, or by tag."""
        for image in self._images.values():
            if reference in {image.identifier, image.identifier.removeprefix("sha256:"), *image.tags}:
                return image
        return None

    def commit(self, container_id: str, image: Image, state: Path, labels: dict[str, str], tag: str) -> Image:
        """Keep a copy of a container's files as a new image; the tag moves to it."""
        identifier = secrets.token_hex(32)
        folder = self._folder / identifier
        folder.parent.mkdir(parents=True, exist_ok=True)
        shutil.copytree(state, folder)
        image.base.copied(container_id, identifier)
        for other in self._images.values():
            if tag in other.tags:
                other.tags.remove(tag)
        made = Image(f"sha256:{identifier}", image.base, folder, labels, [tag])
        self._images[made.identifier] = made
        return made

    def remove(self, image: Image) -> None:
        """Drop an image and its files; containers made of it have copies."""
        del self._images[image.identifier]
        if image.folder is not None:
            shutil.rmtree(image.folder, ignore_errors=True)
            image.base.removed(image.identifier.removeprefix("sha256:"))
