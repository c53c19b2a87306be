"""The environment: what is read, what is refused, and that no secret is ever told."""

import ipaddress
from pathlib import Path

import pytest
from cryptography.fernet import Fernet

from cata_pipeline.errors import SettingsError
from cata_pipeline.settings import (
    Endpoint,
    Settings,
    database_name_problem,
    feed_folder,
    parse_dagster_url,
    parse_tenant_database_url,
    resync_timezone,
)

SECRET = "hunter2-hunter2"
COMPLETE = {
    "CATA_DATABASE_URL": f"postgresql+psycopg://cata:{SECRET}@db/cata",
    "CATA_TENANT_DATABASE_URL": f"mysql+pymysql://cata:{SECRET}@db/tenant{{tenant}}",
    "CATA_IMAGE_BUCKET": "images",
    "CATA_SNAPSHOT_BUCKET": "snapshots",
}
TENANT_URL_EXPECTED = "expected postgresql+psycopg:// or mysql+pymysql://"


def problems(**changes: str) -> list[str]:
    with pytest.raises(SettingsError) as caught:
        Settings.from_environment({**COMPLETE, **changes})
    assert str(caught.value) == "\n".join(caught.value.problems)
    assert SECRET not in str(caught.value)
    return caught.value.problems


@pytest.mark.parametrize("text", ["hush", "hush," * 3, f"{'A' * 43}=,hush"])
def test_a_token_key_that_is_none_is_named_by_its_place_and_not_shown(text: str) -> None:
    with pytest.raises(SettingsError, match=r"CATA_TOKEN_KEYS holds, as key [12], no Fernet key") as caught:
        Settings.from_environment({**COMPLETE, "CATA_TOKEN_KEYS": text})
    assert "hush" not in str(caught.value)


def test_token_keys_are_read_in_order_and_never_shown() -> None:
    first, second = f"{'A' * 43}=", f"{'B' * 43}="
    settings = Settings.from_environment({**COMPLETE, "CATA_TOKEN_KEYS": f"{first}, {second}"})
    assert settings.token_keys == (first, second)
    assert first not in repr(settings)


@pytest.mark.parametrize(
    "text", [f"{'A' * 43}=", f"{'A' * 43}=====", f"{'_-' * 21}A=", f"{'/+' * 21}A=", f"A\t{'A' * 42}="]
)
def test_every_token_key_that_is_accepted_can_seal(text: str) -> None:
    for key in Settings.from_environment({**COMPLETE, "CATA_TOKEN_KEYS": text}).token_keys:
        Fernet(key).encrypt(b"token")


def test_four_variables_are_enough() -> None:
    settings = Settings.from_environment(COMPLETE)
    assert settings.control_database.render_as_string(hide_password=False) == COMPLETE["CATA_DATABASE_URL"]
    assert (settings.image_bucket, settings.snapshot_bucket) == ("images", "snapshots")
    assert settings.image_base_url == "https://storage.googleapis.com/images/"
    assert settings.storage_emulator is None
    assert settings.private_endpoints == frozenset()
    assert settings.denied_networks == ()
    assert settings.alert_webhook is None
    assert settings.dagster_url is None
    assert settings.timezone == "Asia/Jakarta"
    assert settings.production is False


def test_a_schema_mapping_that_is_not_there_is_named(tmp_path: Path) -> None:
    there = tmp_path / "mapping.toml"
    there.touch()
    assert Settings.from_environment({**COMPLETE, "CATA_SCHEMA_MAPPING": str(there)}).schema_mapping == there
    assert problems(CATA_SCHEMA_MAPPING="gone.toml") == [
        "CATA_SCHEMA_MAPPING is 'gone.toml', and there is no such file."
    ]


def test_the_process_environment_is_read_when_none_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in COMPLETE.items():
        monkeypatch.setenv(name, value)
    assert Settings.from_environment() == Settings.from_environment(COMPLETE)


