"""Runs, as a node knows them: under way, or ended lately."""

from __future__ import annotations

import re
import time
import unicodedata
import uuid
from typing import Any, Iterable, Iterator, List, NamedTuple, Optional, Tuple, Union

from cloudburst.call import RUN_ID_BYTES
from cloudburst.connection import Connection
from cloudburst.errors import Error, FrameError, InvalidArgumentError, exception_from
from cloudburst.request import new_request
from cloudburst.v1 import error_pb2, frame_pb2

__all__ = ["STATES", "Read", "Run", "Step", "cancel", "checked_label", "checked_run_id", "run", "run_id_of", "runs"]

STATES = ("queued", "running", "waiting", "done", "failed", "cancelled")
"""Names of the states of a run: nothing of it has started, its functions run, they wait for other runs, how it has ended."""

_DIGITS = re.compile(f"[0-9a-fA-F]{{1,{2 * RUN_ID_BYTES}}}")  # of an id, or of its beginning
_LABEL_BYTES_MAX = 200


class Read(NamedTuple):
    """A key that a function has read."""

    key: str
    answered_by: str
    """"cache" or "store"."""


class Step(NamedTuple):
    """One function of a run, as it was tried last. Functions in a row that one worker ran share their times."""

    function: str
    """Name and version, as in "sq@3"."""
    state: str
    """One of STATES; "" for a function that was never started."""
    worker: int
    attempt: int
    queued: Optional[float]
    """Seconds since 1970, as ``time.time`` has them; None = not yet."""
    started: Optional[float]
    ended: Optional[float]
    reads: Tuple[Read, ...]
    """The first 64 keys; of functions in a row with the first of them."""
    reads_unlisted: int
    """How many reads came after these."""
    waits_for: Tuple[str, ...]
    """Ids of runs."""
    error: Optional[BaseException]


class Run(NamedTuple):
    """One execution of a function or DAG."""

    id: str
    """32 hexadecimal digits."""
    parent: Optional[str]
    """The run whose function made the call; None for a call of a client."""
    target: str
    """Name and version of the function, as in "sq@3", or the name of the DAG."""
    dag: bool
    label: str
    state: str
    """One of STATES."""
    started: float
    """Seconds since 1970, as ``time.time`` has them."""
    ended: Optional[float]
    deadline: float
    detached: bool
    """Whether it goes on when its parent is cancelled, fails or runs out of time."""
    error: Optional[BaseException]
    """What the run has failed with; the exception of a function is an ExecutionError here."""
    waits_for: Tuple[str, ...]
    """Ids of the runs that it waits for."""
    steps: Tuple[Step, ...]
    """Its functions; of a run that was asked for alone."""
    children: Tuple[Run, ...]
    """The runs below it; of a run that was asked for alone."""

    @property
    def seconds(self) -> float:
        """How many seconds it took, or has been under way."""
        return (time.time() if self.ended is None else self.ended) - self.started


def runs(
    connection: Connection,
    state: Union[None, str, Iterable[str]],
    function: str,
    label: str,
    parent: Optional[str],
    limit: int,
    timeout: Optional[float],
) -> List[Run]:
    """Return the runs that match, the newest first."""
    header = frame_pb2.Header()
    asked = header.list_runs
    for name in (state,) if isinstance(state, str) else state or ():
        if name not in STATES:
            raise InvalidArgumentError(f"state={name!r:.100}: it is one of {', '.join(STATES)}")
        asked.states.append(frame_pb2.RunState.Value(f"RUN_STATE_{name.upper()}"))  # type: ignore[arg-type]
    asked.target, asked.label = function, label
    if parent is not None:
        asked.parent = checked_run_id(parent)
    if not isinstance(limit, int) or not 1 <= limit <= 10_000:
        raise InvalidArgumentError(f"limit={limit!r:.100}: it is an integer from 1 to 10,000")
    asked.limit = limit
    return [_run(each, ()) for each in _ask(connection, header, "list runs", timeout)]


def run(connection: Connection, id: str, timeout: Optional[float]) -> Run:
    """Return the run whose id begins so, with its steps and those below it."""
    header = frame_pb2.Header()
    if not isinstance(id, str) or not id:
        raise InvalidArgumentError(f"the id of a run is a string of hexadecimal digits, got {id!r:.100}")
    header.get_run.prefix = id
    found = list(_ask(connection, header, f"run {id!r:.64}", timeout))
    made: dict[bytes, Run] = {}
    for each in reversed(found):  # parents come before their children
        below = [made[child.run_id] for child in found if child.parent == each.run_id and child.run_id in made]
        made[each.run_id] = _run(each, tuple(below))
    if not found:
        raise FrameError(f"run {id!r:.64}: the node answered without it")
    return made[found[0].run_id]


