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


NO_VALIDATORS = Validators()
