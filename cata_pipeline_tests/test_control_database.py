"""The control database: migrated by whoever comes first, and clear words when it cannot be."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy.engine import URL, Engine

import cata_pipeline
from cata_pipeline.control import database, migrations
from cata_pipeline.control.database import HEAD, ControlDatabaseError, open_control_database
from cata_pipeline.control.schema import metadata, tenants

PROJECT = Path(cata_pipeline.__path__[0]).parent


@pytest.fixture
def empty(new_database: Callable[..., URL]) -> Iterator[URL]:
    """The address of an empty database; whatever was opened there is closed in the end."""
    url = new_database()
    yield url
    database._engine(url).dispose()


def alembic_config() -> Config:
    config = Config()
    config.set_main_option("script_location", migrations.__path__[0])
    return config


def revisions(engine: Engine) -> list[str]:
    with engine.connect() as connection:
        return list(connection.scalars(sa.text("SELECT version_num FROM alembic_version")))


def test_the_first_use_of_an_empty_database_makes_every_table(empty: URL) -> None:
    engine = open_control_database(empty)
    assert set(sa.inspect(engine).get_table_names()) == {*metadata.tables, "alembic_version"}
    assert revisions(engine) == [HEAD]


def test_a_process_migrates_and_connects_once(empty: URL) -> None:
    assert open_control_database(empty) is open_control_database(empty)


def test_several_processes_at_once_migrate_an_empty_database_once(empty: URL) -> None:
    program = (
        "import sys, sqlalchemy; from cata_pipeline.control.database import open_control_database;"
        "url = sqlalchemy.make_url(sys.argv[1]); sys.stdin.readline(); open_control_database(url).dispose()"
    )
    arguments = [sys.executable, "-c", program, empty.render_as_string(hide_password=False)]
    processes = [
        subprocess.Popen(arguments, stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=PROJECT)
        for _ in range(4)
    ]
    for process in processes:
        assert process.stdin
        process.stdin.write("\n")
        process.stdin.flush()
    errors = [process.communicate()[1] for process in processes]
    assert [(process.returncode, error) for process, error in zip(processes, errors, strict=True)] == [(0, "")] * 4
    assert revisions(open_control_database(empty)) == [HEAD]


def test_the_revisions_make_exactly_the_tables_of_the_schema(empty: URL) -> None:
    with open_control_database(empty).connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": True})
        assert compare_metadata(context, metadata) == []


def test_a_difference_between_revisions_and_schema_would_be_found(empty: URL) -> None:
    engine = open_control_database(empty)
    with engine.begin() as connection:
        connection.execute(sa.text("ALTER TABLE tenants ADD COLUMN colour text"))
    with engine.connect() as connection:
        assert len(compare_metadata(MigrationContext.configure(connection), metadata)) == 1


def test_the_head_in_the_code_is_the_newest_revision() -> None:
    assert ScriptDirectory.from_config(alembic_config()).get_heads() == [HEAD]


def test_a_database_of_a_newer_version_is_refused_and_left_alone(empty: URL) -> None:
    engine = open_control_database(empty)
    with engine.begin() as connection:
        connection.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))
    database._migrated_engine.cache_clear()
    with pytest.raises(
        ControlDatabaseError, match=rf"at revision 9999, .* newest is {HEAD}\). Install the newer version"
    ):
        open_control_database(empty)
    assert revisions(engine) == ["9999"]


def test_a_server_that_cannot_be_reached_is_told_without_the_password() -> None:
    url = sa.make_url("postgresql+psycopg://cata:hunter2-hunter2@127.0.0.1:1/cata")
    with pytest.raises(ControlDatabaseError) as caught:
        open_control_database(url)
    message = str(caught.value)
    assert message.startswith("The control database postgresql+psycopg://cata:***@127.0.0.1:1/cata cannot be reached: ")
    assert message.endswith("Check CATA_DATABASE_URL and that the server runs.")
    assert "hunter2" not in message


def test_a_database_that_does_not_exist_is_told_by_name(empty: URL) -> None:
    with pytest.raises(ControlDatabaseError, match='database "no_such" does not exist'):
        open_control_database(empty.set(database="no_such"))


def test_a_server_that_was_away_is_asked_again(new_database: Callable[..., URL]) -> None:
    url = new_database().set(database="comes_later")
    with pytest.raises(ControlDatabaseError):
        open_control_database(url)
    new_database("comes_later")
    engine = open_control_database(url)
    assert revisions(engine) == [HEAD]
    engine.dispose()


def test_a_database_of_an_older_version_is_brought_up_to_date_and_keeps_its_rows(empty: URL) -> None:
    engine = database._engine(empty)
    with engine.begin() as connection:
        config = alembic_config()
        config.attributes["connection"] = connection
        command.upgrade(config, "0001")
        connection.execute(sa.text("INSERT INTO image_urls (tenant_id, url_sha256, url) VALUES ('kopi', 'x', 'u')"))
    with open_control_database(empty).connect() as connection:
        kept = connection.execute(sa.text("SELECT tenant_id, url, item_code, items FROM image_urls")).one()
    assert tuple(kept) == ("kopi", "u", None, None)
    assert revisions(engine) == [HEAD]


def test_snapshots_of_an_older_version_are_numbered_by_their_times_and_new_ones_follow(empty: URL) -> None:
    engine = database._engine(empty)
    record = sa.text(
        "INSERT INTO snapshots (id, tenant_id, provider, path, items, rejected, duplicates, bytes, content_hash,"
        " run_id, fetched_at) VALUES (:id, 'kopi', 'iseller', :id, 1, 0, 0, 1, 'x', 'r', :fetched_at)"
    )
    with engine.begin() as connection:
        config = alembic_config()
        config.attributes["connection"] = connection
        command.upgrade(config, "0007")
        for id_, fetched_at in (("second", "2026-02-02"), ("first", "2026-01-01")):
            connection.execute(record, {"id": id_, "fetched_at": fetched_at})
    with open_control_database(empty).begin() as connection:
        connection.execute(record, {"id": "third", "fetched_at": "2025-01-01"})
        ids = connection.scalars(sa.text("SELECT id FROM snapshots ORDER BY number"))
        assert list(ids) == ["first", "second", "third"]


def test_reasons_of_runs_are_added_without_writing_the_table_anew_and_older_code_still_records_its_runs(
    empty: URL,
) -> None:
    engine = database._engine(empty)
    record = "INSERT INTO tenant_runs (tenant_id, kind, run_id, started_at) VALUES ('kopi', 'sync', 'r', now())"
    file = "SELECT pg_relation_filenode('tenant_runs')"
    with engine.begin() as connection:
        config = alembic_config()
        config.attributes["connection"] = connection
        command.upgrade(config, "0002")
        connection.execute(sa.text(record))
        before = connection.scalar(sa.text(file))
    with open_control_database(empty).begin() as connection:
        connection.execute(sa.text(record))
        assert connection.scalar(sa.text(file)) == before
        rows = connection.execute(sa.text("SELECT error_kind, skipped FROM tenant_runs"))
        assert [tuple(row) for row in rows] == [(None, None)] * 2


def test_refresh_tokens_are_kept_and_a_process_of_the_version_before_reads_none_before_it_exchanges(
    empty: URL,
) -> None:
    engine = database._engine(empty)
    keep = "INSERT INTO provider_tokens (tenant_id, first_sha256, sealed) VALUES ('kopi', 'f', 's')"
    with engine.begin() as connection:
        config = alembic_config()
        config.attributes["connection"] = connection
        command.upgrade(config, "0004")
        connection.execute(sa.text(keep))
    with open_control_database(empty).connect() as connection:
        kept = connection.execute(sa.text("SELECT tenant_id, first_sha256, sealed, generation FROM refresh_tokens"))
        assert [tuple(row) for row in kept] == [("kopi", b"f", b"s", 1)]
        with pytest.raises(sa.exc.ProgrammingError, match="provider_tokens"):
            connection.execute(sa.text("SELECT sealed FROM provider_tokens"))


def test_every_revision_can_be_taken_back(empty: URL) -> None:
    engine = open_control_database(empty)
    with engine.begin() as connection:
        config = alembic_config()
        config.attributes["connection"] = connection
        command.downgrade(config, "base")
    assert sa.inspect(engine).get_table_names() == ["alembic_version"]
    assert revisions(engine) == []


def test_a_refused_statement_never_shows_its_values(control: sa.Engine) -> None:
    row = {"id": "kopi-kita", "provider": "\0", "credentials": "env:X", "database_url": "mysql+pymysql://u:s3cret@h/d"}
    with pytest.raises(sa.exc.DBAPIError) as error, control.begin() as connection:
        connection.execute(tenants.insert().values(**row))
    assert "s3cret" not in str(error.value)
