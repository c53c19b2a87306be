"""Which URLs an operator may configure for a provider, and what makes two of them the same origin.

Everything that judges or compares a provider URL belongs here, and uses the HTTP client's own parser: a
second parser would disagree with the client about which host a strange spelling names. Whether an address
may be reached is not judged here but at connect time (`cata_pipeline.providers.network`).
"""

import ipaddress

import httpx

_LONGEST = 2048
_LARGEST_PORT = 65535


def provider_url(text: object) -> httpx.URL:
    """Parse a URL that requests, and with them secrets, may be sent to.

    Accepts https, and http for a host that is an address literal (the address policy decides on it later).
    Raises `ValueError` with the end of a sentence; it never repeats the URL, which may hold a password.
    """
    if not isinstance(text, str) or not text or len(text) > _LONGEST:
        raise ValueError("is not a URL; expected a text such as https://host.")
    try:
        url = httpx.URL(text)
        host, port = url.host, url.port
    except (httpx.InvalidURL, ValueError):
        raise ValueError("is not a URL; expected one such as https://host.") from None
    if url.userinfo:
        raise ValueError("holds a user name or password; expected a URL without one: secrets go into the credentials.")
    if "?" in text or "#" in text:
        raise ValueError("holds a query or fragment; expected the URL up to its path.")
    if port is not None and not 0 < port <= _LARGEST_PORT:
        raise ValueError(f"names port {port}; expected one from 1 to {_LARGEST_PORT}.")
    if not host or not (url.scheme == "https" or (url.scheme == "http" and _is_address_literal(host))):
        raise ValueError("is not an https URL; expected https://host (http only for an ip:port that was allowed).")
    return url


def provider_origin(text: object) -> httpx.URL:
    """As `provider_url`, for a URL that must not have a path."""
    url = provider_url(text)
    if url.path not in {"", "/"}:
        raise ValueError("holds a path; expected only scheme and host, such as https://host.")
    return url


def origin_of(url: httpx.URL) -> str:
    """Scheme, lower-case host and, unless it is the scheme's own, the port: `https://host[:port]`."""
    return f"{url.scheme}://{url.netloc.decode('ascii')}"


def _is_address_literal(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
