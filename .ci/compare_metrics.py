"""Whether the metrics in the working tree are those of the last commit, each within its band.

The dataset is the same everywhere. A training is the same on one machine only: another processor rounds otherwise,
which is as good as another seed, so its figures may lie anywhere in the spread over seeds that the README gives.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

BANDS: dict[str, dict[str, float]] = {
    "metrics/test.json": {"accuracy": 0.04, "f1_macro": 0.04, "auc_macro": 0.015},
    "metrics/validation.json": {"accuracy": 0.04, "loss": 0.15},
    "metrics/train.json": {"parameters": 0, "epochs": 10},
}


def committed(path: str) -> dict[str, Any]:
    values: dict[str, Any] = json.loads(subprocess.check_output(["git", "show", f"HEAD:{path}"]))
    return values


def main() -> int:
    outside = 0
    if json.loads(Path("metrics/dataset.json").read_text()) != committed("metrics/dataset.json"):
        print("metrics/dataset.json is not that of the last commit")
        outside += 1
    for path, bands in BANDS.items():
        before, now = committed(path), json.loads(Path(path).read_text())
        for key, band in bands.items():
            holds = abs(now[key] - before[key]) <= band
            outside += not holds
            print(f"{path} {key}: {now[key]} against {before[key]}, band {band}: {'ok' if holds else 'OUTSIDE'}")
    return min(outside, 1)


if __name__ == "__main__":
    sys.exit(main())
