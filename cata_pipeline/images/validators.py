"""What a host gives us to ask "changed since?" with; kept in the ledger, sent by `fetch.py`."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Validators:
    """The headers of a picture's last answer, exactly as the host sent them; None where it sent none."""

    etag: str | None = None
    last_modified: str | None = None

    def __bool__(self) -> bool:
        return bool(self.etag or self.last_modified)

    def headers(self) -> dict[str, str]:
        """The request headers of a conditional GET; empty without validators."""
        named = {"If-None-Match": self.etag, "If-Modified-Since": self.last_modified}
        return {name: value for name, value in named.items() if value}

    def across_redirects(self) -> "Validators":
        """What may still be asked with where a redirect led: it may lead elsewhere by now, to an older picture.

        That one is not "modified since", so its host would confirm a picture that it is not.
        """
        return Validators(self.etag)


NO_VALIDATORS = Validators()
