"""Fetches one picture's bytes from a host we do not trust: a conditional GET with a cap on everything.

Add rules about a host's answer here. Which addresses may be reached is `guard.py`; whether the bytes are a picture is
`inspection.py`.
"""

import asyncio
import contextlib
import re
import ssl
from dataclasses import dataclass, replace

import aiohttp
from yarl import URL

from cata_pipeline.addresses import AddressDeniedError, AddressPolicy
from cata_pipeline.images.breaker import HostBreakers, TenantBreakers
from cata_pipeline.images.connector import NoSocketError, UnreachableError
from cata_pipeline.images.failure import HostFault, PictureError, PostponedError
from cata_pipeline.images.guard import get, speaks_tls
from cata_pipeline.images.kinds import WEB_PAGE
from cata_pipeline.images.limits import CopyLimits
from cata_pipeline.images.picture_url import UNUSABLE_URL, checked_url, origin_of, redirect_target
from cata_pipeline.images.validators import Validators

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_GONE = frozenset({404, 410})
# A login or a bot check in front of the pictures often passes, unlike a picture that is gone.
_TRANSIENT = frozenset({401, 403, 408, 425})
_CANNOT_SERVE_NOW = frozenset({429, 502, 503, 504})
_OK, _NOT_MODIFIED, _FIRST_SERVER_ERROR = 200, 304, 500
# What OpenSSL calls the first bytes of a server that does not speak TLS, by version.
_NOT_TLS = frozenset({"WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "PACKET_LENGTH_TOO_LONG", "HTTP_REQUEST"})
_UNCOMPRESSED = frozenset({"", "identity", "chunked"})
_EXPECTS_HTTPS = "the image's host expects https at this address, and the address says http"
_VALIDATOR = re.compile(r"[\x20-\x7e]{1,512}")


@dataclass(frozen=True)
class Fetched:
    """A whole body (1 to `max_bytes` bytes, as sent) and the validators for the next time."""

    content: bytes
    validators: Validators


@dataclass(frozen=True)
class NotModified:
    """The host says that the picture is what it was; no body travelled."""


@dataclass(frozen=True)
class _Redirect:
    """Somewhere else, as the host spells it."""

    location: str


@dataclass(frozen=True)
class _Visit:
    """What all requests for one picture share; times are by the event loop's clock.

    Who is asked by `fair_until` has `silence_seconds` before `end`, or all of it where that is shorter.
    """

    session: aiohttp.ClientSession
    known: Validators
    limits: CopyLimits
    breakers: TenantBreakers
    end: float
    fair_until: float


async def fetch(
    session: aiohttp.ClientSession,
    url: str,
    known: Validators,
    policy: AddressPolicy,
    limits: CopyLimits,
    breakers: TenantBreakers | None = None,
) -> Fetched | NotModified:
    """GET `url` through a guarded session; `known` makes the request conditional.

    Raises `PictureError` for everything that goes wrong with this URL or its hosts (`PostponedError` when one of them
    is suspended and was not requested), and nothing else.
    """
    loop = asyncio.get_running_loop()
    began = loop.time()
    end = began + limits.deadline_seconds
    fair_until = began + max(0.0, limits.deadline_seconds - limits.silence_seconds)
    visit = _Visit(session, known, limits, breakers or HostBreakers(limits).of_tenant(""), end, fair_until)
    target = checked_url(url, policy, limits.url_characters)
    for hop in range(limits.redirects + 1):
        answer = await _asked(visit, target, began)
        if isinstance(answer, NotModified):
            return answer
        if isinstance(answer, Fetched):
            return replace(answer, validators=answer.validators.across_redirects()) if hop else answer
        visit = replace(visit, known=known.across_redirects())
        target = redirect_target(target, answer.location, policy, limits.url_characters)
        began = loop.time()
    raise PictureError(f"the picture's host redirects more than {limits.redirects} times")


async def _asked(visit: _Visit, url: URL, began: float) -> Fetched | NotModified | _Redirect:
    """One origin's response; its breaker learns of the outcome."""
    origin = origin_of(url)
    origin = origin._replace(host=origin.key)
    visit.breakers.admit(origin)
    try:
        answer = await _explained(visit, url)
    except TimeoutError:
        # A slow host that redirects at the last moment must not suspend the next one by that. Nor has the next one
        # responded, so its breaker learns nothing.
        fault = HostFault.UNSERVED if began <= visit.fair_until else None
        if fault:
            visit.breakers.failed(origin, fault)
        raise PictureError(
            "the picture's host did not answer completely in time", transient=True, host_fault=fault
        ) from None
    except PostponedError:
        raise
    except PictureError as error:
        if error.host_fault:
            visit.breakers.failed(origin, error.host_fault)
        else:
            visit.breakers.responded(origin)
        raise
    visit.breakers.responded(origin)
    return answer


async def _explained(visit: _Visit, url: URL) -> Fetched | NotModified | _Redirect:
    """One host's response; every other outcome is a `PictureError`, or `TimeoutError`."""
    try:
        async with asyncio.timeout_at(visit.end):
            try:
                return await _get(visit, url)
            except aiohttp.ClientPayloadError:
                # Mostly a single connection that was dropped: an hour's wait would be too much for that.
                return await _get(visit, url)
    except (PictureError, TimeoutError):
        raise
    except (aiohttp.ClientError, OSError) as error:
        if url.scheme == "http" and await _expects_tls(visit, url, error):
            raise PictureError(_EXPECTS_HTTPS) from None
        raise _connection_failure(error) from None
    except (ValueError, IndexError, TypeError):
        # URL, IDNA and header parsing raise these for spellings that no check above foresees; one must not stop all.
        raise PictureError(UNUSABLE_URL) from None


async def _expects_tls(visit: _Visit, url: URL, error: Exception) -> bool:
    # Many TLS servers close the connection of a plain-text client without a response; others send an alert.
    match error:
        case aiohttp.ClientConnectorError():
            return False
        case aiohttp.ServerDisconnectedError() | aiohttp.ClientOSError() | aiohttp.ClientResponseError():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout_at(visit.end):
                    return await speaks_tls(visit.session, url)
    return False


def _connection_failure(error: Exception) -> PictureError:
    if isinstance(error, NoSocketError):
        return PostponedError("our machine has no connection left for the image at the moment")
    if reason := _fault_of_the_url(error):
        return PictureError(reason)
    if isinstance(error, aiohttp.ClientPayloadError):
        return PictureError("the picture's host broke off in the middle of the file", host_fault=HostFault.UNSERVED)
    fault = HostFault.UNREACHABLE if isinstance(error, UnreachableError) else HostFault.UNSERVED
    return PictureError("the picture's host could not be reached or did not answer properly", host_fault=fault)


def _fault_of_the_url(error: Exception) -> str | None:
    """Why no retry helps and no other URL of the host is concerned."""
    match error:
        case aiohttp.ClientConnectorError(os_error=AddressDeniedError() as denial):
            return str(denial)
        case aiohttp.ClientConnectorCertificateError():
            return "the picture's host has no valid certificate"
        case aiohttp.ClientConnectorSSLError(os_error=ssl.SSLError(reason=reason)) if reason in _NOT_TLS:
            return "the image's host does not speak https at this address"
        case aiohttp.InvalidURL():
            return UNUSABLE_URL
        case _:
            return None


async def _get(visit: _Visit, url: URL) -> Fetched | NotModified | _Redirect:
    async with get(visit.session, url, visit.known.headers()) as response:
        if response.status in _REDIRECTS:
            return _Redirect(response.headers.get("Location", ""))
        if response.status == _NOT_MODIFIED and visit.known:
            return NotModified()
        _check_head(response, visit.limits)
        return await _read(response, visit.limits)


async def _read(response: aiohttp.ClientResponse, limits: CopyLimits) -> Fetched:
    content = bytearray()
    async for piece in response.content.iter_any():
        content += piece
        if len(content) > limits.max_bytes:
            raise _too_large(limits)
    if not content:
        raise PictureError("the picture's host sent an empty file")
    return Fetched(bytes(content), Validators(_validator(response, "ETag"), _validator(response, "Last-Modified")))


def _check_head(response: aiohttp.ClientResponse, limits: CopyLimits) -> None:
    status = response.status
    if status in _GONE:
        raise PictureError(f"there is no picture at this address any more (the host answers {status})")
    if status != _OK:
        transient = status in _TRANSIENT or status >= _FIRST_SERVER_ERROR
        raise PictureError(
            f"the picture's host answers {status} instead of the picture",
            transient=transient,
            host_fault=HostFault.UNSERVED if status in _CANNOT_SERVE_NOW else None,
        )
    headers = response.headers
    encodings = [*headers.getall("Content-Encoding", ()), *headers.getall("Transfer-Encoding", ())]
    if not _UNCOMPRESSED.issuperset(encoding.strip().lower() for encoding in encodings):
        raise PictureError("the picture's host sends it compressed, although asked not to")
    if headers.get("Content-Type", "").partition(";")[0].strip().lower() == "text/html":
        raise PictureError(WEB_PAGE)
    if int(headers.get("Content-Length") or 0) > limits.max_bytes:
        raise _too_large(limits)


def _too_large(limits: CopyLimits) -> PictureError:
    return PictureError(f"the picture is larger than {limits.max_bytes / 1_000_000:g} MB")


def _validator(response: aiohttp.ClientResponse, header: str) -> str | None:
    """A header worth sending back; one with bytes outside ASCII could be neither stored nor sent as it came."""
    value = response.headers.get(header, "")
    return value if _VALIDATOR.fullmatch(value) else None
