"""The secrets of one fetch: what the tenant's reference holds, and a refresh token that changes with each use.

A provider whose tokens do not rotate sees a mapping and nothing else. Where a rotating token is kept is
`cata_pipeline.tenants.tokens`; when one is exchanged is the provider's own business.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from typing import Protocol

from cata_pipeline.redaction import Redactor


class HeldToken(Protocol):
    """A refresh token that nobody else exchanges while it is held."""

    @property
    def current(self) -> str:
        """The token to exchange now."""

    def keep(self, following: str) -> None:
        """Put the token that the provider gave in exchange on record; the old one may be worthless from then on.

        To be called before anything else is done with the provider's answer: a token that is lost locks the tenant out.
        """


HoldToken = Callable[[], AbstractContextManager[HeldToken]]


class Secrets(Mapping[str, str]):
    """The values of a tenant's credential keys; `hold_token` locks and hands out the rotating one, None without one.

    Its `repr` shows nothing. `redactor` knows every secret of the fetch, those that the POS issues included, and takes
    them out of all messages about it.
    """

    def __init__(
        self, values: Mapping[str, str], hold_token: HoldToken | None = None, redactor: Redactor | None = None
    ) -> None:
        self._values = dict(values)
        self.hold_token = hold_token
        self.redactor = redactor or Redactor()
        self.redactor.add(*self._values.values())

    def __getitem__(self, key: str) -> str:
        return self._values[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __repr__(self) -> str:
        return f"Secrets({', '.join(self._values)})"
