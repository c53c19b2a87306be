"""Dagster's event log storage with one connection that a process keeps: named in each `dagster.yaml`.

Dagster's own class connects anew for each log line, and twice for each materialization: measured, six connections a
tenant, a quarter of the CPU that a small unchanged one takes. What is written stays Dagster's business. An instance
that names Dagster's own class works as well, only slower.
"""

from collections.abc import Mapping
from typing import Any

from dagster_postgres import PostgresEventLogStorage
from typing_extensions import override

from cata_pipeline.orchestration.dagster_internals import (
    ConfigurableClassData,
    get_token_provider_from_config,
    pg_url_from_config,
    postgresql_engine,
)


class KeptConnectionEventLogStorage(PostgresEventLogStorage):
    """Reads and writes over one connection, tested before each use; a thread that finds it in use gets another."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        # Dagster offers a pool to its web server only, and that one does not test its connections.
        self._engine = postgresql_engine(
            self, isolation_level="AUTOCOMMIT", pool_size=1, max_overflow=-1, pool_pre_ping=True
        )

    @classmethod
    @override
    def from_config_value(
        cls, inst_data: ConfigurableClassData | None, config_value: Mapping[str, Any]
    ) -> "KeptConnectionEventLogStorage":
        """Return the storage that a `dagster.yaml` configures; the options are those of Dagster's own class."""
        return cls(
            pg_url_from_config(config_value),
            config_value.get("should_autocreate_tables", True),
            inst_data,
            get_token_provider_from_config(config_value),
        )

    @override
    def dispose(self) -> None:
        """Close the kept connection with the instance."""
        super().dispose()
        self._engine.dispose()
