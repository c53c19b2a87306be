"""What this package uses of other libraries without a public interface is still there; after an upgrade, look here."""

import pytest
from google.auth.credentials import AnonymousCredentials
from google.cloud import storage
from pymysql.connections import Connection, MySQLResult


@pytest.mark.parametrize(
    ("owner", "name"),
    [
        (Connection, "_request_authentication"),
        (Connection, "_execute_command"),
        (Connection, "_read_packet"),
        (Connection, "_read_query_result"),
        (Connection, "_force_close"),
        (MySQLResult, "_read_load_local_packet"),
        (MySQLResult, "_read_ok_packet"),
    ],
)
def test_pymysql_still_calls_what_the_guard_against_file_requests_replaces(owner: type, name: str) -> None:
    assert callable(getattr(owner, name, None)), f"PyMySQL has no {owner.__name__}.{name}: see tenants/mysql_client.py"


@pytest.mark.parametrize("name", ["_secure", "_sock", "_read_timeout"])
def test_a_pymysql_connection_still_has_the_attribute(name: str) -> None:
    assert hasattr(Connection(defer_connect=True), name), f"PyMySQL has no {name}: see tenants/mysql_client.py"


@pytest.mark.parametrize("name", ["_http", "_bucket_metadata_cache"])
def test_googles_storage_client_still_has_the_attribute(name: str) -> None:
    client = storage.Client(project="p", credentials=AnonymousCredentials())
    assert hasattr(client, name), f"google-cloud-storage has no {name}: see buckets.py"
