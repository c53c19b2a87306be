"""Made-up catalogs of any size, as snapshots in a folder: the same rows for everybody who is measured.

Names, descriptions, categories and picture URLs have the lengths of real menus. Nothing here is random: every run
measures the same rows.
"""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.engine import Engine

from cata_pipeline.buckets import Bucket, Created
from cata_pipeline.catalog.model import Catalog, Item, Modifier, ModifierGroup
from cata_pipeline.catalog.snapshot import Snapshot, SnapshotRecord, SnapshotStore

_CATEGORIES = ("Coffee", "Tea", "Rice Bowls", "Noodles", "Bakery", "Snacks", "Juices", "Desserts")
_STYLES = ("Iced", "Hot", "Grandma's", "Spicy", "Sweet", "Classic", "Smoked", "Crispy", "Double", "Little")
_DISHES = ("Latte", "Nasi Goreng", "Roti Bakar", "Mie Ayam", "Es Teh", "Croissant", "Sate Ayam", "Pisang Goreng")
_TEXTS = (
    "Slow cooked in small batches since six in the morning, with palm sugar from Central Java and sea salt.",
    "A big portion for one hungry guest or two polite ones, with pickles and our own sambal.",
    "Made to order from beans that were roasted this week; ask for oat milk if you like it a little sweeter.",
)
_NOBODY = sa.create_engine("postgresql+psycopg://")  # reading needs no control database
_CHANGED_EVERY = 100
_MODIFIERS_EVERY = 5


class FolderBucket(Bucket):
    """A bucket in a folder: how fast objects are stored is not what is compared."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder.name)
        self._folder = folder

    def create(self, name: str, content: bytes, *, content_type: str, cache_control: str | None = None) -> Created:  # noqa: ARG002
        """Store `content` under `name`."""
        path = self._folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        return Created(name, new=True)

    def read(self, name: str) -> bytes:
        """The whole content of an object."""
        return (self._folder / name).read_bytes()


@dataclass(frozen=True)
class StoredCatalog:
    """A snapshot in a folder, the file that tells a child process about it, and the names it should lead to."""

    size: int
    file: Path
    names: dict[str, str]


class CatalogShelf:
    """Makes snapshots of catalogs, and keeps them below `folder`."""

    def __init__(self, folder: Path, control: Engine) -> None:
        self._folder = folder
        self._store = SnapshotStore(FolderBucket(folder), control)

    def store(self, label: str, size: int, item: Callable[[int], Item]) -> StoredCatalog:
        """The snapshot of `item(0)` to `item(size - 1)`."""
        items = tuple(item(number) for number in range(size))
        snapshot = self._store.save(label, "iseller", Catalog(items), run_id=label, now=datetime.now(UTC))
        file = self._folder / f"{label}.json"
        file.write_text(json.dumps(asdict(snapshot.record), default=datetime.isoformat))
        return StoredCatalog(size, file, {item.item_code: item.name for item in items})


def catalog_shelf(folder: Path, control: Engine) -> CatalogShelf:
    """A shelf in an empty folder."""
    folder.mkdir()
    return CatalogShelf(folder, control)


def load(file: Path) -> tuple[Snapshot, Bucket]:
    """What `CatalogShelf.store` kept, and the bucket it lies in."""
    fields = json.loads(file.read_text())
    record = SnapshotRecord(**fields | {"fetched_at": datetime.fromisoformat(fields["fetched_at"])})
    bucket = FolderBucket(file.parent)
    return SnapshotStore(bucket, _NOBODY).load(record), bucket


def plain(number: int) -> Item:
    """An item as most are: no modifiers, no variants."""
    return Item(
        item_code=f"SKU-{number:07d}",
        provider_id=f"{number:032x}",
        name=f"{_STYLES[number % 10]} {_DISHES[number // 10 % 8]} No. {number}",
        is_active=number % 50 != 0,
        description=f"{_TEXTS[number % 3]} ({number})",
        category=_CATEGORIES[number % 8],
        item_type="standard",
        external_image_url=f"https://cdn.isellercommerce.com/{number % 997:032x}/{number:032x}.jpg",
    )


def changed(number: int) -> Item:
    """The same item after a day at the POS: one in a hundred has a new name and a new picture."""
    item = plain(number)
    if number % _CHANGED_EVERY:
        return item
    url = f"https://cdn.isellercommerce.com/{number % 997:032x}/{number + 1:032x}.jpg"
    return item._replace(name=f"{item.name}, new recipe", external_image_url=url)


def with_modifiers(number: int) -> Item:
    """The same item, where one in five has two groups of four modifiers."""
    item = plain(number)
    if number % _MODIFIERS_EVERY:
        return item
    groups = tuple(
        ModifierGroup(
            f"{number:024x}-{group}",
            name,
            tuple(Modifier(f"{number:024x}-{group}-{place}", f"{name} {place}") for place in range(4)),
        )
        for group, name in enumerate(("Sugar level", "Extra topping"))
    )
    return item._replace(modifier_groups=groups)
