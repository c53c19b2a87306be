"""Asks a provider's API and returns what it says, with every patience and every caution that all providers share.

Add here what holds for each POS: deadlines, retries, what becomes of an answer. What a failed try means is in
`failed_tries`; URLs, tokens, paging and row formats belong to the provider's own module.
"""

import asyncio
import re
from base64 import b64encode
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from types import TracebackType
from typing import Protocol, Self, TypeGuard, TypeVar

import httpx
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type, stop_after_attempt, wait_exponential_jitter

from cata_pipeline.addresses import AddressDeniedError, AddressPolicy
from cata_pipeline.errors import ProviderError
from cata_pipeline.providers.failed_tries import (
    TransientError,
    advice_for,
    is_transient,
    rest_asked_for,
    transport_problem,
)
from cata_pipeline.providers.fetch_limits import DEFAULT_BYTES, DEFAULT_ROWS, FetchMeter, Limits, rows_in
from cata_pipeline.providers.json_body import (
    MAX_BODY_BYTES,
    BadBodyError,
    CutBodyError,
    TooLargeError,
    body_of,
    json_list,
    json_object,
    media_type_of,
)
from cata_pipeline.providers.network import GuardedNetwork, guarded_client
from cata_pipeline.providers.pacing import OF_THIS_PROCESS, Pacing
from cata_pipeline.providers.secrets import Secrets
from cata_pipeline.providers.urls import origin_of
from cata_pipeline.redaction import Redactor

Body = TypeVar("Body")
Answer = TypeVar("Answer")
Reader = Callable[[httpx.Response], Awaitable[Body]]
"""Makes of a streamed answer what is wanted; raises `BadBodyError` or `CutBodyError`. Called again for each try."""

_OK = 200
_HEADER_SAFE = re.compile(r"[\x21-\x7e]{1,8192}")
_EXCERPT_CHARACTERS = 200
_ERROR_BODY_BYTES = 64 * 1024
_PAGES = frozenset({"text/html", "text/plain"})
_BACKOFF = wait_exponential_jitter(initial=1, max=30, jitter=1)


