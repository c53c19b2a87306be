"""One merchant's store at the demo POS: its products now, and the edits a merchant makes in the POS's back office.

Add an edit here when a story or a test needs one. What goes over the wire lives in `cata_pipeline.demo.wire`.
"""

import dataclasses
import threading
from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from typing import Literal

from cata_pipeline.demo.kitchen import picture_path
from cata_pipeline.demo.picture_shelf import PictureShelf
from cata_pipeline.demo.products import Menu, Picture, Product, find, made_up_id

RequestKind = Literal["token", "products", "pictures", "not_modified"]

_BETWEEN_EDITS = timedelta(minutes=1)


class DemoStore:
    """A store that starts with its menu; every method may be called from any thread.

    Products are named by item code (the SKU, or the product id where there is none); among rows with the same code
    the active, newest one is meant. Every edit gives its product a `modified_at` later than any in the store before.
    An edit of a product that is not there raises `LookupError`.
    """

    def __init__(self, menu: Menu, shelf: PictureShelf) -> None:
        self.menu = menu
        self.url = ""
        """The store's origin; empty until the POS has started."""
        self.credentials = {
            "api_key": f"demo-{made_up_id(menu.tenant_id, 'client id')}",
            "api_secret": made_up_id(menu.tenant_id, "client secret"),
        }
        """Made up, and the same in every run, so that a restarted demo keeps its registered tenants."""
        self._lock = threading.Lock()
        self._products = menu.products
        self._clock = max(product.modified_at for product in menu.products)
        self._uploads = 0
        self._shelf = shelf
        self._served: Counter[str] = Counter()
        for product in menu.products:
            if product.picture:
                shelf.put(product.picture, product.modified_at)

    @property
    def products(self) -> tuple[Product, ...]:
        """Every product of the store as it is now, in menu order."""
        with self._lock:
            return self._products

    @property
    def requests_served(self) -> Counter[str]:
        """How many requests this store's clients were answered so far.

        By kind: `token`, `products` (pages), `pictures` (whole bodies) and `not_modified` (304). Refusals do not count.
        """
        with self._lock:
            return self._served.copy()

    def product(self, item_code: str) -> Product:
        """The product as it is now."""
        return find(self.products, item_code)

    def count(self, kind: RequestKind) -> None:
        """Note one answered request."""
        with self._lock:
            self._served[kind] += 1

    def rename(self, item_code: str, name: str) -> None:
        """Give the product another name; of a variant, the bare name of this row only."""
        self._edit(item_code, lambda product: dataclasses.replace(product, name=name))

    def change_picture(self, item_code: str) -> None:
        """Upload a new picture: new address, new bytes. The old address goes on serving the old picture."""
        self._edit(item_code, self._with_new_picture)

    def redraw_picture(self, item_code: str) -> None:
        """Replace the picture behind the same address: new bytes, ETag and Last-Modified.

        Products that share the address share the new picture. Raises `LookupError` when there is no picture.
        """
        self._edit(item_code, self._with_redrawn_picture)

    def remove_picture(self, item_code: str) -> None:
        """Leave the product without a picture."""
        self._edit(item_code, lambda product: dataclasses.replace(product, picture=None))

    def deactivate(self, item_code: str) -> None:
        """Stop selling the product; it stays in every answer."""
        self._edit(item_code, lambda product: dataclasses.replace(product, is_active=False, was_inactive=True))

    def activate(self, item_code: str) -> None:
        """Sell the product again."""
        self._edit(item_code, lambda product: dataclasses.replace(product, is_active=True))

    def remove(self, item_code: str) -> None:
        """Delete the product: it is absent from every answer from now on."""
        with self._lock:
            gone = find(self._products, item_code)
            self._products = tuple(product for product in self._products if product is not gone)

    def empty(self) -> None:
        """Delete every product, as a merchant's mishap or a wrong account does."""
        with self._lock:
            self._products = ()

    def _edit(self, item_code: str, change: Callable[[Product], Product]) -> None:
        with self._lock:
            before = find(self._products, item_code)
            self._clock += _BETWEEN_EDITS
            after = change(dataclasses.replace(before, modified_at=self._clock))
            self._products = tuple(after if product is before else product for product in self._products)

    def _with_new_picture(self, product: Product) -> Product:
        self._uploads += 1
        kind = product.picture.kind if product.picture else "jpg"
        picture = Picture(
            path=picture_path(self.menu.tenant_id, f"{product.product_id}/{self._uploads}", kind),
            text=f"{product.name} (foto {self._uploads + 1})",
            look=product.look,
            kind=kind,
        )
        self._shelf.put(picture, product.modified_at)
        return dataclasses.replace(product, picture=picture)

    def _with_redrawn_picture(self, product: Product) -> Product:
        if product.picture is None:
            raise LookupError(f"{product.item_code} has no picture to redraw; call change_picture first.")
        self._shelf.redraw(product.picture.path, product.modified_at)
        return product
