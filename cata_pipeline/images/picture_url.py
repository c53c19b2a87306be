"""Which picture URLs are asked at all: a cheap judgement that gives a merchant a clear reason.

It is not the guard against private addresses: that is `guard.py`, at connect time. Rules about hosts' answers belong
in `fetch.py`.
"""

import functools
import re
from typing import NamedTuple

from yarl import URL

from cata_pipeline.addresses import WEB_PORTS, AddressPolicy
from cata_pipeline.images.failure import PictureError

_CONTROL_OR_BACKSLASH = re.compile(r"[\x00-\x1f\x7f\\]")
_SCHEMES = frozenset({"http", "https"})
_MAX_NAME = 253
# IndexError: brackets before an `@` with nothing behind it.
_YARLS_OWN = (ValueError, TypeError, IndexError)
# Anything else would reach a resolver only to fail there, and a blank would travel in the request's Host line.
_NAME = re.compile(r"([A-Za-z0-9_-]{1,63}\.)*[A-Za-z0-9_-]{1,63}\.?")

UNUSABLE_URL = "the picture's address is not a usable web address"


class Origin(NamedTuple):
    """Whom a URL asks: a scheme, a host as the URL names it (no brackets, "" for none), and a port (0 for none)."""

    scheme: str
    host: str
    port: int

    @property
    def key(self) -> str:
        """One spelling for all spellings of a host name: A-labels, lower case, no final dot."""
        return self.host.lower().rstrip(".")


def checked_url(text: str, policy: AddressPolicy, longest: int) -> URL:
    """The URL that the HTTP client will use for `text`; raises `PictureError` for one that is not asked.

    Judged is the client's own parsing of it, so that no second parser can see another host. Surrounding blanks
    are cut, and `//host/…` means https.
    """
    text = text.strip()
    if len(text) > longest:
        raise PictureError(f"the picture's address is longer than {longest:,} characters")
    if _CONTROL_OR_BACKSLASH.search(text):
        raise PictureError(UNUSABLE_URL)
    if text.startswith("//"):
        text = f"https:{text}"
    return _admitted(_parsed(text), policy)


def redirect_target(current: URL, location: str, policy: AddressPolicy, longest: int) -> URL:
    """Where a redirect leads, judged like a URL of its own; raises `PictureError`."""
    location = location.strip()
    if not location or len(location) > longest or _CONTROL_OR_BACKSLASH.search(location):
        raise PictureError("the picture's host redirects to an unusable address")
    try:
        target = current.join(_parsed(location))
    except (PictureError, *_YARLS_OWN):
        raise PictureError("the picture's host redirects to an unusable address") from None
    return checked_url(str(target), policy, longest)


def host_of(url: str) -> str:
    """The host a picture's URL names, in one spelling that cannot pass for another's; "" when it names none."""
    text = url.strip()
    try:
        return origin_of(_parsed(f"https:{text}" if text.startswith("//") else text)).key
    except PictureError:
        return ""


def origin_of(url: URL) -> Origin:
    """Whom a URL asks."""
    return _judged(url.scheme, url.raw_authority)[0]


def _parsed(text: str) -> URL:
    try:
        # Signed URLs cover their exact spelling, so one that can travel as it is must not be quoted again.
        url = URL(text, encoded=text.isascii() and " " not in text)
        _judged(url.scheme, url.raw_authority)
    except _YARLS_OWN:
        raise PictureError(UNUSABLE_URL) from None
    return url


def _admitted(url: URL, policy: AddressPolicy) -> URL:
    origin, fault = _judged(url.scheme, url.raw_authority)
    if fault is not None:
        raise PictureError(fault)
    if origin.port not in WEB_PORTS and not policy.admits_plain_http(origin.host, origin.port):
        raise PictureError("the picture's address names a port other than 80 or 443")
    return url


# A tenant's pictures have few hosts; reading the same one anew would cost more than all else that is done with a URL.
@functools.lru_cache(maxsize=4_096)
def _judged(scheme: str, authority: str) -> tuple[Origin, str | None]:
    """Whom a URL that begins like this asks, and why it is not asked if so; errors are yarl's own."""
    url = URL(f"{scheme}://{authority}" if scheme else f"//{authority}", encoded=True)
    # yarl reads host, port and user only when asked, and only then says what is wrong with them.
    url.host, url.user  # noqa: B018
    origin = Origin(scheme, url.raw_host or "", url.port or 0)
    return origin, _fault(url)


def _fault(url: URL) -> str | None:
    if url.scheme not in _SCHEMES:
        return "the picture's address does not start with http:// or https://"
    if url.raw_user is not None or url.raw_password is not None:
        return "the picture's address holds a user name or password"
    if not url.raw_host or url.port is None:
        return "the picture's address names no host"
    is_literal = "[" in url.raw_authority
    # yarl has checked IPv6 literals; the other kind of literal (`[v1.x]`) nobody knows.
    if (":" not in url.raw_host) if is_literal else not _is_name(url.raw_host):
        return UNUSABLE_URL
    return None


def _is_name(host: str) -> bool:
    return len(host) <= _MAX_NAME and _NAME.fullmatch(host) is not None
