"""The functions of the executor's tests. Prints their definitions: JSON, name → convention and pickle in base64."""

import base64
import json

import cloudburst.codec as codec


def incr(_, x):
    return x + 1


def sq(_, x):
    return x * x


def same(_, *x):
    return x[0] if len(x) == 1 else list(x)


def boom(_, x):
    return x // 0


def unpicklable(_):
    import threading

    return {"lock": threading.Lock()}


def large(_, n):
    return bytes(n)


def length(_, x):
    return len(x)


def die(_, path, times):
    """Kill the own process as often as that, then live. A line in the file at path for each attempt."""
    import os
    import pathlib
    import signal

    with pathlib.Path(path).open("a+") as f:
        f.write("x\n")
        f.flush()
        f.seek(0)
        attempts = len(f.readlines())
    if attempts <= times:
        os.kill(os.getpid(), signal.SIGKILL)
    return attempts


def leave(_, code):
    import os

    os._exit(code)


def sleep(_, seconds):
    import time

    time.sleep(seconds)
    return seconds


def spin(_):
    while True:
        pass


def spin_for(_, seconds):
    import time

    end = time.process_time() + seconds
    while time.process_time() < end:
        pass


def spin_until(library, key):
    while library.get(key) is None:
        pass
    return True


def meet(library, i, n):
    """Return when all n functions are here."""
    import time

    library.put(f"here/{i}", i, ack="memory")
    keys = [f"here/{other}" for other in range(n)]
    while None in library.get(keys).values():
        time.sleep(0.001)
    return i


def wait_for(library, key, seconds):
    return library.get(key, wait=seconds)


def get(library, key, deserialize=True):
    return library.get(key, deserialize)


def put(library, key, value):
    return library.put(key, value)


def put_lattices(library, n, member):
    import cloudburst
    from anna.lattices import LWWPairLattice, MaxIntLattice, SetLattice

    context = cloudburst.context()
    context.put("max", MaxIntLattice(n))
    context.put("members", SetLattice({member}))
    context.put("pair", LWWPairLattice(n, member))
    return [context.get(key) for key in ("max", "members", "pair")]


def get_often(library, key, n):
    """Return how many microseconds one get takes."""
    import time

    began = time.perf_counter()
    for _ in range(n):
        library.get(key)
    return (time.perf_counter() - began) / n * 1e6


def delete(library, key):
    return library.delete(key)


def introduce(library, key):
    """Say under a key where this function can be reached, and return the first message that comes."""
    library.put(key, list(library.getid()), ack="memory")
    messages = library.recv(wait=60)
    return [list(messages[0][0]), messages[0][1]]


def tell(library, key, message):
    member, number = library.get(key, wait=60)
    library.send((member, number), message)
    return list(library.getid())


def send_to(library, member, number, message):
    return library.send((member, number), message)


def many_waits(library, n):
    """Wait for messages on n threads, and return without them."""
    import threading

    for _ in range(n):
        threading.Thread(target=lambda: library.recv(wait=60), daemon=True).start()
    return n


def talk(_):
    import os
    import subprocess
    import sys

    print("to stdout")
    print("to stderr", file=sys.stderr)
    sys.stdout.flush()
    os.write(1, b"to the descriptor\n")
    subprocess.run(["echo", "from a child"])


def children(_):
    """Start a child, and one that has left the process group."""
    import os
    import subprocess

    return [os.getpid()] + [subprocess.Popen(["sleep", "1000"], start_new_session=apart).pid for apart in (False, True)]


def pid(_):
    import os

    return os.getpid()


def describe():
    from cloudburst.worker.context import context

    c = context()
    return [c.run_id, c.function, c.version, c.attempt, list(c.id)]


class Counter:
    def __init__(self, _, start):
        self.n = start

    def run(self, _, more):
        self.n += more
        return self.n


class Slow:
    def __init__(self, _):
        self.inside = 0

    def run(self, _):
        import time

        self.inside += 1
        time.sleep(0.02)
        self.inside -= 1
        return self.inside


library, cls, plain = 1, 2, 3
functions = [
    incr, sq, same, boom, unpicklable, large, length, die, leave, sleep, spin, spin_for, spin_until, meet, wait_for, get,
    get_often, put, put_lattices, delete, introduce, tell, send_to, many_waits, talk, children, pid,
]  # fmt: skip
definitions = [(f.__name__, library, f) for f in functions]
definitions += [("describe", plain, describe), ("counter", cls, (Counter, (100,))), ("slow", cls, (Slow, ()))]
encoded = {n: {"convention": c, "pickle": base64.b64encode(codec.encode_pickle(d)).decode()} for n, c, d in definitions}
encoded["broken"] = {"convention": library, "pickle": base64.b64encode(b"\x03no pickle").decode()}
print(json.dumps(encoded))
