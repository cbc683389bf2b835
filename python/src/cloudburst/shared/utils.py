"""Ports of the published service. A node has one port for everything and listens on none of these; programs import them."""

__all__ = [
    "CONNECT_PORT",
    "DAG_CALL_PORT",
    "DAG_CREATE_PORT",
    "DAG_DELETE_PORT",
    "FUNC_CALL_PORT",
    "FUNC_CREATE_PORT",
    "LIST_PORT",
]

CONNECT_PORT = 5000
FUNC_CREATE_PORT = 5001
FUNC_CALL_PORT = 5002
LIST_PORT = 5003
DAG_CREATE_PORT = 5004
DAG_CALL_PORT = 5005
DAG_DELETE_PORT = 5006
