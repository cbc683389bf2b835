"""The published client of Anna: what is stored under keys, as lattices."""

from __future__ import annotations

import logging
from typing import Dict, Optional, Sequence, Union

from anna.cells import cell_of, lattice_of
from anna.lattices import Lattice
from cloudburst.cells import check_key
from cloudburst.connection import Connection
from cloudburst.endpoint import locator_of_host
from cloudburst.errors import InvalidArgumentError, LatticeMismatchError, NoResourcesError, TooLargeError
from cloudburst.v1 import store_pb2

__all__ = ["AnnaTcpClient"]

_KEYS_AT_ONCE = 1024

_log = logging.getLogger("anna")


class AnnaTcpClient:
    """Reads and writes lattices. It can be used by all threads, and after a fork."""

    def __init__(self, addr: str, ip: str, local: bool = False, offset: int = 0) -> None:
        """Connect to the node at ``addr``, "host" or "host:port", found as CloudburstConnection finds it.

        ``ip``, ``local`` and ``offset`` told servers where to send answers; answers come on the connection now, so they make
        no difference. Raises UnavailableError when no node answers, AuthenticationError when it refuses the token.
        """
        self.connection = Connection(locator_of_host(addr))
        self.connection.connect()

    @classmethod
    def of_connection(cls, connection: Connection) -> AnnaTcpClient:
        """Return a client that shares a connection."""
        client = cls.__new__(cls)
        client.connection = connection
        return client

    def get(self, keys: Union[str, Sequence[str]]) -> Dict[str, Optional[Lattice]]:
        """Return the lattices under a key or a list of keys, by key; None where nothing is stored.

        The value of one that ``put_object`` or a function has written is as ``Serializer.load_lattice`` takes it.
        """
        names = [keys] if isinstance(keys, str) else list(dict.fromkeys(keys))
        found: Dict[str, Optional[Lattice]] = {}
        for at in range(0, len(names), _KEYS_AT_ONCE):
            for cell, values in self.connection.get(names[at : at + _KEYS_AT_ONCE]):
                absent = cell.type == store_pb2.LATTICE_TYPE_UNSPECIFIED
                found[cell.key] = None if absent else lattice_of(cell, values)
        return found

    def put(self, keys: Union[str, Sequence[str]], values: Union[Lattice, Sequence[Lattice]]) -> Dict[str, bool]:
        """Merge a lattice into what is stored under a key, or one into each of several, and return for each key whether that
        succeeded; why it did not is logged. Returns once the writes are durable.

        Raises InvalidArgumentError for what is no lattice, UnavailableError when the node is gone.
        """
        if isinstance(keys, str):
            keys, values = [keys], [values]  # type: ignore[list-item]
        names, lattices = list(keys), list(values)  # type: ignore[arg-type]
        if len(names) != len(lattices):
            raise InvalidArgumentError(f"put: {len(names)} keys and {len(lattices)} lattices")
        requests = []
        for key, lattice in zip(names, lattices):
            check_key(key)
            cell, encoded = cell_of(key, lattice)
            request = self.connection.new_put((cell,), encoded)
            self.connection.transport.start(request)
            requests.append((key, request))
        succeeded: Dict[str, bool] = {}
        for key, request in requests:
            self.connection.transport.wait(request, request.deadline)
            failure = request.failure()
            if isinstance(failure, (LatticeMismatchError, TooLargeError, NoResourcesError, InvalidArgumentError)):
                _log.warning("%s", failure)
            elif failure is not None:
                raise failure
            succeeded[key] = failure is None
        return succeeded

    @staticmethod
    def is_lattice(value: object) -> bool:
        """Report whether a value is one of the lattices of ``anna.lattices``."""
        return isinstance(value, Lattice)

    def close(self) -> None:
        """End the connection, also for others that share it."""
        self.connection.close()

    def __repr__(self) -> str:
        return f"<AnnaTcpClient of {self.connection.endpoint.address}>"
