"""Two chained calls, each a run of its own as in the other systems, and tasks that are started without waiting."""

from __future__ import annotations

import os

import cloudburst
from bench.peers import timing


def main() -> None:
    app = cloudburst.connect()
    incr, sq = app.function(timing.incr), app.function(timing.sq)
    pipeline = incr >> sq
    chain = pipeline.remote if os.environ["BENCH_WAY"] == "pipeline" else lambda x: sq.remote(incr.remote(x))
    timing.measure("", lambda x: chain(x).get(), incr.remote, lambda futures: [future.get() for future in futures])


if __name__ == "__main__":
    main()
