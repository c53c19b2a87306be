"""What a provider adapter is: a name, the secrets it needs, the options it takes, and one fetch.

Add a provider as one module beside this one that defines a `Provider`, and name it in
`cata_pipeline.providers.registry`. How items are staged, guarded or written is none of its business.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from cata_pipeline.addresses import AddressPolicy
from cata_pipeline.catalog.model import Catalog

Options = Mapping[str, object]


@dataclass(frozen=True)
class Provider:
    """One POS provider.

    `option_problems` returns one sentence for each option that is missing, unknown or wrong (an empty list: all
    well); it touches no network. `fetch(options, secrets, policy)` returns the complete catalog or raises
    `ProviderError`; `secrets` has exactly `credential_keys`. It blocks, and may run on several threads at once.
    """

    slug: str
    credential_keys: tuple[str, ...]
    option_problems: Callable[[Options], list[str]]
    fetch: Callable[[Options, Mapping[str, str], AddressPolicy], Catalog]
