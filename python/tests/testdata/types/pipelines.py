"""What a type checker says of pipelines. A line that must fail names what the error says."""

from __future__ import annotations

from typing import List, Tuple

from typing_extensions import assert_type

import cloudburst
from cloudburst import Future

app = cloudburst.connect()


@app.function
def sq(x: int) -> int:
    return x * x


@app.function
def name() -> str:
    return ""


@app.function
def shown(n: int) -> str:
    return str(n)


@app.function
def pair(x: int) -> Tuple[int, str]:
    return x, str(x)


@app.function
def both(number: int, text: str) -> float:
    return number + len(text)


@app.function
def add(x: int, y: int = 0) -> int:
    return x + y


@app.function
def triple(a: int, b: str, c: int) -> bytes:
    return b""


@app.function
def report(title: str, number: int) -> str:
    return f"{title}: {number}"


# In a row.
assert_type((sq >> sq).remote(3), Future[int])
assert_type((sq >> shown)(3), str)
assert_type((sq >> add >> shown).remote(x=3).get(), str)
assert_type((sq >> report.bind("daily")).remote(3).get(), str)
assert_type((sq >> shown).named("shown").options(timeout=3).remote(3), Future[str])
assert_type((sq >> shown).map([1, 2]), List[Future[str]])
name >> sq  # error: Unsupported operand types for >>
sq >> shown >> sq  # error: Unsupported operand types for >>
(sq >> shown).remote("a")  # error: argument type "str"
(sq >> shown).remote(1, 2)  # error: argument types "int", "int"

# A tuple is spread over several parameters.
assert_type((pair >> both).remote(3), Future[float])
pair >> add  # error: Unsupported operand types for >>
pair >> sq  # error: Unsupported operand types for >>

# Together.
assert_type((sq >> (sq, shown)).remote(3), Future[Tuple[int, str]])
assert_type((sq >> (sq, shown) >> both).remote(3), Future[float])
assert_type((sq >> (sq, shown, add) >> triple).remote(3), Future[bytes])
assert_type(((sq, shown) >> both).remote(3), Future[float])
assert_type(((sq, shown, sq) >> triple).remote(3), Future[bytes])
sq >> (sq, name)  # error: Unsupported operand types for >>
(sq, sq) >> both  # error: Unsupported operand types for >>
sq >> (sq, sq) >> both  # error: Unsupported operand types for >>
