"""The demo's picture CDN without the network: which picture stands at which address, and its validators.

Add here what the CDN remembers of an upload. How pictures are drawn lives in `cata_pipeline.demo.pictures`, how they
are answered in `cata_pipeline.demo.pos_web`.
"""

import hashlib
import threading
from dataclasses import dataclass, replace
from datetime import datetime

from cata_pipeline.demo.pictures import draw, truncated
from cata_pipeline.demo.products import Picture


@dataclass(frozen=True)
class ShelvedPicture:
    """A picture at its address; `revision` counts how often it was drawn anew there."""

    picture: Picture
    modified_at: datetime
    revision: int = 0

    @property
    def etag(self) -> str:
        """The value of the strong ETag, known without drawing: all that decides the bytes goes in."""
        return hashlib.sha256(repr((self.picture, self.revision)).encode()).hexdigest()[:32]

    def content(self) -> bytes:
        """The file as it is served; takes some 15 ms of processor time when asked for the first time."""
        picture = self.picture
        content = draw(picture.text, self.revision, picture.look, picture.kind)
        return truncated(content) if picture.condition == "truncated" else content


class PictureShelf:
    """Every picture ever uploaded, by path; safe to use from several threads.

    An upload stays at its address when the product moves on to another one, as on the vendor's CDN.
    """

    def __init__(self) -> None:
        self._pictures: dict[str, ShelvedPicture] = {}
        self._lock = threading.Lock()

    def put(self, picture: Picture, modified_at: datetime) -> None:
        """Serve this picture at its path; one whose file is missing is not served at all."""
        if picture.condition != "missing":
            with self._lock:
                self._pictures[picture.path] = ShelvedPicture(picture, modified_at)

    def redraw(self, path: str, modified_at: datetime) -> None:
        """Put another picture at the same path; raises `LookupError` when there is none."""
        with self._lock:
            shelved = self._pictures.get(path)
            if shelved is None:
                raise LookupError(f"No picture stands at {path}; expected a product whose picture is not missing.")
            self._pictures[path] = replace(shelved, modified_at=modified_at, revision=shelved.revision + 1)

    def get(self, path: str) -> ShelvedPicture | None:
        """The picture at this path, or None."""
        with self._lock:
            return self._pictures.get(path)