class RefusedError(ProviderError):
    """The provider responded with a status that another attempt would not change.

    `reason` is its own error message: None where its body is empty or a page for people, else empty where there is none
    that may be quoted.
    """

    def __init__(self, message: str, status: int, reason: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.reason = reason


def _utc_now() -> datetime:
    return datetime.now(UTC)


class Budgets(Limits, Protocol):
    """The options by which a tenant bounds one request and the whole fetch: seconds, bytes and rows."""

    @property
    def request_budget_seconds(self) -> float:
        """For one request, its retries included."""

    @property
    def fetch_budget_seconds(self) -> float:
        """For all requests of a fetch."""


@dataclass(frozen=True)
class Patience:
    """How long and how often to ask.

    `budget_seconds` bounds one request with all its tries and rests, `fetch_seconds` all requests of one fetch: a POS
    that answers each just in time must not keep a batch for ever. `max_bytes` and `max_rows` bound what they bring.
    """

    budget_seconds: float = 60.0
    fetch_seconds: float = 1_800.0
    max_bytes: int = DEFAULT_BYTES
    max_rows: int = DEFAULT_ROWS
    tries: int = 5
    pacing: Pacing = OF_THIS_PROCESS
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    now: Callable[[], datetime] = _utc_now

    def within(self, budgets: Budgets) -> Self:
        """The same patience, bounded by a tenant's options."""
        return replace(
            self,
            budget_seconds=budgets.request_budget_seconds,
            fetch_seconds=budgets.fetch_budget_seconds,
            max_bytes=budgets.max_bytes,
            max_rows=budgets.max_rows,
        )


@dataclass(frozen=True)
class Call:
    """One request. `what` names it in messages; at most one of `json` and `form` is its body.

    It is authorized by at most one of `token` (a bearer's) and `basic` (user and password). `headers` are sent besides
    those that every request has.
    """

    what: str
    method: str
    url: httpx.URL
    json: Mapping[str, object] | None = None
    form: Mapping[str, str] | None = field(default=None, repr=False)
    token: str | None = field(default=None, repr=False)
    basic: tuple[str, str] | None = field(default=None, repr=False)
    headers: Mapping[str, str] = field(default_factory=dict)


def is_sendable(token: object) -> TypeGuard[str]:
    """Whether a header can hold it."""
    return isinstance(token, str) and _HEADER_SAFE.fullmatch(token) is not None


def token_to_send(secrets: Mapping[str, str], key: str) -> str:
    """The secret, for a header; raises `ProviderError` for one that none can hold."""
    if not is_sendable(token := secrets[key]):
        raise ProviderError(f"The {key} is not one that can be sent: check the tenant's credentials.")
    return token


def completed(fetch: Coroutine[object, None, Answer]) -> Answer:
    """What `fetch` returns, run to its end in an event loop of its own; blocks.

    Not `asyncio.run` alone: on the main thread it writes out (`repr`) what its task returns, which takes a catalog a
    tenth of its fetch.
    """
    answers: list[Answer] = []

    async def keep_answer() -> None:
        answers.append(await fetch)

    asyncio.run(keep_answer())
    return answers[0]


class JsonClient:
    """One provider's connections during one fetch; an asynchronous context manager.

    The values of `secrets` and texts given to `redact` never become part of a message. `account` is what the vendor
    counts requests by, where that is not the origin.
    """

    def __init__(
        self,
        policy: AddressPolicy,
        patience: Patience,
        secrets: Mapping[str, str] | None = None,
        account: str | None = None,
    ) -> None:
        self._policy = policy
        self._patience = patience
        self._account = account
        self._meter = FetchMeter(patience)
        self._network = GuardedNetwork(policy)
        self._http = guarded_client(self._network)
        self._redactor = secrets.redactor if isinstance(secrets, Secrets) else Redactor(*(secrets or {}).values())

    async def __aenter__(self) -> Self:
        await self._http.__aenter__()
        self._whole_fetch = await asyncio.timeout(self._patience.fetch_seconds).__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            await self._whole_fetch.__aexit__(kind, error, trace)
        except TimeoutError:
            raise ProviderError(
                f"The catalog was not complete after {self._patience.fetch_seconds:g} s, so nothing was taken. The POS"
                " is too slow or its pages have no end: try again later, or raise the tenant's fetch budget."
            ) from None
        finally:
            try:
                await self._http.__aexit__(kind, error, trace)
            finally:
                self._network.close()

    def redact(self, secret: str) -> None:
        """Never quote a text that holds this secret, in whatever spelling."""
        self._redactor.add(secret)

    def quoted(self, text: object) -> str:
        """The first words of something the provider said, fit for a message; empty when there is nothing fit."""
        if not isinstance(text, str) or self._redactor.finds_in(text):
            return ""
        words = "".join(character if character.isprintable() else " " for character in text).split()
        return " ".join(words)[:_EXCERPT_CHARACTERS]

    def error_words(self, body: Mapping[str, object]) -> str:
        """What a failing answer says about itself, under whichever of the usual keys; empty when nothing.

        Of a list of `errors`, the first one: its code and its detail.
        """
        keys = ("error_message", "error_description", "message", "Message", "error", "title")
        if plain := next((words for words in (self.quoted(body.get(key)) for key in keys) if words), ""):
            return plain
        errors = body.get("errors")
        first = errors[0] if isinstance(errors, list) and errors else None
        if not isinstance(first, dict):
            return ""
        return ": ".join(words for key in ("code", "detail", "details") if (words := self.quoted(first.get(key))))

    async def ask(self, call: Call) -> dict[str, object]:
        """The JSON object that the provider answers with status 200.

        Raises `RefusedError` for a status that is final, `ProviderError` for everything else: no connection,
        no end within the budget, no JSON, more bytes or rows than the tenant's limits.
        """
        return await self.receive(call, self._metered(json_object))

    async def ask_list(self, call: Call) -> list[object]:
        """The same where the whole answer is a JSON list."""
        return await self.receive(call, self._metered(json_list))

    def _metered(self, parse: Callable[[bytes | bytearray], Body]) -> Reader[Body]:
        """Read a body no further than the fetch's limits, and count it."""

        async def read(reply: httpx.Response) -> Body:
            left = self._meter.bytes_left
            try:
                body = await body_of(reply, min(left, MAX_BODY_BYTES))
            except TooLargeError:
                if left < MAX_BODY_BYTES:
                    raise self._meter.refuse_bytes() from None
                raise
            parsed = parse(body)
            self._meter.take(len(body), rows_in(parsed))
            return parsed

        return read

    async def receive(self, call: Call, read: Reader[Body]) -> Body:
        """What `read` makes of an answer with status 200, which it bounds itself; raises as `ask` does otherwise."""
        origin = origin_of(call.url)
        subject = f"{call.what} at {origin}"
        if call.url.scheme != "https" and not self._policy.admits_plain_http(call.url.host, call.url.port or 80):
            raise ProviderError(
                f"{subject}: plain http to an address that is not allowed, so nothing was sent."
                " Use https, or name this ip:port in CATA_ALLOW_PRIVATE_ENDPOINTS."
            )
        await self._rest_for_slot(origin)
        problems: list[str] = []
        try:
            async with asyncio.timeout(self._patience.budget_seconds) as deadline:
                return await self._retrying(origin, deadline)(self._try_once, call, read, subject, deadline, problems)
        except TimeoutError:
            before = f" (before that: {problems[-1]})" if problems else ""
            raise ProviderError(
                f"{subject}: no complete answer within {self._patience.budget_seconds:g} s{before}."
                " The POS is too slow or stalls: try again later, or raise the tenant's request budget."
            ) from None
        except TransientError as error:
            raise ProviderError(
                f"{subject}: gave up after {len(problems)} tries; the last one: {error}. {error.advice}"
            ) from error.__cause__

    def _retrying(self, origin: str, deadline: asyncio.Timeout) -> AsyncRetrying:
        async def rest(seconds: float) -> None:
            await self._patience.sleep(seconds)
            await self._rest_for_slot(origin, deadline)

        return AsyncRetrying(
            sleep=rest,
            stop=stop_after_attempt(self._patience.tries),
            wait=_wait,
            retry=retry_if_exception_type(TransientError),
            reraise=True,
        )

    async def _rest_for_slot(self, origin: str, deadline: asyncio.Timeout | None = None) -> None:
        """Wait without using up a request's budget: a queue of our own making must not look like a slow POS."""
        seconds = self._patience.pacing.seconds_to_wait(self._account or origin)
        if deadline is not None and (ends := deadline.when()) is not None:
            deadline.reschedule(ends + seconds)
        await self._patience.sleep(seconds)

    async def _try_once(
        self, call: Call, read: Reader[Body], subject: str, deadline: asyncio.Timeout, problems: list[str]
    ) -> Body:
        headers = {**call.headers, **self._authorization(call)}
        try:
            async with self._http.stream(
                call.method, call.url, json=call.json, data=call.form, headers=headers
            ) as reply:
                if reply.status_code != _OK:
                    await self._raise_for_status(reply, subject, deadline)
                return await read(reply)
        except AddressDeniedError:
            raise ProviderError(
                f"{subject}: the host is at an address that may not be reached, so nothing was sent. Check the URL."
            ) from None
        except httpx.InvalidURL:
            # httpx reads where a redirect leads, although it is not to go there.
            raise ProviderError(
                f"{subject}: it redirects to what is no address. Redirects are not followed anyway: check the URL."
            ) from None
        except BadBodyError as error:
            raise ProviderError(f"{subject}: the answer (HTTP 200) {error}. {error.advice}") from error
        except CutBodyError as error:
            problems.append(f"the answer (HTTP 200) {error}")
            raise TransientError(problems[-1]) from error
        except httpx.TransportError as error:
            problems.append(transport_problem(error, subject))
            raise TransientError(problems[-1]) from error
        except TransientError as error:
            problems.append(str(error))
            raise

    def _authorization(self, call: Call) -> dict[str, str]:
        if call.token:
            return {"Authorization": f"Bearer {call.token}"}
        if call.basic is None:
            return {}
        pair = b64encode(":".join(call.basic).encode()).decode()
        self.redact(pair)
        return {"Authorization": f"Basic {pair}"}

    async def _raise_for_status(self, reply: httpx.Response, subject: str, deadline: asyncio.Timeout) -> None:
        status = reply.status_code
        reason = await self._reason(reply)
        found = f"HTTP {status} ({self.quoted(reply.headers.get('content-type')) or 'no content type'})"
        found += f": {reason}" if reason else ""
        if is_transient(status):
            seconds = rest_asked_for(reply.headers, self._patience.now())
            left = (deadline.when() or 0.0) - asyncio.get_running_loop().time()
            if seconds > left:
                raise ProviderError(
                    f"{subject}: {found}, and it wants {seconds:.0f} s of rest, which is more than is left of"
                    f" {self._patience.budget_seconds:g} s for one request. Try again later."
                )
            raise TransientError(found, seconds, advice_for(status))
        advice = advice_for(status)
        if reply.has_redirect_location:
            advice = "Redirects are not followed: put the address it now has into the tenant's options."
        raise RefusedError(f"{subject}: {found}. {advice}", status, reason)

    async def _reason(self, reply: httpx.Response) -> str | None:
        try:
            return self.error_words(json_object(await body_of(reply, _ERROR_BODY_BYTES)))
        except CutBodyError:
            return None
        except (BadBodyError, httpx.TransportError):
            return None if media_type_of(reply) in _PAGES else ""


def _wait(state: RetryCallState) -> float:
    error = state.outcome.exception() if state.outcome else None
    asked = error.retry_after if isinstance(error, TransientError) else 0.0
    return max(asked, _BACKOFF(state))
