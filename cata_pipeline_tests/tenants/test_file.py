"""The tenants file: what is accepted, and that every mistake is told with its place."""

from pathlib import Path

import pytest

from cata_pipeline.errors import UsageError
from cata_pipeline.tenants.file import read_tenants
from cata_pipeline.tenants.model import Tenant

GOOD = """\
[[tenants]]
id = "kopi-kita"
provider = "iseller"
credentials = "env:KOPI"
[tenants.options]
store_url = "https://kopikita.isellershop.com"
"""
SECRET = "hunter2-hunter2"


def written(folder: Path, text: str | bytes) -> Path:
    path = folder / "tenants.toml"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def problems(folder: Path, text: str | bytes) -> list[str]:
    """The lines of the error, without the file's name."""
    path = written(folder, text)
    with pytest.raises(UsageError) as caught:
        read_tenants(path)
    lines = str(caught.value).splitlines()
    assert all(line.startswith(f"{path}: ") for line in lines)
    return [line.removeprefix(f"{path}: ") for line in lines]


def test_the_example_of_the_design_is_read(tmp_path: Path) -> None:
    text = """
        [[tenants]]
        id = "kopi-kita"                       # [A-Za-z0-9_-]{1,64}
        provider = "iseller"
        credentials = "env:KOPI_KITA_ISELLER"
        database_url = "env:KOPI_KITA_DB"
        [tenants.options]
        store_url = "https://kopikita.isellershop.com"
        token_url = "https://isellershop.com/oauth/token"
    """
    options = {
        "store_url": "https://kopikita.isellershop.com",
        "token_url": "https://isellershop.com/oauth/token",
    }
    expected = Tenant("kopi-kita", "iseller", "env:KOPI_KITA_ISELLER", "env:KOPI_KITA_DB", options)
    assert read_tenants(written(tmp_path, text)) == [expected]


def test_tenants_keep_the_order_of_the_file(tmp_path: Path) -> None:
    text = GOOD.replace("kopi-kita", "z") + GOOD.replace("kopi-kita", "a")
    assert [tenant.id for tenant in read_tenants(written(tmp_path, text))] == ["z", "a"]


@pytest.mark.parametrize(
    "url",
    [
        "env:KOPI_DB",
        "gcp-secret:projects/p/secrets/s/versions/3",
        "postgresql+psycopg://user:password@host/kopi",
        "mysql+pymysql://user:password@host/kopi",
    ],
)
def test_a_database_url_may_be_a_reference_or_a_url(tmp_path: Path, url: str) -> None:
    text = GOOD.replace("[tenants.options]", f'database_url = "{url}"\n[tenants.options]')
    assert read_tenants(written(tmp_path, text))[0].database_url == url


@pytest.mark.parametrize(
    ("wrong", "expected"),
    [
        ('id = "kopi kita"', "tenant 1 ('kopi kita'): id: is 'kopi kita'; expected 1 to 64 letters"),
        ('id = ""', "tenant 1 (''): id: is ''; expected 1 to 64 letters"),
        (f'id = "{"x" * 65}"', f"id: is '{'x' * 65}'; expected 1 to 64 letters"),
        ("id = 7", "tenant 1: id: is a number; expected a text in quotes."),
        ('id = "a\\u0000"', "id: holds a NUL character"),
    ],
)
def test_a_wrong_id_is_told(tmp_path: Path, wrong: str, expected: str) -> None:
    [line] = problems(tmp_path, GOOD.replace('id = "kopi-kita"', wrong))
    assert expected in line


def test_an_id_that_occurs_twice_names_its_first_tenant(tmp_path: Path) -> None:
    assert problems(tmp_path, GOOD + GOOD) == [
        "tenant 2 ('kopi-kita'): id: is the id of tenant 1 already; expected each id once."
    ]


def test_an_unknown_provider_is_told_with_those_that_exist(tmp_path: Path) -> None:
    [line] = problems(tmp_path, GOOD.replace('"iseller"', '"tills"'))
    assert line.startswith("tenant 1 ('kopi-kita'): provider: The provider 'tills' is unknown; expected one of: ")
    assert "iseller" in line


@pytest.mark.parametrize(
    "wrong", [SECRET, f'{{\\"api_key\\": \\"{SECRET}\\"}}', f"env:{SECRET}", f"gcp-secret:{SECRET}"]
)
def test_a_secret_in_place_of_a_reference_is_refused_and_never_repeated(tmp_path: Path, wrong: str) -> None:
    [line] = problems(tmp_path, GOOD.replace("env:KOPI", wrong))
    assert line.startswith("tenant 1 ('kopi-kita'): credentials: is no reference")
    assert "expected env:NAME or gcp-secret:projects/PROJECT/secrets/SECRET." in line
    assert SECRET not in line


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        (
            f"postgresql://u:{SECRET}@h/d",
            "starts with postgresql://; expected postgresql+psycopg:// or mysql+pymysql://",
        ),
        (f"postgresql+psycopg://u:{SECRET}@h", "names no database"),
        (f"postgresql+psycopg://u:{SECRET}@h:port/d", "is not a database URL"),
        (f"u:{SECRET}@h/d", "is not a database URL"),
    ],
)
def test_a_wrong_database_url_is_told_and_never_repeated(tmp_path: Path, url: str, expected: str) -> None:
    [line] = problems(tmp_path, GOOD.replace("[tenants.options]", f'database_url = "{url}"\n[tenants.options]'))
    assert line.startswith(f"tenant 1 ('kopi-kita'): database_url: {expected}")
    assert "A reference (env:NAME or gcp-secret:" in line
    assert SECRET not in line


