"""Ids of runs as programs give them."""

from __future__ import annotations

import uuid
from typing import Any

import pytest

import cloudburst
from cloudburst.call import RUN_ID_BYTES, result_key, run_of_key
from cloudburst.errors import InvalidArgumentError
from cloudburst.runs import checked_run_id, run_id_of

ID = bytes(range(0xA0, 0xA0 + RUN_ID_BYTES))


@pytest.mark.parametrize(
    "given", [ID, ID.hex(), ID.hex().upper(), uuid.UUID(bytes=ID), str(uuid.UUID(bytes=ID)).replace("-", "")]
)
def test_an_id(given: Any) -> None:
    assert checked_run_id(given) == ID


@pytest.mark.parametrize(
    "given",
    [
        "00 11 22 33 44 55 66 77 88 99 aa",  # 32 characters, and 11 bytes to bytes.fromhex
        " " * 32,
        "\n".join(["a0" * 4] * 3) + "a0a0a0",
        "٠" * 32,
        "g" * 32,
        ID.hex()[1:],
        ID.hex() + "0",
        ID[1:],
        ID + b"0",
        7,
        None,
    ],
)
def test_no_id(given: Any, app: cloudburst.App) -> None:
    with pytest.raises(InvalidArgumentError, match="32 hexadecimal digits, 16 bytes or a UUID"):
        checked_run_id(given)
    if given is not None:
        with pytest.raises(InvalidArgumentError, match="32 hexadecimal digits, 16 bytes or a UUID"):
            app.function(lambda: None, name="f").options(run_id=given)


def test_the_beginning_of_an_id() -> None:
    assert run_id_of(ID.hex().upper()) == (ID, "")
    assert run_id_of("A0a1") == (b"", "a0a1")
    for given in ("", "a0 a1", ID.hex() + "0", "g", 7):
        with pytest.raises(InvalidArgumentError, match="32 hexadecimal digits"):
            run_id_of(given)  # type: ignore[arg-type]


def test_the_run_of_a_key() -> None:
    key = result_key(ID)
    assert run_of_key(key) == ID
    spaced = key[: -2 * RUN_ID_BYTES] + ID.hex(" ")
    for other in (spaced, key.upper(), key[: -2 * RUN_ID_BYTES] + ID.hex().upper(), key[:-2], key + "00", "k", ""):
        assert run_of_key(other) == b"", other
