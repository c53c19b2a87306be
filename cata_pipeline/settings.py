"""The environment, read once, at run time, into one object.

Add a variable here when a run needs something that differs between machines. What differs between
tenants belongs in the registry (`cata_pipeline.tenants`), and nothing here may be read at import.
"""

import base64
import ipaddress
import os
import re
import zoneinfo
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Self, TypeVar
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, PlainValidator, ValidationError, ValidationInfo
from pydantic_core import ErrorDetails, PydanticCustomError
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

from cata_pipeline.errors import SettingsError

Value = TypeVar("Value")

CONTROL_DRIVER = "postgresql+psycopg"
DAGSTER_DRIVER = "postgresql+psycopg2"
TENANT_DRIVERS = ("postgresql+psycopg", "mysql+pymysql")
DEFAULT_TIMEZONE = "Asia/Jakarta"
_KEY_BYTES = 32
_REFUSED_PARAMETERS = frozenset(
    {
        *("password", "passwd", "passfile", "sslpassword", "ssl_key_password"),
        *("sslkey", "service", "servicefile", "read_default_file", "read_default_group"),
    }
)
"""Parameters that hold secrets, or name a file that may hold them or lead elsewhere; drivers quote them in errors."""
_HOST = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9._-]{0,252}[A-Za-z0-9_.])?")
_POSTGRESQL_NAME_BYTES = 63
_MYSQL_NAME_CHARACTERS = 64
_SYSTEM_DATABASES = {
    "postgresql": {"postgres", "template0", "template1"},
    "mysql": {"mysql", "sys", "information_schema", "performance_schema"},
}
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_BUCKET = re.compile(r"[a-z0-9][a-z0-9._-]{1,220}[a-z0-9]")


@dataclass(frozen=True)
class TenantDatabaseTemplate:
    """The URL of a tenant's database, with `{tenant}` where the tenant id goes.

    The text holds a password, so `repr` never shows it.
    """

    text: str = field(repr=False)

    def url(self, tenant_id: str) -> URL:
        """The database URL of one tenant; `tenant_id` is `[A-Za-z0-9_-]{1,64}`, so it needs no escaping."""
        return make_url(self.text.replace("{tenant}", tenant_id))


@dataclass(frozen=True)
class Endpoint:
    """One address and port that may be reached although it is private (or on plain http, or an odd port)."""

    address: ipaddress.IPv4Address | ipaddress.IPv6Address
    port: int


def _database_url(text: str, drivers: tuple[str, ...]) -> URL:
    expected = " or ".join(f"{driver}://" for driver in drivers)
    try:
        url = make_url(text)
    except (ArgumentError, ValueError):
        raise ValueError(f"is not a database URL; expected {expected}user:password@host/database.") from None
    if url.drivername not in drivers:
        raise ValueError(f"starts with {url.drivername}://; expected {expected}.")
    if refused := sorted(_REFUSED_PARAMETERS & {name.lower() for name in url.query}):
        raise ValueError(f"has {', '.join(refused)} after the question mark; expected user:password@ before the host.")
    if text.count("@") > 1 or not all(map(_is_host, _hosts(url))):
        raise ValueError(
            "has a host that cannot be one (not shown, as it may be part of the password); expected a host name or an"
            " address, and in user and password %40 for @, %2F for / and %3A for :."
        )
    if not url.database:
        raise ValueError("names no database; expected one after the host, as in …@host/database.")
    return url


def _hosts(url: URL) -> Iterator[str]:
    """Every host that a driver would connect to."""
    if url.host is not None:
        yield url.host
    for name in ("host", "hostaddr"):
        for value in url.normalized_query.get(name, ()):
            # libpq takes several, and folders of sockets; `host:port` is SQLAlchemy's own.
            yield from (host for host in value.split(",") if not host.startswith("/"))


def _is_host(text: str) -> bool:
    host, _, port = text.partition(":")
    if _HOST.fullmatch(host) and (not port or port.isdecimal()):
        return True
    try:
        ipaddress.ip_address(text.strip("[]"))
    except ValueError:
        return False
    return True


def shown(url: URL) -> str:
    """A database URL fit for a message: no user, no password, no parameters."""
    return f"{url.get_backend_name()}://{url.host or ''}{f':{url.port}' if url.port else ''}/{url.database}"


def database_name_problem(url: URL) -> str | None:
    """Why a tenant cannot have a database of this name to itself; None where it can."""
    engine, name = url.get_backend_name(), url.database or ""
    if name.lower() in _SYSTEM_DATABASES[engine]:
        return f"the database {name} is the server's own"
    if engine == "postgresql" and (size := len(name.encode())) > _POSTGRESQL_NAME_BYTES:
        return f"the database name has {size} bytes, and PostgreSQL cuts it after {_POSTGRESQL_NAME_BYTES}"
    if engine == "mysql" and len(name) > _MYSQL_NAME_CHARACTERS:
        return f"the database name has {len(name)} characters, and MySQL allows {_MYSQL_NAME_CHARACTERS}"
    return None