def test_the_template_gives_each_tenant_its_own_database() -> None:
    template = Settings.from_environment(COMPLETE).tenant_database
    url = template.url("Kopi_kita-2")
    assert (url.drivername, url.database, url.password) == ("mysql+pymysql", "tenantKopi_kita-2", SECRET)


def test_every_optional_variable_is_read() -> None:
    settings = Settings.from_environment(
        {
            **COMPLETE,
            "CATA_IMAGE_BASE_URL": "https://cdn.example/pictures",
            "STORAGE_EMULATOR_HOST": "127.0.0.1:4443",
            "CATA_ALLOW_PRIVATE_ENDPOINTS": "127.0.0.1:8080, [::1]:9,",
            "CATA_DENY_NETWORKS": "34.118.224.0/20, 2a01:db9::/32, 8.8.8.8,",
            "CATA_ALERT_WEBHOOK_URL": f"https://hooks.example/{SECRET}",
            "CATA_DAGSTER_URL": "https://dagster.example/catalog",
            "CATA_RESYNC_TIMEZONE": "Europe/Berlin",
            "CATA_ENV": "staging",
        }
    )
    assert settings.image_base_url == "https://cdn.example/pictures/"
    assert settings.storage_emulator == "http://127.0.0.1:4443"
    assert settings.private_endpoints == {
        Endpoint(ipaddress.ip_address("127.0.0.1"), 8080),
        Endpoint(ipaddress.ip_address("::1"), 9),
    }
    assert settings.denied_networks == (
        ipaddress.ip_network("34.118.224.0/20"),
        ipaddress.ip_network("2a01:db9::/32"),
        ipaddress.ip_network("8.8.8.8/32"),
    )
    assert settings.alert_webhook == f"https://hooks.example/{SECRET}"
    assert settings.dagster_url == "https://dagster.example/catalog/"
    assert settings.timezone == "Europe/Berlin"
    assert settings.production is False


