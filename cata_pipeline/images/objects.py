"""How a copied picture is named and stored in the image bucket.

The name is the tenant and the SHA-256 of the source bytes, so equal bytes give an equal object and nothing is ever
overwritten. Tenants share no object: a shared one would tell a tenant what another one has.
"""

import hashlib
import logging
from dataclasses import dataclass
from enum import Enum

from cata_pipeline.buckets import WrongBytesError
from cata_pipeline.images.failure import PictureError
from cata_pipeline.uploads import Uploads

_log = logging.getLogger(__name__)

CACHE_CONTROL = "public, max-age=31536000, immutable"


class PictureKind(Enum):
    """The kinds of pictures we store: what Pillow calls it, our extension, the content type it is served with."""

    JPEG = ("JPEG", "jpg", "image/jpeg")
    PNG = ("PNG", "png", "image/png")
    WEBP = ("WEBP", "webp", "image/webp")

    def __init__(self, decoder: str, extension: str, content_type: str) -> None:
        self.decoder = decoder
        self.extension = extension
        self.content_type = content_type


@dataclass(frozen=True)
class StoredPicture:
    """An object that is there: its name relative to the bucket, and whether this call made it."""

    path: str
    new: bool


def digest(content: bytes) -> str:
    """The SHA-256 of a picture's source bytes, 64 hex digits: all of them, since 64 bits could be made to collide."""
    return hashlib.sha256(content).hexdigest()


def folder_of(tenant_id: str) -> str:
    """Where the copies of a tenant's pictures lie: what all their names begin with."""
    return f"{tenant_id}/items/"


def path_without_extension(tenant_id: str, sha256: str) -> str:
    """The name of a tenant's picture up to and including the dot before its extension."""
    return f"{folder_of(tenant_id)}{sha256}."


async def store(uploads: Uploads, tenant_id: str, sha256: str, kind: PictureKind, content: bytes) -> StoredPicture:
    """Create the object unless it is there.

    Raises `StorageError` when the bucket does not take it, which concerns all pictures; and `PictureError` when the
    bucket holds other bytes under its name, which must not cost the others.
    """
    path = path_without_extension(tenant_id, sha256) + kind.extension
    try:
        created = await uploads.create(path, content, content_type=kind.content_type, cache_control=CACHE_CONTROL)
    except WrongBytesError as error:
        _log.error("%s", error)
        raise PictureError(
            "our copy of this picture is damaged; our support has to remove it first", transient=True
        ) from error
    return StoredPicture(path, created.new)
