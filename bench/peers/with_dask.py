"""Two chained tasks of Dask. Runs in an environment of its own, as a script."""

from __future__ import annotations

import logging
import os
from typing import Any, Callable

import distributed  # type: ignore[import-not-found,unused-ignore]
import timing  # type: ignore[import-not-found,unused-ignore]


def main() -> None:
    with (
        distributed.LocalCluster(
            n_workers=os.cpu_count(), threads_per_worker=1, processes=True, dashboard_address=None, silence_logs=logging.ERROR
        ) as cluster,
        distributed.Client(cluster) as client,
    ):

        def start(function: Callable[[int], int], argument: Any) -> Any:
            return client.submit(function, argument, pure=False)

        timing.measure(
            distributed.__version__,
            lambda x: start(timing.sq, start(timing.incr, x)).result(),
            lambda x: start(timing.incr, x),
            client.gather,
        )


if __name__ == "__main__":
    main()
