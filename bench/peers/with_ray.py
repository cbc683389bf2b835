"""Two chained tasks of Ray. Runs in an environment of its own, as a script."""

from __future__ import annotations

import os

import ray  # type: ignore[import-not-found,unused-ignore]
import timing  # type: ignore[import-not-found,unused-ignore]


def main() -> None:
    ray.init(num_cpus=os.cpu_count(), include_dashboard=False, logging_level="error", log_to_driver=False)
    incr, sq = ray.remote(timing.incr), ray.remote(timing.sq)
    timing.measure(ray.__version__, lambda x: ray.get(sq.remote(incr.remote(x))), incr.remote, ray.get)
    ray.shutdown()


if __name__ == "__main__":
    main()
