"""A tenant with pictures: a host, an empty database, a bucket, and a clock that only moves when told to."""

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Engine

from cata_pipeline.addresses import AddressPolicy
from cata_pipeline.buckets import Bucket, Created
from cata_pipeline.images.copy import copy_images
from cata_pipeline.images.inspection import Inspector
from cata_pipeline.images.limits import CopyLimits
from cata_pipeline.images.result import ImageResult
from cata_pipeline.images.tenant_images import TenantImages
from cata_pipeline.stopping import Stop
from cata_pipeline.tenants.mapping import SAME_NAMES, SchemaMapping
from cata_pipeline.uploads import Uploads
from cata_pipeline_tests.images.hosts import PictureHost, listener, policy_for


class Clock:
    """Now, until `pass_time`."""

    def __init__(self) -> None:
        self.time = datetime(2026, 3, 1, 2, 0, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.time

    def pass_time(self, **delta: float) -> None:
        self.time += timedelta(**delta)


class CountingBucket(Bucket):
    """The same bucket, which remembers what it was asked to create."""

    creations: list[str]

    @classmethod
    def around(cls, bucket: Bucket) -> "CountingBucket":
        counting = cls(bucket.name, bucket._emulator, retry_seconds=0.1)
        counting.creations = []
        return counting

    @asynccontextmanager
    async def uploads(self, concurrency: int) -> AsyncIterator[Uploads]:
        async with super().uploads(concurrency) as uploads:
            create = uploads.create

            async def counted(name: str, content: bytes, **headers: Any) -> Created:
                self.creations.append(name)
                return await create(name, content, **headers)

            uploads.create = counted  # type: ignore[method-assign]
            yield uploads


@dataclass
class Shop:
    """One tenant, and everything a copy of its pictures touches."""

    tenant_id: str
    tenant_engine: Engine
    control: Engine
    bucket: CountingBucket
    host: PictureHost
    inspector: Inspector
    policy: AddressPolicy
    clock: Clock = field(default_factory=Clock)
    mapping: SchemaMapping = SAME_NAMES
    limits: CopyLimits = field(default_factory=CopyLimits)

    def copy(self, stop: Stop | None = None) -> ImageResult:
        return copy_images(
            self.tenant_id,
            tenant=TenantImages(self.tenant_engine, self.mapping),
            control=self.control,
            bucket=self.bucket,
            policy=self.policy,
            inspector=self.inspector,
            now=self.clock,
            limits=self.limits,
            stop=stop,
        )

    def limit(self, **limits: Any) -> None:
        self.limits = replace(self.limits, **limits)

    def sql(self, statement: str, **values: object) -> None:
        with self.tenant_engine.begin() as connection:
            connection.execute(sa.text(statement), values)

    def add(self, item_code: str, url: str | None, shown: str | None = None) -> None:
        self.sql(
            "INSERT INTO items (item_code, external_image_url, main_image_url) VALUES (:code, :url, :shown)",
            code=item_code,
            url=url,
            shown=shown,
        )

    def point(self, item_code: str, url: str | None) -> None:
        self.sql("UPDATE items SET external_image_url = :url WHERE item_code = :code", code=item_code, url=url)

    def upload_own(self, item_code: str, path: str | None = "uploads/own.jpg") -> None:
        self.sql("UPDATE items SET main_image_url = :path WHERE item_code = :code", code=item_code, path=path)

    def shown(self, item_code: str) -> str | None:
        with self.tenant_engine.connect() as connection:
            shown: str | None = connection.execute(
                sa.text("SELECT main_image_url FROM items WHERE item_code = :code"), {"code": item_code}
            ).scalar_one()
            return shown

    def row_versions(self) -> list[Any]:
        """Changes whenever any row of the tenant or of the ledger is written."""
        with self.tenant_engine.connect() as tenant, self.control.connect() as control:
            return [
                *tenant.execute(sa.text("SELECT item_code, xmin::text, updated_at FROM items ORDER BY 1")).all(),
                *control.execute(sa.text("SELECT url_sha256, xmin::text FROM image_urls ORDER BY 1")).all(),
                *control.execute(sa.text("SELECT item_code, path, xmin::text FROM image_paths ORDER BY 1, 2")).all(),
            ]

    def ledger(self, url: str) -> Any:
        with self.control.connect() as connection:
            return connection.execute(
                sa.text("SELECT * FROM image_urls WHERE tenant_id = :tenant AND url = :url"),
                {"tenant": self.tenant_id, "url": url},
            ).one()


@pytest.fixture(scope="session")
def inspector() -> Iterator[Inspector]:
    with Inspector() as inspector:
        yield inspector


@pytest.fixture
def host() -> Iterator[PictureHost]:
    with PictureHost() as host:
        yield host


@pytest.fixture
def canary() -> Iterator["Canary"]:
    """A listener that nobody may connect to."""
    visits: list[object] = []
    with listener(visits.append) as port:
        yield Canary(port, visits)


@dataclass
class Canary:
    port: int
    visits: list[object]

    def url(self, host: str = "127.0.0.1") -> str:
        return f"http://{host}:{self.port}/picture.jpg"


@pytest.fixture
def new_shop(
    control: Engine,
    image_bucket: Bucket,
    host: PictureHost,
    inspector: Inspector,
) -> Callable[[str, Engine], Shop]:
    def make(tenant_id: str, tenant_engine: Engine) -> Shop:
        return Shop(
            tenant_id,
            tenant_engine,
            control,
            CountingBucket.around(image_bucket),
            host,
            inspector,
            policy_for(host.port),
        )

    return make


@pytest.fixture
def shop(new_shop: Callable[[str, Engine], Shop], tenant_engine: Engine, tenant_id: str) -> Shop:
    return new_shop(tenant_id, tenant_engine)
