"""A make-believe POS that the conformance tests tell what to sell and how to misbehave.

A provider's fixture server implements the wire format here, from the vendor's documents and not from the adapter. What
must come of it is `suite.py`; the faults themselves are `faults.py`.
"""

import threading
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import Enum
from typing import ClassVar

from cata_pipeline.providers.conformance.scripted_server import Answer, Received, ScriptedServer
from cata_pipeline.providers.contract import Provider
from cata_pipeline.providers.secrets import HeldToken, Secrets


class Paging(Enum):
    """How a vendor tells the last page."""

    MARKED = "the last page says that it is"
    EMPTY_PAGE = "the one after it is empty"
    NONE = "there is one answer with everything"


@dataclass(frozen=True)
class Sold:
    """One sellable product as the tests think of it; a fixture server writes it in its own way.

    `code` is the SKU, None where it has none. `active` is None, and the row does not say, only for a server that
    `omits_active`. Fields that a provider does not have are ignored. `more` is merged into the row as it goes over the
    wire: unknown fields, wrong types.
    """

    code: object
    name: object = "Kopi Susu"
    identity: str = ""
    active: bool | None = True
    description: str | None = None
    category: str | None = None
    image: str | None = None
    price: int = 18_000
    updated_at: str = "2026-03-01T08:00:00Z"
    more: Mapping[str, object] = field(default_factory=dict)

    @property
    def provider_id(self) -> str:
        """What identifies the row for the provider, whatever its SKU."""
        return self.identity or f"id-of-{self.code}"


class TokenOnRecord:
    """Keeps a rotating refresh token for a test as the control database would: one holder at a time."""

    def __init__(self, first: str) -> None:
        self.all = [first]
        self._lock = threading.Lock()

    @property
    def current(self) -> str:
        """The one that came last."""
        return self.all[-1]

    def keep(self, following: str) -> None:
        """Put the token that came in exchange on record."""
        self.all.append(following)

    @contextmanager
    def held(self) -> Iterator[HeldToken]:
        """The token, while nobody else has it."""
        with self._lock:
            yield self


class PosServer(ScriptedServer, ABC):
    """Serves `pages` of products in a provider's wire format, unless a page is to misbehave.

    `takes_empty_object` and `takes_empty_list` are set where the vendor itself answers `{}` or `[]` for a store
    without products; `lacks` names the fields of `Sold` that the vendor does not tell, `omits_active` says that a row
    of its format may lack whether the product is active.
    """

    provider: ClassVar[Provider]
    paging: ClassVar[Paging] = Paging.MARKED
    takes_empty_object: ClassVar[bool] = False
    takes_empty_list: ClassVar[bool] = False
    lacks: ClassVar[frozenset[str]] = frozenset()
    omits_active: ClassVar[bool] = False

    def __init__(self) -> None:
        super().__init__()
        self.pages: list[Sequence[Sold]] = [()]
        self.is_stuck = False
        """Answers the first page again whatever page is asked for, with more to come."""
        self.refresh_token: TokenOnRecord | None = None
        """The tenant's, where the provider has a `rotating_key`; a subclass sets it."""
        self._faults: dict[int, list[Answer]] = {}

    @abstractmethod
    def options(self) -> dict[str, object]:
        """A tenant's options that lead here."""

    @abstractmethod
    def secrets(self) -> dict[str, str]:
        """The credentials that are accepted; each value is unlike anything else that is sent."""

    @abstractmethod
    def page_asked_for(self, received: Received) -> int | None:
        """Which page of products a request asks for, from 1; None for any other request."""

    @abstractmethod
    def page(self, number: int, products: Sequence[Sold], *, is_last: bool) -> Answer:
        """One page in the wire format."""

    @abstractmethod
    def other(self, received: Received) -> Answer:
        """The answer to a request that is not for a page of products."""

    def tenant_secrets(self) -> Secrets:
        """What a fetch gets: `secrets`, and the refresh token to hold."""
        return Secrets(self.secrets(), self.refresh_token.held if self.refresh_token else None)

    def told_to_nobody(self) -> list[str]:
        """Every secret of the tenant."""
        return [*self.secrets().values(), *(self.refresh_token.all if self.refresh_token else ())]

    def sell(self, *pages: Sequence[Sold]) -> None:
        """These products, page by page as `paging` has it; an empty page in the middle is one unless it is the end."""
        if self.paging is Paging.NONE:
            self.pages = [[sold for page in pages for sold in page]]
        elif self.paging is Paging.EMPTY_PAGE:
            self.pages = [*(page for page in pages if page), ()]
        else:
            self.pages = list(pages) or [()]

    def misbehave(self, page: int, *answers: Answer) -> None:
        """Answer requests for this page so, one after the other, and properly after the last."""
        self._faults[page] = list(answers)

    def misbehave_for_ever(self, page: int, answer: Answer) -> None:
        """Answer every request for this page so."""
        self._faults[page] = [answer] * 1_000

    def answer_to(self, received: Received) -> Answer:
        """The fault that is due, else the page, else whatever else was asked for."""
        number = self.page_asked_for(received)
        if number is None:
            return self.other(received)
        if faults := self._faults.get(number):
            return faults.pop(0)
        if self.is_stuck:
            return self.page(1, self.pages[0], is_last=False)
        return self.page(number, self.pages[number - 1], is_last=number == len(self.pages))

    def pages_asked_for(self) -> list[int]:
        """Every page that was asked for, in order."""
        return [number for received in self.received if (number := self.page_asked_for(received)) is not None]