def cancel(connection: Connection, run_id: bytes, reason: str, timeout: Optional[float]) -> None:
    header = frame_pb2.Header()
    header.cancel_run.run_id = run_id
    if not isinstance(reason, str):
        raise InvalidArgumentError(f"the reason for cancelling a run is a string, got {reason!r:.100}")
    header.cancel_run.reason = reason
    connection.transport.ask(new_request(header, (), connection._deadline(timeout), f"cancel run {run_id.hex()}"))


def checked_run_id(id: Any) -> bytes:
    """Return the id of a run, given as 32 hexadecimal digits, 16 bytes or a UUID."""
    if isinstance(id, uuid.UUID):
        return id.bytes
    if isinstance(id, bytes) and len(id) == RUN_ID_BYTES:
        return id
    if isinstance(id, str) and len(id) == 2 * RUN_ID_BYTES and _DIGITS.fullmatch(id):
        return bytes.fromhex(id)
    raise InvalidArgumentError(f"the id of a run is 32 hexadecimal digits, 16 bytes or a UUID, got {id!r:.100}")


def run_id_of(text: str) -> Tuple[bytes, str]:
    """Return the id of a run that is given in hexadecimal, or the digits that it begins with. Raises InvalidArgumentError."""
    if not isinstance(text, str) or not _DIGITS.fullmatch(text):
        raise InvalidArgumentError(f"the id of a run is {2 * RUN_ID_BYTES} hexadecimal digits, got {text!r:.100}")
    return (bytes.fromhex(text), "") if len(text) == 2 * RUN_ID_BYTES else (b"", text.lower())


def checked_label(label: Any) -> str:
    if not isinstance(label, str) or any(unicodedata.category(c)[0] in "CZ" and c != " " for c in label):
        raise InvalidArgumentError(f"label={label!r:.300}: it is a string of characters that can be printed")
    if len(label.encode()) > _LABEL_BYTES_MAX:
        raise InvalidArgumentError(f"label={label!r:.300}: it has {len(label.encode())} bytes; the limit is {_LABEL_BYTES_MAX}")
    return label


def _ask(connection: Connection, header: frame_pb2.Header, what: str, timeout: Optional[float]) -> Iterator[frame_pb2.Run]:
    answer = connection.transport.ask(new_request(header, (), connection._deadline(timeout), what))
    if not answer.HasField("runs"):
        raise FrameError(f"{what}: the node answered with a {answer.WhichOneof('body')}")
    return iter(answer.runs.runs)


def _run(run: frame_pb2.Run, children: Tuple[Run, ...]) -> Run:
    return Run(
        id=run.run_id.hex(),
        parent=run.parent.hex() or None,
        target=run.target,
        dag=run.dag,
        label=run.label,
        state=_state(run.state),
        started=run.started_microseconds / 1e6,
        ended=_moment(run.ended_microseconds),
        deadline=run.deadline_microseconds / 1e6,
        detached=run.detached,
        error=_error(run.error) if run.HasField("error") else None,
        waits_for=tuple(id.hex() for id in run.waits_for),
        steps=tuple(map(_step, run.steps)),
        children=children,
    )


def _step(step: frame_pb2.RunStep) -> Step:
    return Step(
        function=f"{step.function}@{step.version}",
        state=_state(step.state),
        worker=step.worker,
        attempt=step.attempt,
        queued=_moment(step.queued_microseconds),
        started=_moment(step.started_microseconds),
        ended=_moment(step.ended_microseconds),
        reads=tuple(Read(read.key, read.answered_by) for read in step.reads),
        reads_unlisted=step.reads_unlisted,
        waits_for=tuple(id.hex() for id in step.waits_for),
        error=_error(step.error) if step.HasField("error") else None,
    )


def _state(state: int) -> str:
    return STATES[state - 1] if 1 <= state <= len(STATES) else ""


def _moment(microseconds: int) -> Optional[float]:
    return microseconds / 1e6 if microseconds else None


def _error(error: error_pb2.Error) -> BaseException:
    try:
        return exception_from(error)
    except Error as e:
        return e
