"""What people do between the two syncs of the demo: merchants in their app, shopkeepers in their POS."""

from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy.engine import Engine

from cata_pipeline.buckets import Bucket
from cata_pipeline.demo.pictures import draw
from cata_pipeline.demo.pos import DemoStore
from cata_pipeline.demo.products import Menu

MERCHANT_NAME = "Signature of the house"
MERCHANT_NAME_OVER_POS = "Best seller"
MERCHANT_PRICE = 45_000
POS_NAME = "Renamed at the till"


@dataclass(frozen=True)
class MerchantEdits:
    """What a merchant set, to be found again afterwards; `photo` is an object name in the image bucket."""

    photo: str


def merchant_edits(menu: Menu, engine: Engine, bucket: Bucket) -> MerchantEdits:
    """A rename, a rename that the POS will contest, an own photo, a price."""
    cases = menu.cases
    photo = f"{menu.tenant_id}/uploads/own-photo.jpg"
    product = menu.product(cases.to_photo_by_merchant)
    content = draw("Our own photo", 0, product.look, "jpg")
    bucket.create(photo, content, content_type="image/jpeg")
    with engine.begin() as connection:
        for code, column, value in (
            (cases.to_rename_by_merchant, "name", MERCHANT_NAME),
            (cases.renamed_by_both, "name", MERCHANT_NAME_OVER_POS),
            (cases.to_photo_by_merchant, "main_image_url", photo),
            (cases.to_price_by_merchant, "base_price", MERCHANT_PRICE),
        ):
            items = sa.table("items", sa.column("item_code"), sa.column(column))
            connection.execute(items.update().where(items.c.item_code == code).values({column: value}))
        connection.execute(
            sa.text("INSERT INTO menu_items (item_id, price) SELECT id, :price FROM items WHERE item_code = :code"),
            {"price": MERCHANT_PRICE, "code": cases.to_price_by_merchant},
        )
    return MerchantEdits(photo)


def pos_edits(menu: Menu, store: DemoStore) -> None:
    """Two renames, a new photo, a deactivation, a removal; and a new photo where the merchant has an own one."""
    cases = menu.cases
    store.rename(cases.to_rename_by_pos, POS_NAME)
    store.rename(cases.renamed_by_both, POS_NAME)
    store.change_picture(cases.to_photo_by_pos)
    store.change_picture(cases.to_photo_by_merchant)
    store.deactivate(cases.to_deactivate)
    store.remove(cases.to_remove)
