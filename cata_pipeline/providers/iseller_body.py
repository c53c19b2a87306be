"""Sends the parameters of iSeller calls as JSON, or as a form to a store that does not understand JSON.

iSeller documents forms; JSON is what most stores accept and what keeps types. Which parameters there are, and what a
response holds, is in `iseller`.
"""

import logging
import re
from collections.abc import Mapping
from dataclasses import replace

from cata_pipeline.providers.http import Call, JsonClient, RefusedError

logger = logging.getLogger(__name__)

_BAD_REQUEST, _UNSUPPORTED_MEDIA_TYPE, _UNPROCESSABLE = 400, 415, 422
_ABOUT_ACCESS = re.compile(
    r"(?<!unexpected )token|auth|credential|secret|api[ _-]?key|permission|denied|forbidden", re.IGNORECASE
)
# The last one is the message of ASP.NET where it bound no parameter.
_NOT_READ = re.compile(
    r"\b(track[ _]?inventory|modified[ _]?after|page[ _]?size|pars(e|ing)|deseriali[sz]\w+|unexpected token"
    r"|object reference not set)\b",
    re.IGNORECASE,
)
_NOT_VALID = re.compile(
    r"missing|required|mandatory|empty|\bnull\b|\bbad\b|invalid|malformed|validation|unsupported"
    r"|\bnot (supported|provided|specified|supplied|given|valid|found|in a correct format)\b"
    r"|\bmust (be|have|contain)\b",
    re.IGNORECASE,
)
_PART_OF_A_REQUEST = re.compile(
    r"\b(page|param(eter)?s?|arguments?|fields?|input|body|request|payload|json|form|(content|media)[ -]?type)\b",
    re.IGNORECASE,
)


class BodyFormat:
    """How one store's calls are written during one fetch; decided by the first response and kept."""

    def __init__(self, client: JsonClient) -> None:
        self._client = client
        self._is_form = False
        self._is_decided = False

    async def ask(self, call: Call) -> dict[str, object]:
        """Return the response to a call with a JSON body; raise as `JsonClient.ask`."""
        if self._is_form:
            return await self._client.ask(_as_form(call))
        try:
            reply = await self._client.ask(call)
        except RefusedError as error:
            if self._is_decided or not _refuses_body(error):
                raise
        else:
            if self._is_decided or not _reports_unread_body(self._client, reply):
                self._is_decided = True
                return reply
        logger.info("%s: the store does not understand JSON, so parameters are sent as a form", call.what)
        self._is_form = True
        return await self._client.ask(_as_form(call))


def failure_reason(client: JsonClient, reply: Mapping[str, object]) -> str:
    """Return the reason that a response gives for its failure, fit for a message; empty where it gives none."""
    return " ".join(filter(None, (client.error_words(reply), client.quoted(reply.get("error_detail")))))


def _refuses_body(error: RefusedError) -> bool:
    reason = error.reason or ""
    if _ABOUT_ACCESS.search(reason):
        return False
    if error.status in (_BAD_REQUEST, _UNPROCESSABLE):
        # An empty reason may be one that repeats a secret; then the failure concerns access.
        return error.reason is None or bool(_NOT_READ.search(reason) or _NOT_VALID.search(reason))
    return error.status == _UNSUPPORTED_MEDIA_TYPE


def _reports_unread_body(client: JsonClient, reply: Mapping[str, object]) -> bool:
    """Return whether HTTP 200 comes with a failure of the parameters, all of which were sent as documented."""
    reason = failure_reason(client, reply)
    if reply.get("status") is True or _ABOUT_ACCESS.search(reason):
        return False
    return bool(_NOT_READ.search(reason) or (_NOT_VALID.search(reason) and _PART_OF_A_REQUEST.search(reason)))


def _as_form(call: Call) -> Call:
    form = {
        key: str(value).lower() if isinstance(value, bool) else str(value) for key, value in (call.json or {}).items()
    }
    return replace(call, json=None, form=form)
