"""Small programs, as sources: what they raise arrives as it was raised, or they are refused before they run."""

from __future__ import annotations

from typing import Dict, Tuple

# What main() raises is the same here and there.
RAISES: Dict[str, str] = {
    "required": r"""
class Err(Exception):
    def __init__(self, code, detail): super().__init__(f"{code}: {detail}"); self.code = code
def main(): raise Err(3, "bad")
""",
    "kwonly": r"""
class Err(Exception):
    def __init__(self, *, code): super().__init__("failed"); self.code = code
def main(): raise Err(code=3)
""",
    "noargs": r"""
class Err(Exception):
    def __init__(self): super().__init__("there was")
def main(): raise Err()
""",
    "double": r"""
class Err(Exception):
    def __init__(self, code): super().__init__(f"error {code}")
def main(): raise Err(3)
""",
    "oserror": r"""
class Err(OSError):
    def __init__(self, path): super().__init__(2, "none", path); self.path = path
def main(): raise Err("/x")
""",
    "cause": r"""
def main():
    try: 1/0
    except ZeroDivisionError as e: raise KeyError("k") from e
""",
    "context": r"""
def main():
    try: 1/0
    except ZeroDivisionError as e: raise KeyError("k")
""",
    "notes": r"""
def main():
    e = ValueError("v"); e.add_note("note"); raise e
""",
    "group": r"""
class Err(Exception):
    def __init__(self, code, detail): super().__init__(f"{code}: {detail}"); self.code = code
def main(): raise ExceptionGroup("many", [Err(1, "a"), ValueError(2)])
""",
    "called": r"""
import subprocess
def main(): raise subprocess.CalledProcessError(returncode=3, cmd=["ls"], output=b"o")
""",
    "json": r"""
import json
def main(): json.loads("{")
""",
    "unicode": r"""
def main(): b"\xff".decode()
""",
    "new": r"""
class Err(Exception):
    def __new__(cls, a, b): return super().__new__(cls, a)
    def __init__(self, a, b): super().__init__(a + b)
def main(): raise Err(1, 2)
""",
    "slots": r"""
class Err(Exception):
    __slots__ = ("code",)
    def __init__(self, c): super().__init__("m"); self.code = c
def main(): raise Err(4)
""",
    "import": r"""
def main(): raise ImportError("no", name="zz", path="/p")
""",
    "chain_of_three": r"""
def main():
    try:
        try: {}["a"]
        except KeyError as e: raise ValueError("b") from e
    except ValueError as e: raise OSError(2, "c") from e
""",
    "from_none": r"""
def main():
    try: 1 / 0
    except ZeroDivisionError: raise KeyError("k") from None
""",
    "dataclass": r"""
import dataclasses
@dataclasses.dataclass
class Err(Exception):
    code: int
    detail: str = "none"
def main(): raise Err(4)
""",
}

# What the error about it says.
REFUSED: Dict[str, Tuple[str, str]] = {
    "lock": (
        r"""
import threading
l = threading.Lock()
def main():
    with l: return 1
""",
        r"global 'l' used by function 'main' is a _thread.lock",
    ),
    "thread": (
        r"""
import threading
t = threading.Thread()
def main(): t.start()
""",
        r"of global 't' used by function 'main' is a",
    ),
    "threadlocal": (
        r"""
import threading
t = threading.local()
def main(): t.x = 1
""",
        r"global 't' .* is a _thread._local",
    ),
    "contextvar": (
        r"""
import contextvars
v = contextvars.ContextVar('v')
def main(): return v.get(1)
""",
        r"global 'v' used by function 'main' is a _contextvars.ContextVar",
    ),
    "socket": (
        r"""
import socket
s = socket.socket()
s.close()
def main(): return s.fileno()
""",
        r"global 's' .* is a socket.socket",
    ),
    "file": (
        r"""
f = open('/dev/null')
def main(): return f.read()
""",
        r"global 'f' .*an open file, '/dev/null'.*create it inside the function",
    ),
    "file_default": (
        r"""
def main(f=open('/dev/null')): return f.read()
""",
        r"default of parameter 'f'.*an open file",
    ),
    "stdin": (
        r"""
import sys
s = sys.__stdin__
def main(): return s.read()
""",
        r"global 's'",
    ),
    "generator_object": (
        r"""
g = (i for i in [1])
def main(): return next(g)
""",
        r"global 'g' .* is a generator",
    ),
    "in_closure": (
        r"""
import threading
def outer():
    l = threading.Lock()
    return lambda: l
main = outer()
""",
        r"closure variable 'l'",
    ),
    "in_class": (
        r"""
import threading
class A:
    l = threading.Lock()
def main(): return A.l
""",
        r"attribute 'l' of global 'A'",
    ),
    "in_cached": (
        r"""
import functools, threading
l = threading.Lock()
@functools.lru_cache
def f(x): return l
def main(): return f(1)
""",
        r"global 'l' used by function 'f'",
    ),
    "known_by_name": (
        r"""
class Odd:
    def __reduce__(self): return 'odd'
odd = Odd()
def main(): return odd
""",
        r"known by its name only, __main__.odd",
    ),
}
