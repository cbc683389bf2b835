"""The warm process from which workers are forked: ``python -m cloudburst.worker.zygote``, started by the executor.

Its control socket, descriptor 3, carries one JSON object per packet; ``executor/zygote.go`` says which. When that socket ends
it kills all workers and what they have started, and ends; when it is killed, the kernel kills the workers.
"""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import faulthandler
import fcntl
import gc
import importlib
import json
import os
import resource
import select
import signal
import socket
import sys
import time
import traceback
import types
import warnings
from pathlib import Path
from typing import Any, Dict, List, NoReturn

from cloudburst import codec, connection, endpoint, function
from cloudburst.worker.baseline import notice_changes
from cloudburst.worker.cancel import SIGNAL
from cloudburst.worker.clients import Clients
from cloudburst.worker.invocation import hand_on_to_threads
from cloudburst.worker.worker import Worker, ignore_termination

CONTROL = 3
_PACKET_MAX = 64 << 10
_PATH_CHARACTERS_MAX = 8 << 10
_SOCKET_FROM = 500  # the worker's socket lies where code that closes the low descriptors does not reach it
_SOCKETS_ABOVE = 8  # as far below the limit it lies where that is lower
_END_SECONDS = 2.0
_END_POLL_SECONDS = 0.002
_EXIT_SECONDS = 5

# What functions use as clients of their node, which a zygote has loaded for its workers.
_WARM = (connection, function)

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_libc = ctypes.CDLL(None, use_errno=True)


class Zygote:
    """Forks workers and says how they end. Single-threaded."""

    def __init__(self, control: socket.socket) -> None:
        self._control = control
        self._workers: Dict[int, int] = {}  # pid → number
        self._wake, self._waker = socket.socketpair()
        self._wake.setblocking(False)
        self._waker.setblocking(False)

    def run(self) -> None:
        """Serve the control socket until it ends."""
        # What workers have started and left behind becomes ours, to be ended with us.
        _libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # the executor ends us when it is time
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        signal.signal(signal.SIGCHLD, _do_nothing)
        signal.set_wakeup_fd(self._waker.fileno(), warn_on_full_buffer=False)
        path = codec.import_path()
        while sum(map(len, path)) > _PATH_CHARACTERS_MAX:
            del path[-1]
        self._notify(ready=True, path=path, python=f"{sys.version_info[0]}.{sys.version_info[1]}", pid=os.getpid())
        poll = select.poll()
        poll.register(self._control, select.POLLIN)
        poll.register(self._wake, select.POLLIN)
        while True:
            ready = [fd for fd, _ in poll.poll()]
            if self._wake.fileno() in ready:
                with contextlib.suppress(BlockingIOError):
                    self._wake.recv(4096)
                self._reap()
            if self._control.fileno() in ready and not self._serve():
                return

    def _serve(self) -> bool:
        try:
            packet, fds, _, _ = socket.recv_fds(self._control, _PACKET_MAX, 3, socket.MSG_CMSG_CLOEXEC)
        except ConnectionError:
            return False
        if not packet:
            return False
        try:
            order = json.loads(packet)
            if "fork" in order:
                self._fork(int(order["fork"]), str(order["member"]), *fds)
            elif "kill" in order:
                self._kill(int(order["kill"]))
            elif "interrupt" in order:
                self._interrupt(int(order["interrupt"]))
        finally:
            for fd in fds:
                os.close(fd)
        return True

    def _fork(self, number: int, member: str, sock: int, logs: int, clients: int) -> None:
        zygote = os.getpid()
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", DeprecationWarning)  # about threads, which _preload has reported
                pid = os.fork()
        except OSError as e:
            self._notify(exited=number, error=f"could not be forked: {e.strerror}")
            return
        if pid == 0:
            for ours in (self._control, self._wake, self._waker):
                ours.close()
            _become_worker(number, member, sock, logs, clients, zygote)
        self._workers[pid] = number
        self._notify(forked=number, pid=pid)

    def _kill(self, number: int) -> None:
        for pid, other in self._workers.items():
            if other == number:  # not reaped yet, so the pid is still its own
                _kill_group(pid)

    def _interrupt(self, number: int) -> None:
        for pid, other in self._workers.items():
            if other == number:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, SIGNAL)

    def _reap(self) -> None:
        while True:
            try:
                ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            except ChildProcessError:
                return
            if ended is None:
                return
            pid = ended.si_pid
            number = self._workers.pop(pid, None)
            if number is not None:
                _kill_group(pid)  # what it has started, while the pid still names its group
            os.waitpid(pid, 0)
            if number is None:
                continue
            if ended.si_code == os.CLD_EXITED:
                self._notify(exited=number, pid=pid, code=ended.si_status)
            else:
                self._notify(exited=number, pid=pid, signal=ended.si_status)

    def _notify(self, **notice: Any) -> None:
        with contextlib.suppress(ConnectionError):  # its end is seen by poll
            self._control.send(json.dumps(notice).encode())

    def end(self) -> None:
        """Kill all workers and what they have left behind, and wait for their end."""
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        deadline = time.monotonic() + _END_SECONDS
        for pid in self._workers:
            _kill_group(pid)
        while time.monotonic() < deadline:
            for pid in _children():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            try:
                # The children of a killed child become ours, so look again after each.
                pid, _ = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                time.sleep(_END_POLL_SECONDS)


