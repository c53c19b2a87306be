"""What a provider adapter is: a name, the secrets it needs, the options it takes, one fetch and one look.

Add a provider as one module beside this one (or in a package of its own) that defines a `Provider`, and name it as an
entry point of `cata_pipeline.providers`. How items are staged, guarded or written is none of its business.
"""

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, TypeVar

from cata_pipeline.addresses import AddressPolicy
from cata_pipeline.catalog.model import Catalog, Item, Rejection
from cata_pipeline.providers.options import Options, ProviderOptions
from cata_pipeline.providers.secrets import Secrets

if TYPE_CHECKING:
    from cata_pipeline.providers.http import Patience

Answer_co = TypeVar("Answer_co", covariant=True)


@dataclass(frozen=True)
class Sample:
    """What the first page of a provider's answer maps to.

    Deliberately no `Catalog`: a page is not complete, and must never become a snapshot.
    """

    items: tuple[Item, ...]
    rejections: tuple[Rejection, ...] = ()
    warnings: Counter[str] = field(default_factory=Counter)

    @classmethod
    def of(cls, first_page: Catalog) -> "Sample":
        """The sample of an answer that was read no further than its first page."""
        return cls(first_page.items, first_page.rejections, first_page.warnings)


class Ask(Protocol[Answer_co]):
    """Asks a POS over the network; `patience` is for tests, and None where the options say all."""

    def __call__(
        self,
        options: Options,
        secrets: Secrets,
        policy: AddressPolicy,
        patience: "Patience | None" = None,
        /,
    ) -> Answer_co:
        """The answer, complete; raises `ProviderError`."""
        ...


@dataclass(frozen=True)
class Provider:
    """One POS provider.

    `fetch(options, secrets, policy)` returns the complete catalog or raises `ProviderError`; `sample` does the same
    with the first page only. `options` are what `option_problems` found nothing wrong with, `secrets` has all of
    `credential_keys` and what the tenant gave of `optional_keys`. A tenant's credentials may also hold `rotating_key`:
    a refresh token that changes with each use, which `secrets.hold_token` hands out. Both block, and may run on
    several threads at once.
    """

    slug: str
    name: str
    credential_keys: tuple[str, ...]
    options: type[ProviderOptions]
    fetch: "Ask[Catalog]"
    sample: "Ask[Sample]"
    rotating_key: str | None = None
    optional_keys: tuple[str, ...] = ()

    def option_problems(self, options: Options) -> list[str]:
        """One sentence for each option that is missing, unknown or wrong; touches no network."""
        return self.options.problems(options)
