"""A tenant's whole life in one call: what a test of sessions needs to know that nothing was bent or cut."""

from cata_pipeline.images.tenant_images import TenantImages
from cata_pipeline.images.tenant_items import WriteBack
from cata_pipeline.tenants.connections import tenant_engine
from cata_pipeline_tests.reconcile.conftest import SyncedTenant, latte
from cata_pipeline_tests.reconcile.test_ownership import MILK, SUGAR


def sync_through_everything(tenant: SyncedTenant) -> None:
    """A first sync, changes of every kind, and an image's path written back; each arrives."""
    assert (
        tenant.sync(*[latte(item_code=f"I{n}", modifier_groups=(MILK, SUGAR)) for n in range(12)]).items.inserted == 12
    )
    changed = [latte(item_code=f"I{n}", name="New", is_active=n > 0, modifier_groups=(MILK,)) for n in range(12)]
    report = tenant.sync(*changed, latte(item_code="MORE"))
    assert (report.items.inserted, report.items.renamed, report.items.hidden, report.stale) == (1, 12, 1, 0)
    assert report.children.hidden == 12
    assert len(tenant.rows("SELECT id FROM items WHERE name = 'New' AND original_name = 'New'")) == 12
    assert tenant.sync(*changed, latte(item_code="MORE")).unchanged == 13
    images = TenantImages(tenant_engine(tenant.url), sleep=lambda _: None)
    [page] = images.pictured(2_048, 1_000)
    assert len(page) == 13
    images.write_back([WriteBack("MORE", page[0].url, "kopi-kita/items/a.jpg", frozenset())])
    assert tenant.item("MORE")["main_image_url"] == "kopi-kita/items/a.jpg"
