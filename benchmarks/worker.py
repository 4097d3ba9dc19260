"""One contender in a process of its own: an epoch for each line on standard input, its loss on standard output."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from benchmarks.contenders import CONTENDERS


def main() -> None:
    name, folders, parameters = sys.argv[1:]
    settings = json.loads(parameters)
    # What the libraries print goes to standard error; only losses reach the benchmark.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)

    def epoch_done(loss: float) -> None:
        print(loss, file=answers, flush=True)
        if not sys.stdin.readline():
            os._exit(0)

    sys.stdin.readline()
    CONTENDERS[name](settings, Path(folders), epoch_done)


if __name__ == "__main__":
    main()