@pytest.mark.parametrize("key", ["id", "provider", "credentials"])
def test_a_missing_key_is_told(tmp_path: Path, key: str) -> None:
    lines = [line for line in GOOD.splitlines() if not line.startswith(key)]
    [line] = problems(tmp_path, "\n".join(lines))
    assert line.endswith(f": {key}: is missing.")


def test_an_unknown_key_is_told_without_its_value(tmp_path: Path) -> None:
    [line] = problems(tmp_path, GOOD.replace("[tenants.options]", f'api_key = "{SECRET}"\n[tenants.options]'))
    assert line == (
        "tenant 1 ('kopi-kita'): api_key: unknown key; expected id, provider, credentials, database_url or options."
    )


def test_wrong_options_are_told_by_the_provider(tmp_path: Path) -> None:
    lines = problems(tmp_path, GOOD.replace("store_url", "store_uri"))
    assert all(line.startswith("tenant 1 ('kopi-kita'): options: ") for line in lines)
    assert any("store_uri" in line for line in lines)
    assert any("store_url is missing" in line for line in lines)


def test_options_that_are_left_out_are_checked_too(tmp_path: Path) -> None:
    [line] = problems(tmp_path, GOOD.partition("[tenants.options]")[0])
    assert "options: store_url is missing" in line


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ('"all"', "options: is a text; expected a table under [tenants.options]."),
        ("{since = 2026-01-01}", "options: holds a date or time; expected texts, numbers"),
        ("{pages = [1, nan]}", "options: holds nan; expected a finite number."),
        ('{"a\\u0000" = 1}', "options: holds a NUL character; expected a text without."),
    ],
)
def test_options_that_the_registry_cannot_keep_are_told(tmp_path: Path, value: str, expected: str) -> None:
    [line] = problems(tmp_path, GOOD.partition("[tenants.options]")[0] + f"options = {value}")
    assert expected in line


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "tenants: holds no tenant; expected at least one [[tenants]] table."),
        ("tenants = []", "tenants: holds no tenant; expected at least one [[tenants]] table."),
        ("tenants = 3", "tenants: is a number; expected a list, each tenant under [[tenants]]."),
        ("[tenants]\nid = 'a'", "tenants: is a table; expected a list, each tenant under [[tenants]]."),
        ("tenants = ['a']", "tenant 1: is a text; expected a table under [[tenants]]."),
        (f"version = 1\n{GOOD}", "version: unknown key; expected only [[tenants]] tables."),
        ("[[tenants]]\nid = x", "is not TOML: Invalid value (at line 2, column 6). Correct the syntax there."),
        (f"x = {'[' * 5000}", "is nested too deeply; expected [[tenants]] tables."),
        (
            b"\xef\xbb\xbf" + GOOD.encode(),
            "begins with a byte order mark; expected UTF-8 without one. Save it again that way.",
        ),
        (
            GOOD.encode("utf-16"),
            "begins with a byte order mark; expected UTF-8 without one. Save it again that way.",
        ),
        (
            "# ok\n# caf\xe9".encode("latin-1"),
            "line 2 is not UTF-8; expected UTF-8. Save the file in that encoding.",
        ),
    ],
)
def test_a_file_of_the_wrong_shape_is_told(tmp_path: Path, text: str | bytes, expected: str) -> None:
    assert problems(tmp_path, text) == [expected]


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"missing\.toml: cannot be read \(No such file or directory\)"):
        read_tenants(tmp_path / "missing.toml")


def test_a_folder_is_told_like_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"cannot be read \(Is a directory\)"):
        read_tenants(tmp_path)


def test_every_mistake_is_told_at_once(tmp_path: Path) -> None:
    text = f"""
        extra = 1
        [[tenants]]
        id = "a b"
        provider = "tills"
        credentials = "{SECRET}"
        [[tenants]]
        id = "roti"
        provider = "iseller"
        colour = "red"
        options = {{store_url = "https://roti.isellershop.com"}}
    """
    lines = problems(tmp_path, text)
    assert [line.split(": ")[:2] for line in lines] == [
        ["extra", "unknown key; expected only [[tenants]] tables."],
        ["tenant 1 ('a b')", "id"],
        ["tenant 1 ('a b')", "provider"],
        ["tenant 1 ('a b')", "credentials"],
        ["tenant 2 ('roti')", "credentials"],
        ["tenant 2 ('roti')", "colour"],
    ]


def test_ten_thousand_tenants_are_checked(tmp_path: Path) -> None:
    text = "".join(GOOD.replace("kopi-kita", f"t{number}") for number in range(10_000))
    assert len(read_tenants(written(tmp_path, text))) == 10_000


@pytest.mark.parametrize("word", ["--all", "-a", "all", "ALL", "failed", "none", "null", "True"])
def test_an_id_that_a_command_reads_as_something_else_is_rejected(tmp_path: Path, word: str) -> None:
    [line] = problems(tmp_path, GOOD.replace('"kopi-kita"', f'"{word}"'))
    assert line.endswith("which commands read as an option or a reserved word; expected another id.")


def test_ids_that_differ_only_in_case_are_rejected(tmp_path: Path) -> None:
    [line] = problems(tmp_path, f"{GOOD}\n{GOOD.replace('kopi-kita', 'Kopi-Kita')}")
    assert "differs only in letter case from 'kopi-kita', the id of tenant 1; expected another id." in line
