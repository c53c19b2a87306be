"""Every knob of the picture copy, with its unit and its default.

Add one here when a number in this package would otherwise stand in the middle of code. What differs between
machines belongs in `cata_pipeline.settings`; nothing here is read from anywhere.
"""

from dataclasses import dataclass
from datetime import timedelta


@dataclass(frozen=True)
class CopyLimits:
    """How often, how much, how large and how long.

    When to look again:
      `revalidate_after`: age of a host's last answer at which a URL is asked again; under a day, so that a nightly
      run finds everything due. `transient_retry` and `permanent_retry`: wait after the first failure and the longest
      wait; each further failure in a row doubles it.
    What a host may send:
      `url_characters`, `redirects`, `max_bytes` (of a body), `header_bytes` (of one line of a response's head),
      `header_lines`, `addresses_per_host` (tried of one DNS response).
    How long (seconds):
      `deadline_seconds` for one picture from the first lookup to the last byte, redirects included;
      `silence_seconds` between two reads, and for one connect; `lookup_seconds` for one DNS response.
    How many at once:
      `concurrency` pictures of a tenant (each may hold `max_bytes` in memory), `concurrency_per_host` of them at one
      host, `lookup_threads` for DNS.
    When a host is left alone:
      `host_failures` in a row without a proper response, for `host_rest_seconds`; `suspended_origins` are remembered.
    What a picture may be:
      `max_pixels`, `min_side`, `max_side` (pixels), `max_frames` (of an animation), `max_scans` (of a JPEG);
      `decode_seconds` (processor time; six times as long by the wall clock), `decode_bytes` (address space of a
      worker process), `decode_workers` (processes, shared by all tenants of a process). An image that takes longer than
      `slow_decode_seconds` goes on beside the workers, one a tenant.
    What a tenant may use in one run; the remainder is due next time:
      `fetch_budget_seconds` that hosts take to deliver, added up over all URLs; `decode_budget_seconds` of decoding.
    How much is written at once:
      `flush_urls` settled together, or `flush_confirmed` where most are as they were (a crash makes us ask again for
      what was not settled, which costs little for those); `flush_items` in one transaction of the tenant database,
      `page_items` read together.
    """

    revalidate_after: timedelta = timedelta(hours=20)
    transient_retry: tuple[timedelta, timedelta] = (timedelta(hours=1), timedelta(days=1))
    permanent_retry: tuple[timedelta, timedelta] = (timedelta(days=1), timedelta(weeks=1))

    url_characters: int = 2_048
    redirects: int = 3
    max_bytes: int = 10_000_000
    header_bytes: int = 16_384
    header_lines: int = 256
    addresses_per_host: int = 4

    deadline_seconds: float = 30.0
    silence_seconds: float = 10.0
    lookup_seconds: float = 5.0

    concurrency: int = 16
    concurrency_per_host: int = 8
    lookup_threads: int = 16

    host_failures: int = 5
    host_rest_seconds: float = 60.0
    suspended_origins: int = 10_000

    max_pixels: int = 50_000_000
    min_side: int = 8
    max_side: int = 12_000
    max_frames: int = 500
    max_scans: int = 50
    decode_seconds: float = 20.0
    decode_bytes: int = 1 << 30
    decode_workers: int = 2
    slow_decode_seconds: float = 0.25

    fetch_budget_seconds: float = 3_600.0
    decode_budget_seconds: float = 300.0

    flush_urls: int = 100
    flush_confirmed: int = 500
    flush_items: int = 500
    page_items: int = 2_000
