"""`cata-pipeline dev` as a data engineer uses it: one terminal runs it, the UI and a second terminal do the rest."""

import hashlib
import re
import signal
import socket
import subprocess
import tomllib
from collections.abc import Iterator, Mapping
from importlib import resources
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
import sqlalchemy as sa
from psycopg import sql

from cata_pipeline.demo.menus import KOPI_KITA
from cata_pipeline_tests.integration.dev_server import PATIENCE_SECONDS, PROGRAM, Dev, running_dev

NEW_TENANT = "kopi-kita-two"


@pytest.fixture(scope="module")
def dev() -> Iterator[Dev]:
    with running_dev() as running:
        yield running


def make_database(environment: Mapping[str, str], tenant_id: str) -> sa.URL:
    """What the neighbour service does for a new merchant; returns the database's URL."""
    url = sa.make_url(environment["CATA_TENANT_DATABASE_URL"].replace("{tenant}", tenant_id))
    plain = url.set(drivername="postgresql")
    with psycopg.connect(
        plain.set(database="postgres").render_as_string(hide_password=False), autocommit=True
    ) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(str(url.database))))
    schema = resources.files("cata_pipeline.demo").joinpath("tenant_schema_postgresql.sql").read_text()
    with psycopg.connect(plain.render_as_string(hide_password=False)) as connection:
        connection.execute(schema.encode())
    return url


def tenants_file(dev: Dev, tenant_id: str) -> Path:
    """A file that registers one more tenant, at the store of the demo's first one."""
    first = tomllib.loads((dev.state / "tenants.toml").read_text())["tenants"][0]
    assert first["id"] == KOPI_KITA.tenant_id
    file = dev.folder / "one-more.toml"
    file.write_text(
        f'[[tenants]]\nid = "{tenant_id}"\nprovider = "iseller"\ncredentials = "{first["credentials"]}"\n'
        "[tenants.options]\n"
        f'store_url = "{first["options"]["store_url"]}"\ntoken_url = "{first["options"]["token_url"]}"\n'
    )
    return file


def items(url: sa.URL) -> list[dict[str, Any]]:
    engine = sa.create_engine(url, poolclass=sa.NullPool)
    with engine.connect() as connection:
        statement = sa.text("SELECT item_code, external_image_url, main_image_url FROM items")
        return [dict(row) for row in connection.execute(statement).mappings()]


def copies(url: sa.URL, without: set[str]) -> dict[str, str] | None:
    """The paths of all copies by item code, once only these items lack one."""
    pictured = {row["item_code"]: row["main_image_url"] for row in items(url) if row["external_image_url"]}
    return pictured if {code for code, path in pictured.items() if path is None} == without else None


def test_a_registered_tenant_is_synced_and_its_pictures_follow_by_themselves(dev: Dev) -> None:
    demo = dev.wait_for("the partitions of the demo's tenants", dev.partitions)
    assert sorted(demo) == ["kopi-kita", "roti-pagi", "warung-nusantara"]

    environment = dev.environment()
    url = make_database(environment, NEW_TENANT)
    told = subprocess.run(
        [PROGRAM, "tenants", "import", str(tenants_file(dev, NEW_TENANT))],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (told.returncode, told.stdout, told.stderr) == (0, f"added: {NEW_TENANT}\n", "")
    keys = dev.wait_for("the new tenant's partition", lambda: dev.partitions() if len(dev.partitions()) > 3 else None)
    assert keys == [*demo, NEW_TENANT]

    first_sync = [{"key": "dagster/partition", "value": NEW_TENANT}, {"key": "trigger", "value": "first sync"}]
    dev.wait_for("the first sync", lambda: dev.finished_run(tags=first_sync))
    codes = {product.item_code for product in KOPI_KITA.products if product.name}
    assert {row["item_code"] for row in items(url)} == codes

    expected = {KOPI_KITA.cases.broken_picture, KOPI_KITA.cases.missing_picture}
    pictured = dev.wait_for("the image copy", lambda: copies(url, without=expected))
    with httpx.Client(base_url=environment["CATA_IMAGE_BASE_URL"], trust_env=False) as bucket:
        for path in filter(None, pictured.values()):
            picture = bucket.get(path).raise_for_status()
            assert path.startswith(f"{NEW_TENANT}/items/{hashlib.sha256(picture.content).hexdigest()}.")


def test_what_dagster_logs_reaches_the_terminal_escaped(dev: Dev) -> None:
    dev.wait_for("the UI", dev.partitions)
    dev.launch("kopi\u202e\x1b]0;title")
    dev.wait_for("the failure in the log", lambda: "Partition range kopi\\u202e\\x1b]0;" in dev.log.read_text())
    assert not re.search("[\u202e\x1b]", dev.log.read_text())


def test_a_port_that_is_taken_while_dagster_starts_ends_everything_with_a_sentence() -> None:
    with running_dev() as dev:
        dev.wait_for("the announcement", lambda: "Dagster UI: " in dev.log.read_text())
        with socket.create_server(("127.0.0.1", dev.port)):
            assert dev.process.wait(PATIENCE_SECONDS) == 2, dev.log_end()
        last = dev.log.read_text().splitlines()[-1]
        assert last.startswith(
            f"Error: The Dagster UI cannot have port {dev.port} of 127.0.0.1: Address already in use."
        )
        assert "--port" in last
        assert dev.processes() == []


def test_a_termination_signal_lets_the_run_under_way_finish_and_ends_everything(dev: Dev) -> None:
    dev.wait_for("the UI", dev.partitions)
    run_id = dev.launch(KOPI_KITA.tenant_id)
    dev.wait_for("the run's start", lambda: dev.has_run(runIds=[run_id], statuses=["STARTED", "SUCCESS"]))
    names = {process.name() for process in dev.processes()}
    assert any("postgres" in name for name in names)
    assert any("gcs" in name for name in names)
    dev.process.send_signal(signal.SIGTERM)
    assert dev.process.wait(PATIENCE_SECONDS) == 0, dev.log_end()
    assert [" ".join(process.cmdline()) for process in dev.processes()] == []
    assert f"Synced {KOPI_KITA.tenant_id}: " in dev.log.read_text(), dev.log_end()
