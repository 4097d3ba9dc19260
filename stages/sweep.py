"""sweep: makes many runs of the pipeline, and a table of them.

Called as ``python -m stages.sweep SPEC`` for a file in ``sweeps/`` (see ``stages/experiments/spec.py``). Each run is an
experiment of DVC that begins from the last commit, in a clone of its own. A run that is there is not made again, so a
sweep that was interrupted, or has got more seeds, makes what is missing. Writes the table beside the spec, as Markdown
and JSON, and a picture of all runs.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from stages import parameters
from stages.common.console import UserError, run_stage
from stages.common.files import write_figure, write_json, write_text
from stages.common.parameter_file import PATH
from stages.experiments import preparation, runs, spec, table
from stages.experiments.perform import Run, Source
from stages.experiments.spec import Planned, Spec


def sweep(path: Path, scheduler: str | None = None) -> None:
    wanted = spec.load(path)
    here = runs.here()
    source = here if scheduler is None else runs.shared(here)
    parameters.check()
    defaults = PATH.read_text("utf-8")
    planned = spec.plan(wanted, defaults, here, str(path))
    there = runs.found(here.commit)
    # By checksum, as two settings may come to the same run.
    distinct = {runs.checksum(one.run.name): one.run for one in planned}
    missing = [run for checksum, run in distinct.items() if checksum not in there]
    print(f"sweep: {len(distinct)} runs, {len(distinct) - len(missing)} already done", flush=True)
    failed = _perform(missing, wanted, here, source, defaults, scheduler) if missing else {}
    _report(path, wanted, planned, here)
    if failed:
        raise UserError(f"failed, so missing from the table: {', '.join(failed)}")


def _perform(
    missing: list[Run], wanted: Spec, here: Source, source: Source, defaults: str, scheduler: str | None
) -> dict[str, str]:
    """Make the runs; the names of those that failed, and why."""
    from stages.experiments import cluster  # here, since the table of what is there needs no cluster

    seconds = None if wanted.minutes is None else 60 * wanted.minutes
    todo, preparations = preparation.prepared(missing, defaults, here)
    with ExitStack() as stack:
        others = None if scheduler is None else stack.enter_context(cluster.on_scheduler(scheduler))
        client, folder = stack.enter_context(cluster.on_this_machine(wanted.cores, wanted.memory))
        print(f"sweep: what runs where is shown at {(others or client).dashboard_link}", flush=True)
        refused = _prepare(
            preparations, here, lambda some: cluster.perform_all(client, folder, some, here, wanted.cores, None)
        )
        failed = {run.name: refused[run.prepared] for run in todo if run.prepared in refused}
        todo = [run for run in todo if run.name not in failed]
        if others is None:
            return failed | cluster.perform_all(client, folder, todo, here, wanted.cores, seconds)
        for run in preparations:
            if run.name not in refused:
                runs.publish(run)
        failed |= cluster.perform_all(others, None, todo, source, wanted.cores, seconds)
        runs.bring(here)
        return failed


def _prepare(preparations: list[Run], here: Source, perform: Callable[[list[Run]], dict[str, str]]) -> dict[str, str]:
    """Make the verified datasets that are missing; the names of those that could not be made, and why."""
    there = runs.found(here.commit)
    missing = [run for run in preparations if runs.checksum(run.name) not in there]
    refused: dict[str, str] = {}
    at_once = 1  # until one is made: it brings the images for all, and processes that bring them disturb each other
    while missing:
        some, missing = missing[:at_once], missing[at_once:]
        failures = perform(some)
        refused |= failures
        if not failures:
            at_once = len(missing)
    return refused


def _report(path: Path, wanted: Spec, planned: list[Planned], source: Source) -> None:
    there = runs.found(source.commit)
    settings = list(dict.fromkeys(one.setting for one in planned))
    tables: list[table.Table] = []
    notes = []
    for metric in wanted.metrics:
        values: dict[str, dict[str, float]] = {setting: {} for setting in settings}
        without = []
        for one in planned:
            if name := there.get(runs.checksum(one.run.name)):
                try:
                    values[one.setting][one.repetition] = runs.metric(name, source, metric)
                except UserError:  # a run without a drop of the learning rate has no first drop
                    without.append(name)
        if without:
            notes.append(f"{metric}: not in the table are runs that have no such number: {', '.join(without)}")
        if wanted.search and not tables:
            settings = table.ranked(values, wanted.search.best)
            values = {setting: values[setting] for setting in settings}
        if any(values.values()):
            # The best of many settings against the rest would say little: it is the best by chance too.
            tables.append(table.table(metric, values, wanted.folds, compared=wanted.search is None))
    if not tables:
        if notes:
            raise UserError(notes[0])
        return
    from stages.experiments.figure import dots  # here, since drawing takes a second to load

    text = table.markdown(tables)
    write_text(path.with_suffix(".md"), f"# {path.stem}\n\n{text}")
    write_json(path.with_suffix(".json"), table.as_json(tables))
    write_figure(path.with_suffix(".png"), dots(tables))
    print(f"\n{text}")
    for note in notes:
        print(f"sweep: {note}")


def main() -> None:
    parser = argparse.ArgumentParser("python -m stages.sweep", description="Make many runs, and a table of them.")
    parser.add_argument("spec", metavar="SPEC", type=Path, help="a file in sweeps/")
    parser.add_argument("--scheduler", metavar="ADDRESS", help="of a cluster of Dask's, such as tcp://10.0.0.1:8786")
    arguments = parser.parse_args()
    run_stage("sweep", lambda: sweep(arguments.spec, arguments.scheduler))


if __name__ == "__main__":
    main()
