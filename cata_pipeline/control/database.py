"""Opens the control database, and brings its tables up to date first.

Whichever command, run or sensor comes first migrates; the others wait on an advisory lock and then find
nothing to do. Once a process has seen the head revision it does not ask again.
"""

import functools
import threading
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.engine import URL, Connection, Engine
from sqlalchemy.exc import OperationalError, ProgrammingError

from cata_pipeline.errors import CataError
from cata_pipeline.foreign_text import one_line

HEAD = "0010"
"""The newest revision; a test holds it against the migrations folder, so that checking needs no Alembic import."""

_MIGRATION_LOCK = 0x63617461  # any constant that no other program uses in this database
_CONNECT_SECONDS = 10
_opening = threading.Lock()


class ControlDatabaseError(CataError):
    """The control database cannot be reached or migrated; no tenant can be served without it."""

    kind = "control"


@functools.cache
def _engine(url: URL) -> Engine:
    return sa.create_engine(
        url,
        pool_size=8,
        # Every tenant being served holds one connection for its lock and needs another now and then: with a limit,
        # enough tenants at once would wait for each other for ever.
        max_overflow=-1,
        pool_pre_ping=True,
        # Parameters can hold a tenant's own database URL, and with it a password.
        hide_parameters=True,
        connect_args={
            "connect_timeout": _CONNECT_SECONDS,
            "application_name": "cata_pipeline",
            "keepalives_idle": 30,
            "keepalives_interval": 10,
            "keepalives_count": 3,
            "tcp_user_timeout": 60_000,
        },
    )


@functools.cache
def _migrated_engine(url: URL) -> Engine:
    engine = _engine(url)
    try:
        with engine.begin() as connection:
            _migrate(connection)
    except OperationalError as error:
        shown = url.set(query={}).render_as_string(hide_password=True)
        raise ControlDatabaseError(
            f"The control database {shown} cannot be reached: {_first_line(error)}."
            " Check CATA_DATABASE_URL and that the server runs."
        ) from error
    return engine


def open_control_database(url: URL) -> Engine:
    """The engine of the control database, its tables at the head revision.

    Raises `ControlDatabaseError` when the server cannot be reached or holds a newer revision than this code.
    """
    with _opening:
        return _migrated_engine(url)


def _migrate(connection: Connection) -> None:
    if _revision(connection) == HEAD:
        return
    from alembic import command
    from alembic.config import Config
    from alembic.util import CommandError

    connection.execute(sa.text("SELECT pg_advisory_xact_lock(:key)"), {"key": _MIGRATION_LOCK})
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.attributes["connection"] = connection
    try:
        command.upgrade(config, "head")
    except CommandError as error:
        raise ControlDatabaseError(
            f"The control database is at revision {_revision(connection)}, which this version of cata_pipeline does not"
            f" know (its newest is {HEAD}). Install the newer version; nothing was changed."
        ) from error


def _revision(connection: Connection) -> str | None:
    try:
        with connection.begin_nested():
            return connection.execute(sa.text("SELECT version_num FROM alembic_version")).scalar_one_or_none()
    except ProgrammingError:
        return None


def _first_line(error: OperationalError) -> str:
    return one_line(str(error.orig).strip().partition("\n")[0]).rstrip(".")
