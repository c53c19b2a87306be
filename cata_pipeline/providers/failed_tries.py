"""What a try that failed means: whether the next may not, how long to rest before it, what an operator can do.

Add here what a status, a header or a broken connection says on every POS. When tries are made is
`cata_pipeline.providers.http`'s; nothing here asks anybody.
"""

import ssl
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import httpx

from cata_pipeline.errors import ProviderError

_TOO_MANY_REQUESTS = 429
_TRANSIENT = frozenset({408, 409, _TOO_MANY_REQUESTS})
_FIRST_SERVER_ERROR = 500
_FIRST_TIMESTAMP = 1_000_000_000.0
_UNREACHABLE = "The POS cannot be reached or is out of order: check the tenant's URLs, then try again later."
_TOO_OFTEN = (
    "The POS is asked more often than it allows, by us or by the merchant's other apps: try again in some minutes, with"
    " fewer tenants of its account at a time."
)
_ADVICE = {
    401: "It does not accept the credentials (any more): reconnect the tenant's POS account.",
    403: "The account may not read this store: check the store's URL and what the account is allowed to do there.",
    404: "There is no such address: check the URLs in the tenant's options.",
    _TOO_MANY_REQUESTS: _TOO_OFTEN,
}


class TransientError(Exception):
    """This try failed; the next may not. `retry_after` is what the server asked for, in seconds."""

    def __init__(self, reason: str, retry_after: float = 0.0, advice: str = _UNREACHABLE) -> None:
        super().__init__(reason)
        self.retry_after = retry_after
        self.advice = advice


def is_transient(status: int) -> bool:
    """Whether the same request may be answered with another status later."""
    return status in _TRANSIENT or status >= _FIRST_SERVER_ERROR


def advice_for(status: int) -> str:
    """What an operator can do about an answer with this status."""
    return _ADVICE.get(status, _UNREACHABLE if is_transient(status) else "Expected 200.")


def transport_problem(error: httpx.TransportError, subject: str) -> str:
    """What went wrong below HTTP; raises `ProviderError` where trying again cannot help.

    Only a connection error's own words are quoted: a protocol error's may repeat a header.
    """
    cause: BaseException | None = error if isinstance(error, httpx.ConnectError) else None
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            raise ProviderError(
                f"{subject}: its certificate is not accepted ({cause.verify_message}). Nothing was sent;"
                " check the URL, and tell the vendor when the certificate is at fault."
            ) from error
        if isinstance(cause, ssl.SSLError) and not isinstance(cause, ssl.SSLEOFError):
            raise ProviderError(
                f"{subject}: it does not speak TLS as expected ({cause.reason}). Nothing was sent; check the URL."
            ) from error
        cause = cause.__cause__ or cause.__context__
    if isinstance(error, httpx.ConnectError):
        return f"no connection ({error})"
    if isinstance(error, httpx.TimeoutException):
        return f"silence ({type(error).__name__})"
    return f"the connection broke ({type(error).__name__})"


def rest_asked_for(headers: httpx.Headers, now: datetime) -> float:
    """Seconds of rest that an answer asks for; 0.0 where it does not, or not in a way that can be read.

    Of the two headers that POS send, `X-RateLimit-Reset` counts from 1970 or from now, as its size tells.
    """
    if "retry-after" in headers:
        return _retry_after(headers["retry-after"].strip(), now)
    reset = headers.get("x-ratelimit-reset", "").strip()
    if not reset.isascii() or not reset.isdigit():
        return 0.0
    seconds = float(reset)
    return seconds if seconds < _FIRST_TIMESTAMP else max(0.0, seconds - now.timestamp())


def _retry_after(text: str, now: datetime) -> float:
    if text.isascii() and text.isdigit():
        return float(text)
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, TypeError, IndexError, OverflowError):
        return 0.0
    return max(0.0, ((moment if moment.tzinfo else moment.replace(tzinfo=UTC)) - now).total_seconds())
