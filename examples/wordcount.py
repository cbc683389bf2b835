"""Count words in parallel: many functions each count a section of the words, one adds their counts up.

make serve                                    # in another terminal
.venv/bin/python examples/wordcount.py README.md ARCHITECTURE.md
"""

from __future__ import annotations

import re
import sys
from collections import Counter
from pathlib import Path
from typing import List

import cloudburst

app = cloudburst.connect()


@app.function
def count(text: str) -> Counter[str]:
    return Counter(re.findall(r"[a-z']{4,}", text.lower()))


@app.function
def merge(counts: List[Counter[str]], most: int) -> list[tuple[str, int]]:
    return sum(counts, Counter()).most_common(most)


def main(files: List[str]) -> None:
    paragraphs = [part for file in files for part in Path(file).read_text("utf-8").split("\n\n")]
    counts = count.map(paragraphs)
    # The futures are arguments: the counts go from worker to worker and never come here.
    for word, times in merge.remote(counts, 10).get():
        print(f"{times:5}  {word}")


if __name__ == "__main__":
    main(sys.argv[1:] or [__file__])