def parse_dagster_url(text: str) -> URL:
    """The URL of Dagster's storage; raises `ValueError` with a sentence that does not repeat the URL."""
    return _database_url(text, (DAGSTER_DRIVER,))


def _control_url(text: str) -> URL:
    return _database_url(text, (CONTROL_DRIVER,))


def _tenant_template(text: str) -> TenantDatabaseTemplate:
    if "{tenant}" not in text:
        raise ValueError("does not contain {tenant}, so every tenant would share one database.")
    _database_url(text.replace("{tenant}", "tenant"), TENANT_DRIVERS)
    return TenantDatabaseTemplate(text)


def parse_tenant_database_url(text: str) -> URL:
    """A tenant's own database URL; raises `ValueError` with a sentence that does not repeat the URL."""
    return _database_url(text, TENANT_DRIVERS)


def _file(text: str) -> Path:
    path = Path(text).expanduser()
    if not path.is_file():
        raise ValueError(f"is {text!r}, and there is no such file.")
    return path


def _folder(text: str) -> Path:
    path = Path(text)
    if not path.is_absolute() or not path.is_dir():
        raise ValueError(f"is {text!r}, and there is no such folder; expected an absolute path of one.")
    return path.resolve()


def _bucket(text: str) -> str:
    if not _BUCKET.fullmatch(text):
        raise ValueError(f"is {text!r}, which is no bucket name; expected only the name, without gs:// or a path.")
    return text


def _http_origin(text: str) -> str:
    parts = urlsplit(text if "://" in text else f"http://{text}")
    if parts.scheme not in {"http", "https"} or not _is_plain(parts.netloc) or parts.path.strip("/"):
        raise ValueError("is not the origin of a storage emulator; expected http://host:port.")
    return f"{parts.scheme}://{parts.netloc}"


def _base_url(text: str) -> str:
    parts = urlsplit(text)
    if parts.scheme not in {"http", "https"} or not _is_plain(parts.netloc) or parts.query:
        raise ValueError("is not a base URL; expected https://host/path/.")
    return text if text.endswith("/") else f"{text}/"


def _is_plain(netloc: str) -> bool:
    """Whether it is a host and perhaps a port: nothing that could be a user or a password."""
    host, colon, port = netloc.rpartition(":") if not netloc.endswith("]") else (netloc, "", "")
    return _is_host(host if colon else netloc) and (not colon or port.isdecimal())


def _webhook(text: str) -> str:
    parts = urlsplit(text)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError("is not a URL; expected https://host/path (its value is a secret and not shown).")
    return text


def _token_keys(text: str) -> tuple[str, ...]:
    keys = tuple(part.strip() for part in text.split(",") if part.strip())
    for number, key in enumerate(keys, 1):
        try:
            is_key = len(base64.urlsafe_b64decode(key)) == _KEY_BYTES
        except ValueError:
            is_key = False
        if not is_key:
            raise ValueError(
                f"holds, as key {number}, no Fernet key (its value is not shown); expected URL-safe base64 of"
                f" {_KEY_BYTES} bytes, several of them comma separated."
            )
    return keys


def _timezone(text: str) -> str:
    try:
        zoneinfo.ZoneInfo(text)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError(
            f"is {text!r}, which is no IANA time zone; expected a name such as {DEFAULT_TIMEZONE}."
        ) from None
    return text


def _endpoints(text: str) -> frozenset[Endpoint]:
    return frozenset(_endpoint(part.strip()) for part in text.split(",") if part.strip())


def _endpoint(text: str) -> Endpoint:
    address, _, port = text.rpartition(":")
    try:
        parsed = Endpoint(ipaddress.ip_address(address.strip("[]")), int(port))
    except ValueError:
        raise ValueError(
            f"holds {text!r}; expected exact ip:port pairs, comma separated, such as 127.0.0.1:8080."
        ) from None
    if not 0 < parsed.port <= 65535:  # noqa: PLR2004 the largest TCP port
        raise ValueError(f"holds {text!r}, whose port is outside 1 to 65535.")
    return parsed


def _networks(text: str) -> tuple[Network, ...]:
    return tuple(_network(part.strip()) for part in text.split(",") if part.strip())


def _network(text: str) -> Network:
    try:
        return ipaddress.ip_network(text)
    except ValueError as error:
        raise ValueError(
            f"holds {text!r} ({error}); expected networks, comma separated, such as 34.118.224.0/20."
        ) from None


def _for_tests_only(reason: str) -> AfterValidator:
    def check(value: Value, given: ValidationInfo) -> Value:
        if given.data.get("production"):
            raise ValueError(f"is set although CATA_ENV=production: {reason}. Unset one of the two.")
        return value

    return AfterValidator(check)


def _image_base_url(text: str, given: ValidationInfo) -> str:
    return _base_url(text or f"https://storage.googleapis.com/{given.data.get('image_bucket')}/")


def _another_bucket(name: str, given: ValidationInfo) -> str:
    if name == given.data.get("image_bucket"):
        raise PydanticCustomError(
            "both",
            "CATA_IMAGE_BUCKET and CATA_SNAPSHOT_BUCKET both name '{name}':"
            " images are public and snapshots private, so they need two buckets.",
            {"name": name},
        )
    return name


