"""Push-sum gossip: running functions compute the average of their values by messages alone, without a coordinator.

Each holds a sum and a weight, keeps half of both in each round and sends the other half to a random peer; sum / weight of
every one goes to the average (Kempe, Dobra and Gehrke, 2003).

    make serve                                    # in another terminal
    .venv/bin/python examples/gossip.py
"""

from __future__ import annotations

import random
import uuid
from typing import List

import cloudburst

ACTORS = 10
ROUNDS = 60

app = cloudburst.connect()


@app.function
def actor(group: str, me: int, value: float) -> float:
    context = cloudburst.context()
    context.put(f"{group}/{me}", context.id)
    peers = [context.get(f"{group}/{i}", wait=30) for i in range(ACTORS) if i != me]
    total, weight = value, 1.0
    for _ in range(ROUNDS):
        total, weight = total / 2, weight / 2
        context.send(random.choice(peers), (total, weight))
        for _, (more, heavier) in context.recv(0.01):
            total, weight = total + more, weight + heavier
    # A function stays while others may still write to it.
    context.put(f"{group}/done/{me}", True)
    for i in range(ACTORS):
        context.get(f"{group}/done/{i}", wait=30)
    return total / weight


def main() -> None:
    values = [random.uniform(0, 100) for _ in range(ACTORS)]
    group = uuid.uuid4().hex
    found: List[float] = [future.get() for future in actor.map([group] * ACTORS, range(ACTORS), values)]
    average = sum(values) / ACTORS
    worst = max(abs(estimate - average) / average for estimate in found)
    print(f"average {average:.3f}, found by gossip: {', '.join(f'{estimate:.3f}' for estimate in found)}")
    print(f"within {100 * worst:.2f} %")


if __name__ == "__main__":
    main()
