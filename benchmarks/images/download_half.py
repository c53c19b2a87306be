"""img2dataset on the same URLs: the download half only, into a folder; run by the Python of its own environment.

Arguments: the file with the URLs, the folder to fill, how many URLs there are. Bytes are kept as they came; it decodes
each picture to learn its size.
"""

import math
import os
import sys

# The module is not in the project's environment; it is in `.venv-bench-images`.
from img2dataset import download  # type: ignore[import-not-found]

from benchmarks.images.work import worked

_THREADS = 16


def main(urls: str, folder: str, count: str) -> None:
    """Download all pictures and print what it took."""
    processes = os.cpu_count() or 1
    with worked():
        download(
            url_list=urls,
            input_format="txt",
            output_folder=folder,
            output_format="files",
            encode_format="jpg",
            resize_mode="no",
            disable_all_reencoding=True,
            compute_hash="sha256",
            processes_count=processes,
            thread_count=_THREADS,
            number_sample_per_shard=math.ceil(int(count) / processes),
            enable_wandb=False,
        )


if __name__ == "__main__":
    main(*sys.argv[1:])
