"""Cloudburst: Python functions that share state, composed and called on a node.

>>> import cloudburst
>>> app = cloudburst.connect()
>>> @app.function
... def sq(x):
...     return x * x
>>> sq(2)                 # here
4
>>> sq.remote(2).get()    # on the node
4
"""

from __future__ import annotations

from cloudburst.app import App, connect
from cloudburst.argument import Ref
from cloudburst.errors import Cancelled, Error
from cloudburst.flow import RateLimit
from cloudburst.function import Function
from cloudburst.future import Future
from cloudburst.items import Items
from cloudburst.logs import LogLine
from cloudburst.pipeline import Pipeline
from cloudburst.waiting import ALL_COMPLETED, FIRST_COMPLETED, FIRST_EXCEPTION, as_completed, wait, wait_async
from cloudburst.worker.context import Context, context

__all__ = [
    "ALL_COMPLETED",
    "FIRST_COMPLETED",
    "FIRST_EXCEPTION",
    "App",
    "Cancelled",
    "Context",
    "Error",
    "Function",
    "Future",
    "Items",
    "LogLine",
    "Pipeline",
    "RateLimit",
    "Ref",
    "as_completed",
    "connect",
    "context",
    "wait",
    "wait_async",
]
