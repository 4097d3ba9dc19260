"""How far the test accuracy spreads over seeds, and what moves it: the drop of the learning rate, what is monitored.

    python -m studies.spread ARM FIRST LAST     trains once for each seed FIRST to LAST and appends to spread.csv
    python -m studies.spread                    prints the table of all runs in spread.csv

A run trains on the verified splits with the defaults of params.yaml, changed as ARMS says, and is then tested once.
Nothing is chosen by its result. The number of cores changes no run, and on a machine of n cores n processes with
``LOKY_MAX_CPU_COUNT=1`` do more runs an hour than one process on all cores.
"""

from __future__ import annotations

import csv
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

from stages import parameters
from stages.common.console import UserError, progress, run_stage
from stages.model.settings import Train

RUNS = Path(__file__).with_name("spread.csv")
COLUMNS = [
    "arm", "tensorflow", "keras", "seed", "epochs", "best_epoch", "first_drop",
    "val_loss", "val_accuracy", "test_loss", "test_accuracy",
]  # fmt: skip
NOTEBOOK_TEST_ACCURACY = 0.7229
NEWEST = "2.21.0"  # of the versions of TensorFlow in spread.csv

ARMS: dict[str, dict[str, Any]] = {
    "defaults": {},
    "monitor_accuracy": {"monitor": "val_accuracy"},
}


def spread() -> None:
    if len(sys.argv) == 1:
        runs = _read()
        effects = (effect_of(arm, runs) for arm in ARMS if arm != "defaults")
        print(table(runs), effect_of_the_drop(runs), *effects, sep="\n\n")
        return
    if len(sys.argv) != 4 or not (sys.argv[2].isdecimal() and sys.argv[3].isdecimal()):
        raise UserError("give an arm, a first seed and a last seed, say: python -m studies.spread defaults 1 10")
    arm, first, last = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    if arm not in ARMS:
        raise UserError(f"{arm} is no arm; choose one of {', '.join(ARMS)}")
    for seed in range(first, last + 1):
        _append(_run(arm, seed))


def recipe_of(arm: str, defaults: Train) -> Train:
    """The default recipe with what ``arm`` changes in it, checked like params.yaml itself."""
    values = defaults.model_dump()
    for key, change in ARMS[arm].items():
        values[key] = values[key] | change if isinstance(change, dict) else change
    return Train.model_validate(values)


def _run(arm: str, seed: int) -> dict[str, Any]:
    # Imported here, so that the table is printed without waiting for TensorFlow.
    from stages.model import training
    from stages.model.backend import keras, tf
    from stages.model.validation import evaluation
    from stages.model.workers import Workers
    from stages.splits import packed

    settings = parameters.load()
    train, validation, test = (packed.load(f"data/verified/{name}") for name in ("train", "validation", "test"))
    keras.backend.clear_session()
    with progress(f"{arm}, seed {seed}", None, "images") as bar:
        trained = training.train(
            settings.model,
            recipe_of(arm, settings.train),
            seed,
            train,
            validation,
            on_images=bar.advance,
            on_epoch=lambda state: bar.say(state.last_epoch_in_words()),
        )
    test_loss, test_accuracy = evaluation(trained.network, test, Workers())()
    course = trained.course
    best = course.epochs[course.best_epoch - 1]
    return {
        "arm": arm, "tensorflow": tf.__version__, "keras": keras.__version__, "seed": seed,
        "epochs": len(course.epochs), "best_epoch": course.best_epoch,
        "first_drop": course.learning_rate_drops[0] if course.learning_rate_drops else "",
        "val_loss": round(best.val_loss, 4), "val_accuracy": round(best.val_accuracy, 4),
        "test_loss": round(test_loss, 4), "test_accuracy": round(test_accuracy, 4),
    }  # fmt: skip


def table(runs: list[dict[str, str]]) -> str:
    """Markdown: mean and standard deviation of the test accuracy by arm and version, and where 72.29 % lies."""
    groups: dict[tuple[str, str], list[dict[str, str]]] = defaultdict(list)
    for run in runs:
        groups[run["arm"], run["tensorflow"]].append(run)
    lines = [
        "| arm | TensorFlow | runs | test accuracy, mean ± sd | range | best epoch after the first drop | "
        "runs at or above 72.29 % | 72.29 % lies at |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for (arm, version), group in groups.items():
        accuracy = [float(run["test_accuracy"]) for run in group]
        place = (NOTEBOOK_TEST_ACCURACY - np.mean(accuracy)) / np.std(accuracy, ddof=1) if len(group) > 1 else np.nan
        lines.append(
            f"| {arm} | {version} | {len(group)} | {_mean_and_deviation(accuracy)} | "
            f"{100 * min(accuracy):.2f} % to {100 * max(accuracy):.2f} % | "
            f"{sum(map(_best_after_drop, group))} of {len(group)} | "
            f"{sum(one >= NOTEBOOK_TEST_ACCURACY for one in accuracy)} | "
            f"{f'mean {place:+.1f} sd' if len(group) > 1 else '?'} |"
        )
    return "\n".join(lines)


def effect_of_the_drop(runs: list[dict[str, str]]) -> str:
    """The defaults' test accuracy under one version, parted by whether the best epoch came after the first drop."""
    alike = [run for run in runs if run["tensorflow"] == NEWEST and run["arm"] == "defaults"]
    after = [float(run["test_accuracy"]) for run in alike if _best_after_drop(run)]
    before = [float(run["test_accuracy"]) for run in alike if not _best_after_drop(run)]
    return (
        f"best epoch after the first drop: {len(after)} runs, {_mean_and_deviation(after)}; "
        f"before it: {len(before)} runs, {_mean_and_deviation(before)}"
    )


def effect_of(arm: str, runs: list[dict[str, str]]) -> str:
    """``arm`` against the defaults under one version: the difference of means, and Welch's t-test for chance."""
    changed, unchanged = (
        [float(run["test_accuracy"]) for run in runs if run["arm"] == name and run["tensorflow"] == NEWEST]
        for name in (arm, "defaults")
    )
    test = stats.ttest_ind(changed, unchanged, equal_var=False)
    low, high = test.confidence_interval(0.95)
    return (
        f"{arm} minus defaults: {100 * (np.mean(changed) - np.mean(unchanged)):+.2f} points, "
        f"95 % interval {100 * low:+.2f} to {100 * high:+.2f}, p = {test.pvalue:.2g} (Welch's t-test)"
    )


def _best_after_drop(run: dict[str, str]) -> bool:
    return run["first_drop"] != "" and int(run["best_epoch"]) > int(run["first_drop"])


def _mean_and_deviation(accuracies: list[float]) -> str:
    deviation = f"{100 * np.std(accuracies, ddof=1):.2f} %" if len(accuracies) > 1 else "?"
    return f"{100 * np.mean(accuracies):.2f} % ± {deviation}"


def _read() -> list[dict[str, str]]:
    with RUNS.open(newline="") as file:
        return list(csv.DictReader(file))


def _append(run: dict[str, Any]) -> None:
    is_new = not RUNS.exists()
    with RUNS.open("a", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        if is_new:
            writer.writeheader()
        writer.writerow(run)
    print(run, flush=True)


if __name__ == "__main__":
    run_stage("spread", spread)
