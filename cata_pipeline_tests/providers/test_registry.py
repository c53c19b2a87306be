"""Which providers can be asked for by name."""

import pytest

from cata_pipeline.errors import UsageError
from cata_pipeline.providers.registry import KNOWN, provider_named


def test_iseller_is_there_and_calls_itself_so() -> None:
    provider = provider_named("iseller")
    assert provider.slug == "iseller"
    assert provider.credential_keys == ("api_key", "api_secret")


def test_each_known_name_gives_its_provider_or_says_which_exist() -> None:
    for slug in KNOWN:
        assert _found(slug) in {slug, f"The provider {slug!r} is not built yet; expected one of: iseller."}


def test_an_unknown_name_says_which_exist() -> None:
    with pytest.raises(UsageError, match="'moka' is unknown; expected one of: iseller"):
        provider_named("moka")


def _found(slug: str) -> str:
    try:
        return provider_named(slug).slug
    except UsageError as error:
        return str(error)
