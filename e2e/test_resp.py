"""The Redis endpoint of the real binary with the clients that people have: redis-py, and in the soak the programs of Redis."""

from __future__ import annotations

import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Callable, Iterator

import pytest
import redis

import cloudburst
from cloudburst.errors import InvalidArgumentError
from e2e.node import Node, free_ports


class Endpoint:
    """A node that listens for Redis clients."""

    def __init__(self, own_node: Callable[..., Node]) -> None:
        (self.port,) = free_ports(1)
        self.node = own_node("--resp", f"127.0.0.1:{self.port}")

    def client(self, protocol: int = 2, **options: Any) -> Any:
        password = options.pop("password", self.node.token)
        return redis.Redis(port=self.port, password=password, protocol=protocol, socket_timeout=20, **options)


@pytest.fixture
def endpoint(own_node: Callable[..., Node]) -> Endpoint:
    return Endpoint(own_node)


@pytest.fixture(params=[2, 3], ids=["RESP2", "RESP3"])
def client(request: pytest.FixtureRequest, endpoint: Endpoint) -> Iterator[Any]:
    with endpoint.client(request.param) as made:
        yield made


def test_values(client: Any) -> None:
    assert client.ping()
    assert client.set("a", b"\x00\xff")
    assert client.get("a") == b"\x00\xff"
    assert client.get("missing") is None
    assert client.set("a", 1, nx=True) is None
    assert client.set("b", "text", nx=True)
    assert client.mset({"c": 3, "d": 4.5})
    assert client.mget("a", "missing", "c", "d") == [b"\x00\xff", None, b"3", b"4.5"]
    assert client.exists("a", "b", "missing") == 2
    assert client.type("a") == b"string"
    assert client.delete("a", "b", "missing") == 2
    assert client.set("brief", "x", px=60_000)
    assert 0 < client.pttl("brief") <= 60_000
    assert client.expire("c", 100)
    assert 0 < client.ttl("c") <= 100
    assert client.persist("c")
    assert client.ttl("c") == -1
    large = bytes(range(256)) * 40_000
    assert client.set("large", large)
    assert client.get("large") == large


def test_counters_sets_and_sorted_sets(client: Any) -> None:
    assert client.incr("n") == 1
    assert client.incrby("n", 41) == 42
    assert client.decr("n") == 41
    assert client.sadd("s", "x", "y", "z") == 3
    assert client.srem("s", "y", "missing") == 1
    assert client.smembers("s") == {b"x", b"z"}
    assert client.sismember("s", "x")
    assert client.scard("s") == 2
    assert client.zadd("z", {"one": 1, "two": 2, "three": 3}) == 3
    assert client.zrange("z", 0, -1) == [b"one", b"two", b"three"]
    assert client.zscore("z", "two") == 2.0
    assert client.zrem("z", "one") == 1
    assert client.zcard("z") == 2
    assert client.type("s") == b"set"
    assert client.type("z") == b"zset"


def test_pipelines_and_scans(client: Any) -> None:
    with client.pipeline(transaction=False) as pipeline:
        for i in range(500):
            pipeline.set(f"key-{i}", i)
            pipeline.get(f"key-{i}")
        assert pipeline.execute()[1::2] == [str(i).encode() for i in range(500)]
    assert set(client.scan_iter("key-*")) == {f"key-{i}".encode() for i in range(500)}
    assert client.info()["redis_mode"] == "standalone"
    assert client.command_count() > 50


def test_a_pipeline_is_written_before_it_is_read(client: Any) -> None:
    value = b"v" * 16384
    with client.pipeline(transaction=False) as pipeline:
        for i in range(1000):
            pipeline.set(f"k{i}", value)
            pipeline.get(f"k{i}")
        assert pipeline.execute()[1::2] == [value] * 1000
    assert client.info("clients")["buffer_bytes"] == 0


def test_what_is_not_there_says_so(endpoint: Endpoint) -> None:
    with endpoint.client() as client:
        client.set("a", 1)
        with pytest.raises(redis.ResponseError, match="transaction"):
            client.pipeline(transaction=True).set("a", 2).execute()
        with pytest.raises(redis.ResponseError, match="CLOUDBURST"):
            client.eval("return 1", 0)
        with pytest.raises(redis.ResponseError, match="CLOUDBURST"):
            client.register_script("return redis.call('get', KEYS[1])")(keys=["a"])
        with pytest.raises(redis.ResponseError):
            client.append("a", "b")
        assert client.get("a") == b"1", "the connection goes on"
    with endpoint.client(password="wrong") as stranger, pytest.raises(redis.AuthenticationError):
        stranger.get("a")


