"""What a decorator says of how often a function may run, and when it may start."""

from __future__ import annotations

from typing import Any

import pytest

from cloudburst import RateLimit
from cloudburst.errors import InvalidArgumentError
from cloudburst.flow import Flow, patience_of
from cloudburst.v1 import function_pb2


class Mine(Exception):
    pass


def charge(user: str, amount: int = 1, *, region: str = "") -> None: ...


def described(**settings: Any) -> function_pb2.Function:
    description = function_pb2.Function()
    Flow(**settings).describe(description, charge)
    return description


def test_what_is_not_said_is_not_sent() -> None:
    assert described() == function_pb2.Function()


def test_what_is_said() -> None:
    said = described(retries=0, concurrency=3, rate_limit=RateLimit(10, per=0.5, key="amount"), priority=-2, queue_timeout=1.5)
    limit = function_pb2.RateLimit(starts=10, period_milliseconds=500, key="amount", position=2)
    assert said == function_pb2.Function(
        retries=0, concurrency=3, rate_limit=limit, priority=-2, queue_timeout_milliseconds=1500
    )
    assert said.HasField("retries"), "0 is not the same as nothing"
    again = described(retries=2, retry_on=(ValueError, Mine, "TimeoutError", "package.module.Error"), backoff=0.5)
    names = ["builtins.ValueError", f"{__name__}.Mine", "builtins.TimeoutError", "package.module.Error"]
    assert again == function_pb2.Function(retries=2, retry_on=names, backoff_milliseconds=500)
    assert described(retries=1, retry_on=ValueError).retry_on == ["builtins.ValueError"]


@pytest.mark.parametrize(
    ("text", "starts", "period"),
    [("10/s", 10, 1000), ("100/min", 100, 60_000), (" 5 / hour ", 5, 3_600_000), ("1000/DAY", 1000, 86_400_000)],
)
def test_rates(text: str, starts: int, period: int) -> None:
    assert described(rate_limit=text).rate_limit == function_pb2.RateLimit(starts=starts, period_milliseconds=period)


def test_where_the_key_of_a_rate_limit_stands() -> None:
    def position(key: str) -> int:
        return described(rate_limit=RateLimit(1, key=key)).rate_limit.position

    assert [position(key) for key in ("user", "amount", "region")] == [1, 2, 0]
    anything = function_pb2.Function()
    Flow(rate_limit=RateLimit(1, key="user")).describe(anything, lambda **given: given)
    assert anything.rate_limit.position == 0


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"retries": -1}, "from 0 on"),
        ({"retries": True}, "from 0 on"),
        ({"retries": "2"}, "from 0 on"),
        ({"retry_on": ValueError}, "say how often, with retries="),
        ({"retries": 1, "retry_on": int}, "a class of exceptions"),
        ({"retries": 1, "retry_on": 7}, "a class of exceptions, or several"),
        ({"retries": 1, "retry_on": "Mine"}, "has its module before it"),
        ({"retries": 1, "retry_on": "a b.c"}, "has its module before it"),
        ({"retries": 1, "retry_on": ["KeyError"] * 65}, "the limit is 64"),
        ({"backoff": -1}, "backoff"),
        ({"backoff": 0}, "between a millisecond and a day"),
        ({"retries": 0, "backoff": 1}, "retries=0 allows none"),
        ({"concurrency": 0}, "from 1 on"),
        ({"concurrency": 1.5}, "from 1 on"),
        ({"rate_limit": "10"}, "'10/s'"),
        ({"rate_limit": "ten/s"}, "'10/s'"),
        ({"rate_limit": "10/year"}, "'10/s'"),
        ({"rate_limit": 10}, "cloudburst.RateLimit"),
        ({"rate_limit": "0/s"}, "from 1 on"),
        ({"rate_limit": RateLimit(1, per=0)}, "between a millisecond and a day"),
        ({"rate_limit": RateLimit(1, key="nobody")}, "those are: user, amount, region"),
        ({"priority": 1.5}, "a higher one goes first"),
        ({"queue_timeout": 0}, "at least a millisecond"),
        ({"queue_timeout": "1s"}, "queue_timeout"),
    ],
)
def test_what_makes_no_sense_is_refused(settings: Any, reason: str) -> None:
    with pytest.raises(InvalidArgumentError, match=reason):
        described(**settings)


def test_how_long_a_run_may_take_with_its_retries() -> None:
    usual = function_pb2.Function()
    long = function_pb2.Function(timeout_milliseconds=200_000, retries=2)
    slow = function_pb2.Function(backoff_milliseconds=20_000, retries=4)
    assert patience_of([usual], None, 300) == 300
    assert patience_of([usual, long], None, 300) == 600
    assert patience_of([long], 0, 300) == 300
    assert patience_of([slow], None, 300) == 300 + 1.25 * (20 + 40 + 60 + 60)
