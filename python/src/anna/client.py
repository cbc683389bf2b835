"""The published client of Anna: what is stored under keys, as lattices."""

from __future__ import annotations

import logging
import time
from typing import Dict, Iterator, List, Optional, Sequence, Tuple, TypeVar, Union

from anna._stamp import published, stamp_of_put
from anna.base_client import BaseAnnaClient
from anna.cells import cell_of, lattice_of
from anna.common import UserThread
from anna.lattices import Lattice, LWWPairLattice
from cloudburst.cells import check_key
from cloudburst.codec import Encoded
from cloudburst.connection import Connection
from cloudburst.endpoint import locator_of_host
from cloudburst.errors import InvalidArgumentError, LatticeMismatchError, NoResourcesError, TooLargeError
from cloudburst.lattice import NEVER
from cloudburst.request import Request
from cloudburst.states import set_stamp
from cloudburst.v1 import store_pb2

__all__ = ["AnnaTcpClient"]

_KEYS_AT_ONCE = 1024

_log = logging.getLogger("anna")

T = TypeVar("T")


class AnnaTcpClient(BaseAnnaClient):
    """Reads and writes lattices. It can be used by all threads, and after a fork."""

    def __init__(self, elb_addr: str, ip: Optional[str], local: bool = False, offset: int = 0) -> None:
        """Connect to the node at ``elb_addr``, "host" or "host:port", found as CloudburstConnection finds it.

        ``ip``, ``local`` and ``offset`` told servers where to send answers; answers come on the connection now, so they make
        no difference. Raises UnavailableError when no node answers, AuthenticationError when it refuses the token.
        """
        self.elb_addr = elb_addr
        self.ut = UserThread(ip or "127.0.0.1", offset)
        self.connection = Connection(locator_of_host(elb_addr))
        self.connection.connect()

    @classmethod
    def of_connection(cls, connection: Connection, elb_addr: str = "", ip: str = "127.0.0.1", offset: int = 0) -> AnnaTcpClient:
        """Return a client that shares a connection."""
        client = cls.__new__(cls)
        client.elb_addr = elb_addr
        client.ut = UserThread(ip, offset)
        client.connection = connection
        return client

    def get(self, keys: Union[str, Sequence[str]]) -> Dict[str, Optional[Lattice]]:
        """Return the lattices under a key or a list of keys, by key; None where nothing is stored.

        The value of one that ``put_object`` or a function has written is as ``Serializer.load_lattice`` takes it, and its
        timestamp is in tenths of a second since 1970.
        """
        names = [keys] if isinstance(keys, str) else list(dict.fromkeys(keys))
        found: Dict[str, Optional[Lattice]] = {}
        for some in _some(names):
            for cell, values in self.connection.get(some):
                absent = cell.type == store_pb2.LATTICE_TYPE_UNSPECIFIED
                lattice = found[cell.key] = None if absent else lattice_of(cell, values)
                if isinstance(lattice, LWWPairLattice):
                    lattice.ts = published(lattice.ts)
        return found

    def get_all(self, keys: Union[str, Sequence[str]]) -> Dict[str, Optional[Lattice]]:
        """The same as :meth:`get`: a node answers with what all replicas that it has heard of have merged."""
        return self.get(keys)

    def put(self, keys: Union[str, Sequence[str]], values: Union[Lattice, Sequence[Lattice]]) -> Dict[str, bool]:
        """Merge a lattice into what is stored under a key, or one into each of several.

        Returns for each key whether the put took effect; why it did not is logged. Of two LWWPairLattices with one timestamp,
        the one that is put later wins. One with an older timestamp than what is stored does not take effect; what
        ``put_object`` and functions store counts as stamped in tenths of a second since 1970. Returns once the writes are
        durable.

        Raises InvalidArgumentError, a ValueError, for what is not a lattice, UnavailableError when the node is gone.
        """
        if isinstance(keys, str):
            keys, values = [keys], [values]  # type: ignore[list-item]
        names, lattices = list(keys), list(values)  # type: ignore[arg-type]
        if len(names) != len(lattices):
            raise InvalidArgumentError(f"put: {len(names)} keys and {len(lattices)} lattices")
        if len(set(names)) < len(names):  # one after the other, so that the last one wins
            return {key: self.put(key, lattice)[key] for key, lattice in zip(names, lattices)}
        cells: Dict[str, Tuple[store_pb2.Cell, List[Encoded]]] = {}
        for key, lattice in zip(names, lattices):
            check_key(key)
            cells[key] = cell_of(key, lattice)
        succeeded = dict.fromkeys(names, True)
        self._stamp([cell for cell, _ in cells.values() if cell.type == store_pb2.LATTICE_TYPE_LWW], succeeded)
        requests: List[Tuple[str, Request]] = []
        for key, (cell, encoded) in cells.items():
            if succeeded[key]:
                request = self.connection.new_put((cell,), encoded)
                self.connection.transport.start(request)
                requests.append((key, request))
        for key, request in requests:
            self.connection.transport.wait(request, request.deadline)
            failure = request.failure()
            if isinstance(failure, (LatticeMismatchError, TooLargeError, NoResourcesError, InvalidArgumentError)):
                _log.warning("%s", failure)
                succeeded[key] = False
            elif failure is not None:
                raise failure
        return succeeded

    def put_all(self, key: str, value: Lattice) -> bool:
        """Merge a lattice into what is stored under a key, and report whether it took effect.

        A put is durable when it returns, and every replica merges it; so this is :meth:`put` of one key.
        """
        return self.put(key, value)[key]

    def _stamp(self, cells: List[store_pb2.Cell], succeeded: Dict[str, bool]) -> None:
        """Give the cells stamps with which they take effect, and note those for which there is none."""
        for some in _some(cells):
            states = self.connection.states([cell.key for cell in some])
            now = int(time.time() * 1000)
            for cell, state in zip(some, states):
                stamp = stamp_of_put(cell.timestamp.time, state, now)
                if stamp is None:
                    _log.warning("put %r: the timestamp %d is older than that of what is stored", cell.key, cell.timestamp.time)
                    succeeded[cell.key] = False
                elif stamp == NEVER:
                    cell.ClearField("timestamp")
                else:
                    set_stamp(cell.timestamp, stamp)

    @property
    def response_address(self) -> str:
        """Where the published client listened for answers; nothing listens there now."""
        return self.ut.get_request_pull_connect_addr()

    @staticmethod
    def is_lattice(value: object) -> bool:
        """Report whether a value is one of the lattices of ``anna.lattices``."""
        return isinstance(value, Lattice)

    def close(self) -> None:
        """End the connection, also for others that share it."""
        self.connection.close()

    def __repr__(self) -> str:
        return f"<AnnaTcpClient of {self.connection.endpoint.address}>"


def _some(items: List[T]) -> Iterator[List[T]]:
    """Cut a list into as many requests as it takes."""
    for at in range(0, len(items), _KEYS_AT_ONCE):
        yield items[at : at + _KEYS_AT_ONCE]