def test_one_store(endpoint: Endpoint) -> None:
    app = cloudburst.connect()
    with endpoint.client() as client:
        client.set("from-redis", b"bytes")
        assert app.get("from-redis") == b"bytes"
        app.put("from-python", "text")
        assert client.get("from-python") == b"text"


def test_results_of_runs_are_not_listed(endpoint: Endpoint) -> None:
    app = cloudburst.connect()
    with endpoint.client() as client:
        future = app.function(lambda x: x, name="echo").remote(7)
        assert future.get() == 7
        client.set("mine", 1, ex=100)
        assert client.dbsize() == 1
        assert client.keys("*") == list(client.scan_iter()) == [b"mine"]
        assert client.info("keyspace") == {"db0": {"keys": 1, "expires": 1, "avg_ttl": 0}}
        for key in client.scan_iter():
            client.unlink(key)
        assert app.get(future.key) == 7, "the result is still there"
        for write in (client.delete, client.incr):
            with pytest.raises(redis.ResponseError, match="Cloudburst's own"):
                write(future.key)
    with pytest.raises(InvalidArgumentError, match="Cloudburst's own"):
        app.put(future.key, 8)
    overwrite = app.function(lambda key: cloudburst.context().put(key, 8), name="overwrite")
    with pytest.raises(InvalidArgumentError, match="Cloudburst's own"):
        overwrite.remote(future.key).get()
    assert endpoint.node.cli("kv", "ls").stdout == ""
    assert future.key in endpoint.node.cli("kv", "ls", "cloudburst/").stdout.splitlines()
    assert endpoint.node.cli("kv", "get", future.key).stdout == "7\n"


def test_locks(client: Any, endpoint: Endpoint) -> None:
    with client.lock("job", timeout=20) as lock:
        assert lock.owned()
        assert not client.lock("job", timeout=20).acquire(blocking=False)
        assert 0 < client.pttl("job") <= 20_000
        assert lock.extend(20)
        assert 20_000 < client.pttl("job") <= 40_000
        assert lock.extend(10, replace_ttl=True)
        assert 0 < client.pttl("job") <= 10_000
        assert lock.reacquire()
        assert 10_000 < client.pttl("job") <= 20_000
    assert client.exists("job") == 0, "released at the end of the block"
    lock = client.lock("job", timeout=20)
    assert lock.acquire()
    client.set("job", "another owner's")
    with pytest.raises(redis.exceptions.LockNotOwnedError):
        lock.release()
    with pytest.raises(redis.exceptions.LockError):
        lock.extend(20)
    assert client.execute_command("CLOUDBURST.CAD", "job", "mine") == 0
    assert client.execute_command("CLOUDBURST.CAD", "job", "another owner's") == 1
    assert client.get("job") is None
    counted = 0

    def count() -> None:
        nonlocal counted
        with endpoint.client() as own:
            for _ in range(20):
                with own.lock("count", timeout=20, sleep=0.001):
                    counted = counted + 1

    with ThreadPoolExecutor(4) as pool:
        for done in [pool.submit(count) for _ in range(4)]:
            done.result()
    assert counted == 80


def test_the_node_is_killed(endpoint: Endpoint) -> None:
    with endpoint.client() as client:
        for i in range(300):
            assert client.set(f"kept-{i}", i)
        client.incr("count", 7)
        endpoint.node.kill()
        endpoint.node.start()
        assert client.mget([f"kept-{i}" for i in range(300)]) == [str(i).encode() for i in range(300)]
        assert client.get("count") == b"7"


@pytest.mark.slow
def test_the_programs_of_redis(endpoint: Endpoint) -> None:
    """redis-cli and redis-benchmark, which are in Debian's package redis-tools."""
    for program in ("redis-cli", "redis-benchmark"):
        assert shutil.which(program), f"{program} is not on the PATH; it is in Debian's package redis-tools"
    at = ["-p", str(endpoint.port), "-a", endpoint.node.token]

    def cli(*words: str, stdin: str = "") -> str:
        ask = ["redis-cli", *at, "--no-auth-warning", *words]
        return subprocess.run(ask, input=stdin, capture_output=True, text=True, check=True, timeout=60).stdout.strip()

    assert cli("SET", "greeting", "hello", "EX", "60") == "OK"
    assert cli("GET", "greeting") == "hello"
    assert "proto 3" in cli("-3", "HELLO", "3")
    assert cli(stdin="INCR n\nINCR n\nGET n\n").split() == ["1", "2", "2"]
    tests = "ping_inline,ping_mbulk,set,get,incr,sadd,zadd,mset"
    bench = ["redis-benchmark", *at, "-n", "20000", "-c", "50", "-P", "8", "-t", tests, "--csv"]
    out = subprocess.run(bench, capture_output=True, text=True, check=True, timeout=600)
    assert len(out.stdout.splitlines()) == 9, out.stdout + out.stderr