@pytest.mark.parametrize("name", COMPLETE)
@pytest.mark.parametrize("value", ["", " \n"])
def test_a_missing_variable_is_named(name: str, value: str) -> None:
    assert problems(**{name: value}) == [f"{name} is not set."]


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        (
            "CATA_DATABASE_URL",
            f"postgresql://u:{SECRET}@db/cata",
            "starts with postgresql://; expected postgresql+psycopg://.",
        ),
        (
            "CATA_DATABASE_URL",
            f"mysql+pymysql://u:{SECRET}@db/cata",
            "starts with mysql+pymysql://; expected postgresql+psycopg://.",
        ),
        (
            "CATA_DATABASE_URL",
            f"u:{SECRET}@db/cata",
            "is not a database URL; expected postgresql+psycopg://user:password@host/database.",
        ),
        (
            "CATA_DATABASE_URL",
            f"postgresql+psycopg://u:{SECRET}@db:x/cata",
            "is not a database URL; expected postgresql+psycopg://user:password@host/database.",
        ),
        (
            "CATA_DATABASE_URL",
            f"postgresql+psycopg://u:{SECRET}@db",
            "names no database; expected one after the host, as in …@host/database.",
        ),
        (
            "CATA_TENANT_DATABASE_URL",
            f"mysql+pymysql://u:{SECRET}@db/tenant",
            "does not contain {tenant}, so every tenant would share one database.",
        ),
        ("CATA_TENANT_DATABASE_URL", f"sqlite:///{SECRET}{{tenant}}", f"starts with sqlite://; {TENANT_URL_EXPECTED}."),
        (
            "CATA_TENANT_DATABASE_URL",
            f"{SECRET}{{tenant}}",
            f"is not a database URL; {TENANT_URL_EXPECTED}user:password@host/database.",
        ),
        (
            "CATA_IMAGE_BUCKET",
            "gs://images",
            "is 'gs://images', which is no bucket name; expected only the name, without gs:// or a path.",
        ),
        (
            "CATA_SNAPSHOT_BUCKET",
            "Snapshots",
            "is 'Snapshots', which is no bucket name; expected only the name, without gs:// or a path.",
        ),
        (
            "CATA_SNAPSHOT_BUCKET",
            "a/b",
            "is 'a/b', which is no bucket name; expected only the name, without gs:// or a path.",
        ),
        ("CATA_IMAGE_BASE_URL", "cdn.example", "is not a base URL; expected https://host/path/."),
        ("CATA_IMAGE_BASE_URL", f"https://u:{SECRET}@cdn.example/", "is not a base URL; expected https://host/path/."),
        ("CATA_IMAGE_BASE_URL", "https://cdn.example/?x=1", "is not a base URL; expected https://host/path/."),
        (
            "STORAGE_EMULATOR_HOST",
            "http://127.0.0.1:4443/storage",
            "is not the origin of a storage emulator; expected http://host:port.",
        ),
        (
            "STORAGE_EMULATOR_HOST",
            "ftp://127.0.0.1",
            "is not the origin of a storage emulator; expected http://host:port.",
        ),
        (
            "STORAGE_EMULATOR_HOST",
            f"http://u:{SECRET}@h:1",
            "is not the origin of a storage emulator; expected http://host:port.",
        ),
        (
            "CATA_ALLOW_PRIVATE_ENDPOINTS",
            "127.0.0.1",
            "holds '127.0.0.1'; expected exact ip:port pairs, comma separated, such as 127.0.0.1:8080.",
        ),
        (
            "CATA_ALLOW_PRIVATE_ENDPOINTS",
            "localhost:80",
            "holds 'localhost:80'; expected exact ip:port pairs, comma separated, such as 127.0.0.1:8080.",
        ),
        (
            "CATA_ALLOW_PRIVATE_ENDPOINTS",
            "10.0.0.0/8:80",
            "holds '10.0.0.0/8:80'; expected exact ip:port pairs, comma separated, such as 127.0.0.1:8080.",
        ),
        ("CATA_ALLOW_PRIVATE_ENDPOINTS", "127.0.0.1:0", "holds '127.0.0.1:0', whose port is outside 1 to 65535."),
        (
            "CATA_ALLOW_PRIVATE_ENDPOINTS",
            "127.0.0.1:65536",
            "holds '127.0.0.1:65536', whose port is outside 1 to 65535.",
        ),
        (
            "CATA_DENY_NETWORKS",
            "34.118.224.0/20, gke",
            (
                "holds 'gke' ('gke' does not appear to be an IPv4 or IPv6 network);"
                " expected networks, comma separated, such as 34.118.224.0/20."
            ),
        ),
        (
            "CATA_DENY_NETWORKS",
            "34.118.224.1/20",
            (
                "holds '34.118.224.1/20' (34.118.224.1/20 has host bits set);"
                " expected networks, comma separated, such as 34.118.224.0/20."
            ),
        ),
        (
            "CATA_DENY_NETWORKS",
            "10.0.0.0/33",
            (
                "holds '10.0.0.0/33' ('10.0.0.0/33' does not appear to be an IPv4 or IPv6 network);"
                " expected networks, comma separated, such as 34.118.224.0/20."
            ),
        ),
        (
            "CATA_ALERT_WEBHOOK_URL",
            SECRET,
            "is not a URL; expected https://host/path (its value is a secret and not shown).",
        ),
        ("CATA_DAGSTER_URL", "dagster.example", "is not a base URL; expected https://host/path/."),
        ("CATA_DAGSTER_URL", f"https://u:{SECRET}@dagster.example/", "is not a base URL; expected https://host/path/."),
        (
            "CATA_RESYNC_TIMEZONE",
            "Jakarta",
            "is 'Jakarta', which is no IANA time zone; expected a name such as Asia/Jakarta.",
        ),
        (
            "CATA_RESYNC_TIMEZONE",
            "../etc/passwd",
            "is '../etc/passwd', which is no IANA time zone; expected a name such as Asia/Jakarta.",
        ),
    ],
)
def test_a_wrong_variable_is_named_with_what_is_expected(name: str, value: str, expected: str) -> None:
    assert problems(**{name: value}) == [f"{name} {expected}"]


