"""What people write by hand: a pool of 16 threads with requests and google-cloud-storage, in a process of its own.

Named by content and created once, as ours are; no guard, no decoding, no memory of what was fetched: it downloads
everything each time. Arguments: the file with the URLs, the origin of the storage, its bucket.
"""

import hashlib
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import requests
from google.api_core.exceptions import PreconditionFailed
from google.auth.credentials import AnonymousCredentials
from google.cloud import storage
from requests.adapters import HTTPAdapter

from benchmarks.images.work import worked

_THREADS = 16
_SECONDS = 30


def main(urls: str, origin: str, bucket_name: str) -> None:
    """Copy all pictures and print what it took."""
    adapter = HTTPAdapter(pool_maxsize=_THREADS)
    session = requests.Session()
    session.trust_env = False
    session.mount("http://", adapter)
    client = storage.Client(
        project="bench", credentials=AnonymousCredentials(), client_options={"api_endpoint": origin}
    )
    client._http.mount("http://", adapter)  # noqa: SLF001 with its own pool of ten it would drop connections
    bucket = client.bucket(bucket_name)

    def copy(url: str) -> None:
        reply = session.get(url, timeout=_SECONDS)
        reply.raise_for_status()
        blob = bucket.blob(f"bench/items/{hashlib.sha256(reply.content).hexdigest()}.jpg")
        try:
            blob.upload_from_string(reply.content, content_type="image/jpeg", if_generation_match=0)
        except PreconditionFailed:
            return

    with worked(), ThreadPoolExecutor(_THREADS) as pool:
        for _ in pool.map(copy, Path(urls).read_text().split()):
            pass


if __name__ == "__main__":
    main(*sys.argv[1:])