def _do_nothing(*_: object) -> None:
    """A handler, so that the signal is noticed."""


def _children() -> List[int]:
    try:
        return [int(pid) for pid in Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()]
    except OSError:
        return []


def _kill_group(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)
    with contextlib.suppress(ProcessLookupError):  # it has not come to form its group
        os.kill(pid, signal.SIGKILL)


def _become_worker(number: int, member: str, sock: int, logs: int, clients: int, zygote: int) -> NoReturn:
    """Turn the process that has just been forked into a worker, and end it with the worker."""
    status = 70
    try:
        _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != zygote:
            os._exit(status)
        worker = _set_up(number, member, sock, logs, clients)
        worker.run()
        status = 0
    except BaseException:
        traceback.print_exc()
    finally:
        _exit(status)


def _set_up(number: int, member: str, sock: int, logs: int, clients: int) -> Worker:
    os.setsid()
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    # A service manager may send this to all processes at once, and the node drains them then.
    signal.signal(signal.SIGTERM, ignore_termination)
    signal.signal(signal.SIGHUP, ignore_termination)
    os.dup2(logs, 1)
    os.dup2(logs, 2)
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    lowest = _SOCKET_FROM if limit == resource.RLIM_INFINITY else min(_SOCKET_FROM, limit - _SOCKETS_ABOVE)
    high = fcntl.fcntl(sock, fcntl.F_DUPFD_CLOEXEC, lowest)
    to_node = fcntl.fcntl(clients, fcntl.F_DUPFD_CLOEXEC, lowest)
    for fd in (logs, sock, clients):
        os.close(fd)
    endpoint.set_own_node(os.environ.get("CLOUDBURST_ADDRESS"), Clients(socket.socket(fileno=to_node)).connect)
    # The program's own module is not what user code should find under this name.
    sys.modules["__main__"] = types.ModuleType("__main__")
    numpy_random = sys.modules.get("numpy.random")
    if numpy_random is not None:  # workers must not draw the same numbers; the random module sees to itself
        numpy_random.seed()
    faulthandler.enable(2)
    codec.pickle_modules_by_reference()
    worker = Worker(socket.socket(fileno=high), number, member)
    gc.enable()
    return worker


def _exit(status: int) -> NoReturn:
    try:
        # Exit handlers of user code may hang, and threads of it may never end.
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(_EXIT_SECONDS)
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        os._exit(status)


def _preload(names: List[str]) -> None:
    threads = 1
    for name in names:
        try:
            importlib.import_module(name)
        except ImportError as e:
            if name != "numpy":
                print(f"cannot preload {name}: {e}", file=sys.stderr)
        if name == "numpy":
            threads = _threads()  # those of OpenBLAS, if it is to have several: it starts them again in each worker
    started = _threads() - threads
    if started > 0:
        print(f"preloading {', '.join(names)} started {started} threads, which workers will lack", file=sys.stderr)


def _threads() -> int:
    return len(list(Path("/proc/self/task").iterdir()))


def main() -> None:
    """Be a zygote until the control socket ends."""
    notice_changes()
    hand_on_to_threads()
    gc.disable()
    if sys.path and sys.path[0] in ("", str(Path.cwd())):
        del sys.path[0]  # the node's working directory must not provide modules
    for name in filter(None, os.environ.pop("CLOUDBURST_UNSET", "").split(",")):
        os.environ.pop(name, None)
    _preload(["numpy", *filter(None, os.environ.pop("CLOUDBURST_PRELOAD", "").split(","))])
    gc.collect()
    gc.freeze()
    zygote = Zygote(socket.socket(fileno=CONTROL))
    try:
        zygote.run()
    finally:
        zygote.end()


if __name__ == "__main__":
    main()