def test_one_bucket_for_images_and_snapshots_is_refused() -> None:
    [problem] = problems(CATA_SNAPSHOT_BUCKET="images")
    assert problem.startswith("CATA_IMAGE_BUCKET and CATA_SNAPSHOT_BUCKET both name 'images'")


@pytest.mark.parametrize("env", ["production", " Production "])
@pytest.mark.parametrize(
    ("name", "value"),
    [("STORAGE_EMULATOR_HOST", "http://127.0.0.1:4443"), ("CATA_ALLOW_PRIVATE_ENDPOINTS", "127.0.0.1:8080")],
)
def test_production_refuses_what_is_for_tests(env: str, name: str, value: str) -> None:
    [problem] = problems(CATA_ENV=env, **{name: value})
    assert problem.startswith(f"{name} is set although CATA_ENV=production")


def test_production_takes_the_same_settings_otherwise() -> None:
    settings = Settings.from_environment(
        {**COMPLETE, "CATA_ENV": "production", "CATA_DENY_NETWORKS": "34.118.224.0/20"}
    )
    assert settings.production is True
    assert settings.denied_networks == (ipaddress.ip_network("34.118.224.0/20"),)


def test_every_problem_is_told_at_once() -> None:
    with pytest.raises(SettingsError) as caught:
        Settings.from_environment(
            {
                "CATA_ENV": "production",
                "STORAGE_EMULATOR_HOST": "http://127.0.0.1:1",
                "CATA_TENANT_DATABASE_URL": "x",
                "CATA_RESYNC_TIMEZONE": "x",
            }
        )
    assert [problem.split(" ")[0] for problem in caught.value.problems] == [
        "STORAGE_EMULATOR_HOST",
        "CATA_DATABASE_URL",
        "CATA_TENANT_DATABASE_URL",
        "CATA_IMAGE_BUCKET",
        "CATA_SNAPSHOT_BUCKET",
        "CATA_RESYNC_TIMEZONE",
    ]


def test_settings_never_show_a_secret() -> None:
    settings = Settings.from_environment({**COMPLETE, "CATA_ALERT_WEBHOOK_URL": f"https://hooks.example/{SECRET}"})
    shown = f"{settings!r} {settings} {settings.tenant_database!r} {settings.tenant_database.url('a')!r}"
    assert "images" in shown
    assert SECRET not in shown


def test_a_tenant_database_url_that_is_wrong_is_told_and_not_repeated() -> None:
    with pytest.raises(ValueError, match="expected") as caught:
        parse_tenant_database_url(f"postgresql://u:{SECRET}@h/d")
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({}, "Asia/Jakarta"),
        ({"CATA_RESYNC_TIMEZONE": "Europe/Berlin"}, "Europe/Berlin"),
        ({"CATA_RESYNC_TIMEZONE": "Nowhere/Else"}, "Asia/Jakarta"),
    ],
)
def test_the_time_zone_of_the_schedule_never_stops_the_definitions(environ: dict[str, str], expected: str) -> None:
    assert resync_timezone(environ) == expected


@pytest.mark.parametrize(
    "parameter",
    ["password", "passwd", "passfile", "sslpassword", "ssl_key_password", "sslkey", "service", "read_default_file"],
)
def test_a_parameter_that_holds_or_leads_to_a_secret_is_refused(parameter: str) -> None:
    url = f"postgresql+psycopg://cata@db/cata?{parameter}={SECRET}"
    assert problems(CATA_DATABASE_URL=url) == [
        f"CATA_DATABASE_URL has {parameter} after the question mark; expected user:password@ before the host."
    ]


