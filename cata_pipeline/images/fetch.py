"""Fetches one picture's bytes from a host we do not trust: a conditional GET with a cap on everything.

Add rules about a host's answer here. Which addresses may be reached is `guard.py`; whether the bytes are a picture is
`inspection.py`.
"""

import asyncio
import re
from dataclasses import dataclass

import aiohttp
from yarl import URL

from cata_pipeline.addresses import AddressPolicy
from cata_pipeline.images.failure import PictureError
from cata_pipeline.images.guard import is_denial
from cata_pipeline.images.limits import CopyLimits
from cata_pipeline.images.picture_url import UNUSABLE_URL, checked_url, redirect_target
from cata_pipeline.images.validators import Validators

_HEADERS = {
    "Accept": "image/jpeg, image/png, image/webp, */*;q=0.1",
    "Accept-Encoding": "identity",
    "User-Agent": "cata-pipeline",
}
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_GONE = frozenset({404, 410})
_TRANSIENT = frozenset({408, 425, 429})
_OK, _NOT_MODIFIED, _FIRST_SERVER_ERROR = 200, 304, 500
_VALIDATOR = re.compile(r"[\x20-\x7e]{1,512}")


@dataclass(frozen=True)
class Fetched:
    """A whole body (1 to `max_bytes` bytes, as sent) and the validators for the next time."""

    content: bytes
    validators: Validators


@dataclass(frozen=True)
class NotModified:
    """The host says that the picture is what it was; no body travelled."""


async def fetch(
    session: aiohttp.ClientSession, url: str, known: Validators, policy: AddressPolicy, limits: CopyLimits
) -> Fetched | NotModified:
    """GET `url` through a guarded session; `known` makes the request conditional.

    Raises `PictureError` for everything that goes wrong with this URL or its host, and nothing else.
    """
    try:
        async with asyncio.timeout(limits.deadline_seconds):
            return await _follow(session, checked_url(url, policy, limits.url_characters), known, policy, limits)
    except PictureError:
        raise
    except TimeoutError:
        raise PictureError("the picture's host did not answer completely in time", transient=True) from None
    except aiohttp.ClientConnectorCertificateError:
        raise PictureError("the picture's host has no valid certificate") from None
    except (aiohttp.ClientError, OSError) as error:
        raise _connection_failure(error) from None
    except (ValueError, IndexError, TypeError):
        # URL, IDNA and header parsing raise these for spellings that no check above foresees; one must not stop all.
        raise PictureError(UNUSABLE_URL) from None


def _connection_failure(error: Exception) -> PictureError:
    if is_denial(error):
        return PictureError("the picture's address is not on the public internet")
    if isinstance(error, aiohttp.InvalidURL):
        return PictureError(UNUSABLE_URL)
    if isinstance(error, aiohttp.ClientPayloadError):
        return PictureError("the picture's host broke off in the middle of the file", transient=True)
    return PictureError("the picture's host could not be reached or did not answer properly", transient=True)


async def _follow(
    session: aiohttp.ClientSession, url: URL, known: Validators, policy: AddressPolicy, limits: CopyLimits
) -> Fetched | NotModified:
    for _ in range(limits.redirects + 1):
        async with session.get(url, allow_redirects=False, headers=_HEADERS | known.headers()) as response:
            if response.status not in _REDIRECTS:
                return await _read(response, known, limits)
            url = redirect_target(url, response.headers.get("Location", ""), policy, limits.url_characters)
    raise PictureError(f"the picture's host redirects more than {limits.redirects} times")


async def _read(response: aiohttp.ClientResponse, known: Validators, limits: CopyLimits) -> Fetched | NotModified:
    if response.status == _NOT_MODIFIED and known:
        return NotModified()
    _check_head(response, limits)
    content = bytearray()
    async for chunk in response.content.iter_any():
        content += chunk
        if len(content) > limits.max_bytes:
            raise _too_large(limits)
    if not content:
        raise PictureError("the picture's host sent an empty file")
    validators = Validators(_validator(response, "ETag"), _validator(response, "Last-Modified"))
    return Fetched(bytes(content), validators)


def _check_head(response: aiohttp.ClientResponse, limits: CopyLimits) -> None:
    status = response.status
    if status in _GONE:
        raise PictureError(f"there is no picture at this address any more (the host answers {status})")
    if status != _OK:
        transient = status in _TRANSIENT or status >= _FIRST_SERVER_ERROR
        raise PictureError(f"the picture's host answers {status} instead of the picture", transient=transient)
    if response.headers.get("Content-Encoding", "identity").strip().lower() not in {"identity", ""}:
        raise PictureError("the picture's host sends it compressed, although asked not to")
    if response.content_type.lower() == "text/html":
        raise PictureError("the address leads to a web page, not to a picture")
    if (response.content_length or 0) > limits.max_bytes:
        raise _too_large(limits)


def _too_large(limits: CopyLimits) -> PictureError:
    return PictureError(f"the picture is larger than {limits.max_bytes / 1_000_000:g} MB")


def _validator(response: aiohttp.ClientResponse, header: str) -> str | None:
    """A header worth sending back; one with bytes outside ASCII could be neither stored nor sent as it came."""
    value = response.headers.get(header, "")
    return value if _VALIDATOR.fullmatch(value) else None