class Settings(BaseModel):
    """Everything a run needs to know about its environment; holds no open connection.

    URLs are SQLAlchemy `URL` objects, whose `repr` hides the password.
    """

    model_config = ConfigDict(frozen=True, arbitrary_types_allowed=True, hide_input_in_errors=True)

    production: Annotated[bool, PlainValidator(lambda text: text.lower() == "production")] = Field(
        default=False, alias="CATA_ENV"
    )
    storage_emulator: Annotated[
        str | None, PlainValidator(_http_origin), _for_tests_only("objects would go to a fake")
    ] = Field(default=None, alias="STORAGE_EMULATOR_HOST")
    private_endpoints: Annotated[
        frozenset[Endpoint], PlainValidator(_endpoints), _for_tests_only("production reaches public addresses only")
    ] = Field(default=frozenset(), alias="CATA_ALLOW_PRIVATE_ENDPOINTS")
    denied_networks: Annotated[tuple[Network, ...], PlainValidator(_networks)] = Field(
        default=(), alias="CATA_DENY_NETWORKS"
    )
    control_database: Annotated[URL, PlainValidator(_control_url)] = Field(alias="CATA_DATABASE_URL")
    tenant_database: Annotated[TenantDatabaseTemplate, PlainValidator(_tenant_template)] = Field(
        alias="CATA_TENANT_DATABASE_URL"
    )
    schema_mapping: Annotated[Path | None, PlainValidator(_file)] = Field(default=None, alias="CATA_SCHEMA_MAPPING")
    image_bucket: Annotated[str, PlainValidator(_bucket)] = Field(alias="CATA_IMAGE_BUCKET")
    snapshot_bucket: Annotated[str, PlainValidator(_bucket), AfterValidator(_another_bucket)] = Field(
        alias="CATA_SNAPSHOT_BUCKET"
    )
    image_base_url: Annotated[str, PlainValidator(_image_base_url)] = Field(
        default="", validate_default=True, alias="CATA_IMAGE_BASE_URL"
    )
    alert_webhook: Annotated[str | None, PlainValidator(_webhook)] = Field(
        default=None, alias="CATA_ALERT_WEBHOOK_URL", repr=False
    )
    dagster_url: Annotated[str | None, PlainValidator(_base_url)] = Field(default=None, alias="CATA_DAGSTER_URL")
    token_keys: Annotated[tuple[str, ...], PlainValidator(_token_keys)] = Field(
        default=(), alias="CATA_TOKEN_KEYS", repr=False
    )
    feed_folder: Annotated[Path | None, PlainValidator(_folder)] = Field(default=None, alias="CATA_FEED_FOLDER")
    timezone: Annotated[str, PlainValidator(_timezone)] = Field(default=DEFAULT_TIMEZONE, alias="CATA_RESYNC_TIMEZONE")

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] | None = None) -> Self:
        """Read and check every variable.

        Raises `SettingsError` with one sentence for each variable that is missing or wrong, never
        with the value of one that may hold a secret.
        """
        given = {name: text.strip() for name, text in (os.environ if environ is None else environ).items()}
        try:
            return cls.model_validate({name: text for name, text in given.items() if text})
        except ValidationError as error:
            raise SettingsError([_problem(found) for found in error.errors()]) from None


def _problem(error: ErrorDetails) -> str:
    match error["type"]:
        case "missing":
            return f"{error['loc'][0]} is not set."
        case "value_error":
            return f"{error['loc'][0]} {error['ctx']['error']}"
    return error["msg"]


def resync_timezone(environ: Mapping[str, str] | None = None) -> str:
    """The schedule's time zone: the one value Dagster needs while it loads the definitions.

    A wrong value falls back to the default here and is reported by `Settings.from_environment` at run time,
    so that definitions always load.
    """
    text = (os.environ if environ is None else environ).get("CATA_RESYNC_TIMEZONE", "").strip()
    try:
        return _timezone(text) if text else DEFAULT_TIMEZONE
    except ValueError:
        return DEFAULT_TIMEZONE


def feed_folder(environ: Mapping[str, str] | None = None) -> Path | None:
    """Where the files are that feeds may be read from; None where none may. Raises `SettingsError`.

    Beside the settings object, because a provider is given no settings.
    """
    return _only("CATA_FEED_FOLDER", _folder, environ)


def dagster_url(environ: Mapping[str, str] | None = None) -> str | None:
    """The address of the Dagster UI, None where it has only loopback ones. Raises `SettingsError`.

    Beside the settings object, because the webserver has none of the other variables.
    """
    return _only("CATA_DAGSTER_URL", _base_url, environ)


def _only(name: str, parse: Callable[[str], Value], environ: Mapping[str, str] | None) -> Value | None:
    text = (os.environ if environ is None else environ).get(name, "").strip()
    try:
        return parse(text) if text else None
    except ValueError as error:
        raise SettingsError([f"{name} {error}"]) from None