def test_a_folder_for_feeds_is_one_that_is_there(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path)
    given = {"CATA_FEED_FOLDER": str(tmp_path / "link")}
    assert feed_folder(given) == Settings.from_environment({**COMPLETE, **given}).feed_folder == tmp_path.resolve()
    assert feed_folder({}) is None
    for wrong in ("feeds", str(tmp_path / "gone"), __file__):
        told = f"CATA_FEED_FOLDER is {wrong!r}, and there is no such folder; expected an absolute path of one."
        assert problems(CATA_FEED_FOLDER=wrong) == [told]
        with pytest.raises(SettingsError, match="CATA_FEED_FOLDER is"):
            feed_folder({"CATA_FEED_FOLDER": wrong})


@pytest.mark.parametrize(
    "url",
    [
        f"postgresql+psycopg://cata:start@{SECRET}@db/cata",
        f"postgresql+psycopg://cata:start@{SECRET}/more@db/cata",
        f"postgresql+psycopg://cata:start@{SECRET}?more@db/cata",
        f"postgresql+psycopg://cata:start/{SECRET}@more@db/cata",
        f"postgresql+psycopg://cata@{SECRET}!db/cata",
        f"postgresql+psycopg://cata@db/cata?host={SECRET}%40db",
    ],
)
def test_a_host_that_may_be_part_of_a_password_is_refused_and_not_shown(url: str) -> None:
    [control] = problems(CATA_DATABASE_URL=url)
    [template] = problems(CATA_TENANT_DATABASE_URL=url.replace("/cata", "/{tenant}"))
    with pytest.raises(ValueError, match="expected a host name") as tenant:
        parse_tenant_database_url(url)
    with pytest.raises(ValueError, match="expected a host name") as dagster:
        parse_dagster_url(url.replace("psycopg", "psycopg2"))
    for text in (control, template, str(tenant.value), str(dagster.value)):
        assert "%40 for @" in text
        assert SECRET not in text


@pytest.mark.parametrize(
    "place",
    ["db", "db-1.example.:5432", "127.0.0.1", "[::1]:5432", "", "p%40ss:w%2Frd@db"],
)
def test_ordinary_hosts_and_escaped_passwords_are_accepted(place: str) -> None:
    for query in ("", "?host=/run/postgresql", "?host=a,b&port=1,2"):
        assert parse_tenant_database_url(f"postgresql+psycopg://{place}/shop{query}").database == "shop"


@pytest.mark.parametrize("name", ["CATA_DAGSTER_URL", "CATA_IMAGE_BASE_URL", "STORAGE_EMULATOR_HOST"])
@pytest.mark.parametrize("url", [f"https://:{SECRET}@host/", f"https://user:p@{SECRET}@host/", f"https://{SECRET}!/"])
def test_a_web_address_with_credentials_is_refused_and_not_shown(name: str, url: str) -> None:
    [text] = problems(**{name: url})
    assert SECRET not in text


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        (f"postgresql+psycopg://db/{'x' * 63}", None),
        (f"postgresql+psycopg://db/{'x' * 64}", "has 64 bytes, and PostgreSQL cuts it after 63"),
        (f"mysql+pymysql://db/{'x' * 64}", None),
        (f"mysql+pymysql://db/{'x' * 65}", "has 65 characters, and MySQL allows 64"),
        ("postgresql+psycopg://db/postgres", "the server's own"),
        ("mysql+pymysql://db/mysql", "the server's own"),
        ("postgresql+psycopg://db/mysql", None),
    ],
)
def test_a_database_name_that_cannot_be_a_tenants_own_is_known(url: str, problem: str | None) -> None:
    found = database_name_problem(parse_tenant_database_url(url))
    assert (found is None) if problem is None else (problem in str(found))
