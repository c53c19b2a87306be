"""References and the secrets they name."""

import json

import pytest

from cata_pipeline.errors import TenantError
from cata_pipeline.tenants.credentials import CredentialsError, is_reference, resolve, resolve_keys

SECRET = "hunter2-hunter2"


@pytest.mark.parametrize(
    "text",
    [
        "env:KOPI",
        "env:_kopi2",
        "gcp-secret:projects/p/secrets/s",
        "gcp-secret:projects/my-project/secrets/kopi_kita/versions/7",
        "gcp-secret:projects/p/secrets/s/versions/latest",
        "gcp-secret:projects/example.com:p-1/secrets/s",
    ],
)
def test_a_reference_has_a_known_form(text: str) -> None:
    assert is_reference(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        SECRET,
        "env:",
        "env:2KOPI",
        "env:KOPI KITA",
        "env:KOPI\n",
        " env:KOPI",
        "ENV:KOPI",
        "gcp-secret:s",
        "gcp-secret:projects/p/secrets/",
        "gcp-secret:projects/p/secrets/s/versions/",
        "gcp-secret:projects/p/secrets/s/versions/1/extra",
        "gcp-secret:projects/../secrets/s",
        "gcp-secret:projects/p/secrets/..",
        "gcp-secret:projects/p/secrets/s?x=",
        "gcp-secret:projects/p/secrets/s%2Fversions",
        "gcp-secret:projects/p@evil.example/secrets/s",
        "file:/etc/secret",
    ],
)
def test_anything_else_is_no_reference(text: str) -> None:
    assert not is_reference(text)
    with pytest.raises(CredentialsError, match="none of the known forms; expected env:NAME or gcp-secret:"):
        resolve(text, {})


def test_a_text_that_is_no_reference_is_never_repeated() -> None:
    with pytest.raises(CredentialsError) as caught:
        resolve(SECRET, {})
    assert SECRET not in str(caught.value)


def test_an_environment_reference_names_a_variable() -> None:
    assert resolve("env:KOPI", {"KOPI": f" {SECRET}\n"}) == SECRET


def test_the_process_environment_is_read_when_none_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KOPI", SECRET)
    assert resolve("env:KOPI") == SECRET


@pytest.mark.parametrize("environ", [{}, {"KOPI": ""}, {"KOPI": " \n"}])
def test_a_variable_that_is_not_set_is_told_by_name(environ: dict[str, str]) -> None:
    with pytest.raises(
        CredentialsError, match=r"env:KOPI names an environment variable that is not set here\. Set KOPI"
    ):
        resolve("env:KOPI", environ)


def test_wrong_credentials_concern_one_tenant_only() -> None:
    assert issubclass(CredentialsError, TenantError)


def test_exactly_the_keys_that_were_asked_for_come_back() -> None:
    environ = {"KOPI": json.dumps({"api_key": "k", "api_secret": SECRET, "note": "x"})}
    assert resolve_keys("env:KOPI", ("api_key", "api_secret"), environ) == {"api_key": "k", "api_secret": SECRET}


def test_every_missing_key_is_told_and_no_value() -> None:
    environ = {"KOPI": json.dumps({"api_key": SECRET, "b": "", "c": 7})}
    with pytest.raises(CredentialsError) as caught:
        resolve_keys("env:KOPI", ("api_key", "b", "c", "d"), environ)
    assert str(caught.value) == "env:KOPI lacks b, c, d; expected a JSON object with api_key, b, c, d."


@pytest.mark.parametrize("value", [SECRET, f'"{SECRET}"', f'["{SECRET}"]', f'{{"api_key": "{SECRET}"'])
def test_a_secret_that_is_no_json_object_is_told_and_never_repeated(value: str) -> None:
    with pytest.raises(CredentialsError) as caught:
        resolve_keys("env:KOPI", ("api_key",), {"KOPI": value})
    assert str(caught.value) == "env:KOPI does not hold a JSON object; expected the keys api_key."


def test_an_optional_key_comes_back_where_it_is_given() -> None:
    for held, found in (({"token": SECRET, "note": "x"}, {"token": SECRET}), ({}, {})):
        assert resolve_keys("env:KOPI", (), {"KOPI": json.dumps(held)}, optional=("token",)) == found


def test_where_no_key_is_needed_an_empty_object_is_expected() -> None:
    with pytest.raises(CredentialsError, match=r"expected \{\} where no key is needed"):
        resolve_keys("env:KOPI", (), {"KOPI": SECRET}, optional=("token",))
