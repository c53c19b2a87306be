"""Which picture URLs are asked at all: a cheap judgement that gives a merchant a clear reason.

It is not the guard against private addresses: that is `guard.py`, at connect time. Rules about hosts' answers belong
in `fetch.py`.
"""

import re

from yarl import URL

from cata_pipeline.addresses import WEB_PORTS, AddressPolicy
from cata_pipeline.images.failure import PictureError

_CONTROL_OR_BACKSLASH = re.compile(r"[\x00-\x1f\x7f\\]")
_DEFAULT_PORTS = {"http": 80, "https": 443}
_MAX_NAME = 253
# Anything else would reach a resolver only to fail there, and a blank would travel in the request's Host line.
_NAME = re.compile(r"([A-Za-z0-9_-]{1,63}\.)*[A-Za-z0-9_-]{1,63}\.?")

UNUSABLE_URL = "the picture's address is not a usable web address"


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
    except (PictureError, ValueError, TypeError):
        raise PictureError("the picture's host redirects to an unusable address") from None
    return checked_url(str(target), policy, longest)


def host_of(url: str) -> str:
    """The host a picture's URL names, in one spelling that cannot pass for another's; "" when it names none."""
    text = url.strip()
    try:
        return host_key(_parsed(f"https:{text}" if text.startswith("//") else text))
    except PictureError:
        return ""


def host_key(url: URL) -> str:
    """One spelling for all spellings of a host name: A-labels, lower case, no final dot."""
    return (url.raw_host or "").lower().rstrip(".")


def _parsed(text: str) -> URL:
    try:
        # Signed URLs cover their exact spelling, so one that can travel as it is must not be quoted again.
        url = URL(text, encoded=text.isascii() and " " not in text)
        # yarl reads host, port and user only when asked, and only then says what is wrong with them.
        url.host, url.port, url.user  # noqa: B018
    except (ValueError, TypeError):
        raise PictureError(UNUSABLE_URL) from None
    return url


def _admitted(url: URL, policy: AddressPolicy) -> URL:
    if url.scheme not in _DEFAULT_PORTS:
        raise PictureError("the picture's address does not start with http:// or https://")
    if url.raw_user is not None or url.raw_password is not None:
        raise PictureError("the picture's address holds a user name or password")
    if not url.raw_host or url.port is None:
        raise PictureError("the picture's address names no host")
    is_literal = "[" in url.raw_authority
    # yarl has checked IPv6 literals; the other kind of literal (`[v1.x]`) nobody knows.
    if (":" not in url.raw_host) if is_literal else not _is_name(url.raw_host):
        raise PictureError(UNUSABLE_URL)
    if url.port not in WEB_PORTS and not policy.admits_plain_http(url.raw_host, url.port):
        raise PictureError("the picture's address names a port other than 80 or 443")
    return url


def _is_name(host: str) -> bool:
    return len(host) <= _MAX_NAME and _NAME.fullmatch(host) is not None
