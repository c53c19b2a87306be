"""The two databases that our copy works on, on a fresh PostgreSQL: the tenant's, with the pictures' URLs, and control.

No other client has any; what they cost is part of our figures, and shown apart.
"""

from collections.abc import Sequence
from importlib import resources
from pathlib import Path

import psutil
import psycopg

from benchmarks.server import tree_cpu_seconds
from cata_pipeline.control.database import open_control_database
from cata_pipeline.demo.embedded_postgresql import EmbeddedPostgresql
from cata_pipeline.settings import CONTROL_DRIVER

_CONTROL, _TENANT = "control", "tenant"


class Databases:
    """A PostgreSQL in a folder of its own; running when made, with one item for each URL."""

    def __init__(self, folder: Path, urls: Sequence[str]) -> None:
        self._data = folder / "postgresql"
        self._server = EmbeddedPostgresql(self._data, folder / "postgresql.log", durable=True)
        self._server.start()
        for name in (_CONTROL, _TENANT):
            self._server.create_database(name)
        self.control_url = self._url(_CONTROL, CONTROL_DRIVER)
        self.tenant_url = self._url(_TENANT, CONTROL_DRIVER)
        open_control_database(self._server.url(_CONTROL, CONTROL_DRIVER)).dispose()
        self._fill(urls)

    def unserved(self) -> int:
        """Items that show no picture."""
        with psycopg.connect(self._url(_TENANT, "postgresql")) as connection:
            row = connection.execute("SELECT count(*) FROM items WHERE main_image_url IS NULL").fetchone()
        assert row is not None
        return int(row[0])

    def cpu_seconds(self) -> float:
        """CPU seconds of all of the server's processes so far."""
        pid = int((self._data / "postmaster.pid").read_text().split("\n", 1)[0])
        return tree_cpu_seconds(psutil.Process(pid))

    def stop(self) -> None:
        """End the server."""
        self._server.stop()

    def _url(self, database: str, driver: str) -> str:
        return self._server.url(database, driver).render_as_string(hide_password=False)

    def _fill(self, urls: Sequence[str]) -> None:
        schema = resources.files("cata_pipeline.demo").joinpath("tenant_schema_postgresql.sql").read_text()
        with psycopg.connect(self._url(_TENANT, "postgresql")) as connection:
            connection.execute(schema.encode())
            with connection.cursor() as cursor:
                cursor.executemany(
                    "INSERT INTO items (item_code, name, original_name, external_image_url) VALUES (%s, %s, %s, %s)",
                    [(f"SKU-{number:06d}", f"Item {number}", f"Item {number}", url) for number, url in enumerate(urls)],
                )
