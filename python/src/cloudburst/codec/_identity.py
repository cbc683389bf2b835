"""What a class is known by on its travels: a random number, or a digest of what it is made of.

Cloudpickle gives each class a random number, so that the same program, started again, sends other bytes. The definition of a
class with state is to be the same then, since its object is kept: such a class, and the classes that it mentions, are known by
a digest. They get it together. Other classes keep the random number, by which those of one run of a program are apart from
those of the next: a program may assign to them.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import threading
from typing import Callable, Dict, Iterator, List

import cloudpickle.cloudpickle as cp

__all__ = ["draft", "identify", "is_identified", "lasting", "purpose"]

_DIGEST_CHARACTERS = 32


class _Purpose(threading.local):
    """What this thread's pickles are for."""

    depth = 0
    """How often it is in drafts: pickles that are thrown away, which give classes no identity."""
    lasting = 0
    """How often it is in pickles that are to be the same in each process."""


purpose = _Purpose()


@contextlib.contextmanager
def draft() -> Iterator[None]:
    """Pickles that are written meanwhile are thrown away: no class gets an identity from them."""
    purpose.depth += 1
    try:
        yield
    finally:
        purpose.depth -= 1


@contextlib.contextmanager
def lasting() -> Iterator[None]:
    """Classes that are met for the first time meanwhile are known by a digest."""
    purpose.lasting += 1
    try:
        yield
    finally:
        purpose.lasting -= 1


_given: Dict[str, int] = {}  # how many classes of this process are made in one way
_lock = threading.Lock()


def is_identified(cls: type) -> bool:
    """Report whether a class has an identity already: it has been sent, or has come from elsewhere."""
    return cls in cp._DYNAMIC_CLASS_TRACKER_BY_CLASS


def identify(cls: type, contents: Callable[[type, List[type]], bytes]) -> None:
    """Give a class its identity, and those that it mentions.

    ``contents`` returns the pickle of what one is made of. Other classes without identity stand in it as their numbers in the
    list that it is given, to which it adds those that are new. Two classes of one process that are made alike are told apart
    by a number, in the order in which they are met.
    """
    found = [cls]
    digest = hashlib.sha256()
    at = 0
    while at < len(found):
        made_of = contents(found[at], found)
        digest.update(len(made_of).to_bytes(8, "little") + made_of)
        at += 1
    for number, each in enumerate(found):
        _track(each, hashlib.sha256(digest.digest() + number.to_bytes(8, "little")).hexdigest()[:_DIGEST_CHARACTERS])


def _track(cls: type, digest: str) -> None:
    with _lock, cp._DYNAMIC_CLASS_TRACKER_LOCK:
        if cls in cp._DYNAMIC_CLASS_TRACKER_BY_CLASS:
            return
        while True:
            number = _given[digest] = _given.get(digest, 0) + 1
            tracker = digest if number == 1 else f"{digest}-{number}"
            if tracker not in cp._DYNAMIC_CLASS_TRACKER_BY_ID:
                break
        cp._DYNAMIC_CLASS_TRACKER_BY_CLASS[cls] = tracker
        cp._DYNAMIC_CLASS_TRACKER_BY_ID[tracker] = cls


def _renew() -> None:
    global _lock
    _lock = threading.Lock()


os.register_at_fork(after_in_child=_renew)
