"""Classes of a program: one class on each side, whatever comes and goes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any, Callable

import cloudburst
from e2e.node import Node

ONE_WORKER = {"CLOUDBURST_EXECUTOR__WORKERS_MIN": "1", "CLOUDBURST_EXECUTOR__WORKERS_MAX": "1"}

PROGRAM = '''
import pickle

import cloudburst

app = cloudburst.connect()


class Item:
    kind = "raw"


# The program's own class stays as it is, whatever comes back.
make = app.function(lambda: Item(), name="make")
assert type(make.remote().get()) is Item
Item.kind = "cooked"
assert type(make.remote().get()) is Item
assert Item.kind == "cooked"


class Cache:
    held = {}


# What functions keep in a class lasts as long as the worker.
fill = app.function(lambda: Cache.held.update(model=1), name="fill")
size = app.function(lambda: len(Cache.held), name="size")
name = app.function(lambda: Cache.__name__, name="name")
fill.remote().get(), size.remote().get(), fill.remote().get()
assert size.remote().get() == 1
name.remote().get()
assert size.remote().get() == 1
assert app.function(lambda cache: len(cache.held), name="given").remote(Cache()).get() == 1
assert Cache.held == {}


class Rate:
    per_cent = 1
    steps = [1]
    calls = 0

    def twice(self):
        return 2 * self.per_cent


# What the program assigns travels with the next registration, and what it did not assign stays.
def look():
    Rate.calls += 1
    return Rate.per_cent, Rate.steps, Rate.calls, Rate().twice(), hasattr(Rate, "extra")


rate = app.function(look, name="rate")
assert rate.remote().get() == (1, [1], 1, 2, False)
Rate.per_cent = 3
Rate.steps.append(2)
Rate.extra = 1
rate.register()
assert rate.remote().get() == (3, [1, 2], 2, 6, True), rate.remote().get()
Rate.twice = lambda self: 0
del Rate.extra
rate.register()
assert rate.remote().get() == (3, [1, 2], 3, 0, False)
assert Rate.calls == 0


class Registry(type):
    made = []

    def __init__(cls, *given):
        super().__init__(*given)
        Registry.made.append(cls.__name__)


class Plugin(metaclass=Registry):
    pass


# A class is made once, and hooks that made it are not called again.
count = app.function(lambda plugin=Plugin: (Registry.made, type(plugin) is Registry), name="count")
for _ in range(2):
    count.register()
    assert count.remote(Plugin).get() == (["Plugin"], True)
assert Registry.made == ["Plugin"]


@app.function
class Mentions:
    """It mentions its own name."""

    def run(self):
        return Mentions.name, pickle.loads(pickle.dumps(Item())).kind


assert Mentions.remote().get() == ("Mentions", "cooked")
assert Mentions.__doc__ == "It mentions its own name."
print("fine")
'''


def run(source: str, directory: Path) -> str:
    script = directory / "script.py"
    script.write_text(source)
    ended = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def test_a_class_is_one_class(own_node: Callable[..., Node], tmp_path: Path) -> None:
    own_node(environment=ONE_WORKER)
    assert run(PROGRAM, tmp_path) == "fine\n"
    assert run(PROGRAM, tmp_path) == "fine\n", "another program has classes of its own"


def test_what_a_worker_defines_is_one_class_here(node: Any, name: str) -> None:
    def make() -> Any:
        class Made:
            def __init__(self, n: int) -> None:
                self.n = n

        return [Made(1), Made(2)]

    with cloudburst.connect() as app:
        first, second = app.function(make, name=name).remote().get()
    assert type(first) is type(second)
    assert (first.n, second.n) == (1, 2)
