"""What Cloudburst does, in one minute: ``make demo``.

Starts a node on an empty directory, composes functions, keeps state, makes things fail, and says what happened. Ends with
exit status 1 if anything was not as it should be.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Callable, Iterator, List

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from cloudburst.client.client import CloudburstConnection  # noqa: E402
from cloudburst.shared.reference import CloudburstReference  # noqa: E402
from e2e.node import Node, until  # noqa: E402

MEASURED_CALLS = 3000
COLOURS = sys.stdout.isatty() and "NO_COLOR" not in os.environ


def styled(code: str, text: str) -> str:
    return f"\033[{code}m{text}\033[0m" if COLOURS else text


class Demo:
    """Shows statements with what they gave, and counts what was wrong."""

    def __init__(self) -> None:
        self.faults = 0

    @contextlib.contextmanager
    def chapter(self, title: str) -> Iterator[None]:
        print(f"\n{styled('1', title)}")
        try:
            yield
        except Exception as failure:
            self.faults += 1
            print(f"  {styled('31', '✗')} {type(failure).__name__}: {failure}")

    def show(self, statement: str, got: Any, expected: Any) -> None:
        right = got == expected
        self.faults += not right
        print(f"  {styled('32', '✓') if right else styled('31', '✗')} {statement}  {styled('36', repr(got))}")
        if not right:
            print(f"      expected {expected!r}")

    def say(self, text: str) -> None:
        print(f"    {styled('2', text)}")


def compose(demo: Demo, cloud: CloudburstConnection) -> None:
    with demo.chapter("Functions, composed"):
        sq = cloud.register(lambda _, x: x * x, "sq")
        demo.show("sq(2).get()", sq(2).get(), 4)
        cloud.register(lambda _, x: x + 1, "incr")
        created = cloud.register_dag("f", ["incr", "sq"], [("incr", "sq")])
        demo.show("register_dag('f', ['incr', 'sq'], [('incr', 'sq')])", created, (True, 0))
        demo.show("call_dag('f', {'incr': [3]}).get()", cloud.call_dag("f", {"incr": [3]}).get(), 16)


def keep_state(demo: Demo, cloud: CloudburstConnection) -> None:
    def count(library: Any, key: str) -> int:
        value: int = (library.get(key) or 0) + 1
        library.put(key, value)
        return value

    class Account:
        def __init__(self, library: Any, balance: int) -> None:
            self.balance = balance

        def run(self, library: Any, amount: int) -> int:
            self.balance += amount
            return self.balance

    with demo.chapter("State: a counter in the store, and a class that remembers"):
        counter = cloud.register(count, "count")
        demo.show("count('visits') three times", [counter("visits").get() for _ in range(3)], [1, 2, 3])
        demo.show("get_object('visits')", cloud.get_object("visits"), 3)
        account = cloud.register((Account, (100,)), "account")
        demo.show("account(5), account(-30)", [account(5).get(), account(-30).get()], [105, 75])
        read = cloud.register(lambda _, x: x, "read")
        cloud.put_object("visits", 40)
        demo.show("read(CloudburstReference('visits', True))", read(CloudburstReference("visits", True)).get(), 40)


def fail(demo: Demo, cloud: CloudburstConnection) -> None:
    def divide(library: Any, x: int, y: int) -> float:
        return x / y

    with demo.chapter("A function that raises"):
        division = cloud.register(divide, "divide")
        try:
            division(1, 0).get()
            demo.show("divide(1, 0).get()", "no exception", "ZeroDivisionError")
        except ZeroDivisionError as raised:
            demo.show("divide(1, 0).get() raises", repr(raised), "ZeroDivisionError('division by zero')")
            for line in str(raised.__cause__).strip().splitlines():
                demo.say(line)
        demo.show("divide(1, 4).get(), after it", division(1, 4).get(), 0.25)


def kill(demo: Demo, cloud: CloudburstConnection) -> None:
    def hold(library: Any) -> str:
        attempt: int = (library.get("attempt") or 0) + 1
        library.put("attempt", attempt)
        library.put("pid", os.getpid())
        while library.get("go") is None:
            time.sleep(0.005)
        return f"finished at attempt {attempt}"

    def pid_of(attempt: int) -> Callable[[], Any]:
        def found() -> Any:
            with contextlib.suppress(KeyError):
                return cloud.get_object("attempt") == attempt and cloud.get_object("pid")

        return found

    with demo.chapter("A worker killed in mid-call"):
        future = cloud.register(hold, "hold")()
        first = until(pid_of(1), "the function to run")
        os.kill(first, signal.SIGKILL)
        demo.say(f"kill -9 {first}, in which hold() was running")
        second = until(pid_of(2), "the function to run again")
        demo.say(f"hold() runs again, in {second}")
        cloud.put_object("go", True)
        demo.show("hold().get()", future.get(), "finished at attempt 2")


def crash(demo: Demo, cloud: CloudburstConnection, node: Node) -> None:
    with demo.chapter("The node itself killed, and started again on its directory"):
        killed = node.process.pid
        node.kill()
        before = time.perf_counter()
        node.start()
        demo.say(f"kill -9 {killed}; ready again after {1e3 * (time.perf_counter() - before):.0f} ms")
        demo.show("call_dag('f', {'incr': [9]}).get()", cloud.call_dag("f", {"incr": [9]}).get(), 100)
        demo.show("get_object('visits')", cloud.get_object("visits"), 40)


def measure(demo: Demo, cloud: CloudburstConnection) -> None:
    def timed(what: str, call: Callable[[int], Any]) -> None:
        for i in range(300):
            call(i)
        taken: List[int] = []
        right = True
        for i in range(MEASURED_CALLS):
            before = time.perf_counter_ns()
            answer = call(i)
            taken.append(time.perf_counter_ns() - before)
            right &= answer == (i + 1) ** 2
        taken.sort()
        p50, p99 = (taken[int(MEASURED_CALLS * p)] / 1e3 for p in (0.5, 0.99))
        demo.show(f"{what:<38} p50 {p50:6.0f} µs   p99 {p99:6.0f} µs   all right", right, True)

    with demo.chapter(f"sq(incr(x)), {MEASURED_CALLS:,} calls one after another"):
        timed("call_dag(…).get()", lambda x: cloud.call_dag("f", {"incr": [x]}).get())
        timed("call_dag(…, direct_response=True)", lambda x: cloud.call_dag("f", {"incr": [x]}, direct_response=True))
        both = cloud.register(lambda _, x: (x + 1) ** 2, "both")
        timed("one function, both(x).get()", lambda x: both(x).get())


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--binary", type=Path, default=ROOT / "bin" / "cloudburst")
    demo = Demo()
    with tempfile.TemporaryDirectory(prefix="cloudburst-demo-") as directory:
        node = Node(Path(directory), binary=parser.parse_args().binary.resolve())
        try:
            before = time.perf_counter()
            node.start()
            print(f"A node on an empty directory: {node.url}, ready after {1e3 * (time.perf_counter() - before):.0f} ms")
            os.environ.update(node.environment())
            cloud = CloudburstConnection("127.0.0.1", "127.0.0.1", local=True)
            compose(demo, cloud)
            keep_state(demo, cloud)
            fail(demo, cloud)
            kill(demo, cloud)
            measure(demo, cloud)
            crash(demo, cloud, node)
            with demo.chapter("Stopped"):
                demo.show("exit status of the drained node", node.stop(), 0)
                demo.show("processes left behind", node.family(), [])
        except Exception as failure:
            demo.faults += 1
            print(f"\n{styled('31', '✗')} {type(failure).__name__}: {failure}\n\nThe node printed:\n{node.output}")
        finally:
            node.kill()
    if demo.faults:
        print(styled("1;31", f"\n{demo.faults} of these were wrong."))
    else:
        print(styled("1;32", "\nEverything was as it should be."))
    return 1 if demo.faults else 0


if __name__ == "__main__":
    sys.exit(main())
