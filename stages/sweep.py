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
    local = runs.here()
    shared = local if scheduler is None else runs.shared(local)
    parameters.check()
    defaults = PATH.read_text("utf-8")
    planned = spec.plan(wanted, defaults, local, str(path))
    existing = runs.found(local.commit)
    # By checksum, as two settings may come to the same run.
    distinct = {runs.checksum(each.run.name): each.run for each in planned}
    missing = [run for checksum, run in distinct.items() if checksum not in existing]
    print(f"sweep: {len(distinct)} runs, {len(distinct) - len(missing)} already done", flush=True)
    failed = _perform(missing, wanted, local, shared, defaults, scheduler) if missing else {}
    _report(path, wanted, planned, local)
    if failed:
        raise UserError(f"failed, so missing from the table: {', '.join(failed)}")


def _perform(
    missing: list[Run], wanted: Spec, local: Source, shared: Source, defaults: str, scheduler: str | None
) -> dict[str, str]:
    """Make the runs; the names of those that failed, and why.

    Args:
        local: the project as processes of this machine reach it.
        shared: as the workers reach it.
    """
    from stages.experiments import cluster  # here, since the table of what is there needs no cluster

    seconds = None if wanted.minutes is None else 60 * wanted.minutes
    todo, preparations = preparation.prepared(missing, defaults, local)
    with ExitStack() as stack:
        workers = None if scheduler is None else stack.enter_context(cluster.on_scheduler(scheduler))
        client, folder = stack.enter_context(cluster.on_this_machine(wanted.cores, wanted.memory))
        print(f"sweep: what runs where is shown at {(workers or client).dashboard_link}", flush=True)
        refused = _prepare(
            preparations, local, lambda batch: cluster.perform_all(client, folder, batch, local, wanted.cores, None)
        )
        failed = {run.name: refused[run.prepared] for run in todo if run.prepared in refused}
        todo = [run for run in todo if run.name not in failed]
        if workers is None:
            return failed | cluster.perform_all(client, folder, todo, local, wanted.cores, seconds)
        for run in preparations:
            if run.name not in refused:
                runs.publish(run)
        failed |= cluster.perform_all(workers, None, todo, shared, wanted.cores, seconds)
        runs.bring(local)
        return failed


def _prepare(preparations: list[Run], local: Source, perform: Callable[[list[Run]], dict[str, str]]) -> dict[str, str]:
    """Make the verified datasets that are missing; the names of those that could not be made, and why."""
    existing = runs.found(local.commit)
    missing = [run for run in preparations if runs.checksum(run.name) not in existing]
    refused: dict[str, str] = {}
    at_once = 1  # until one is made: it brings the images for all, and processes that bring them disturb each other
    while missing:
        batch, missing = missing[:at_once], missing[at_once:]
        failures = perform(batch)
        refused |= failures
        if not failures:
            at_once = len(missing)
    return refused


def _report(path: Path, wanted: Spec, planned: list[Planned], local: Source) -> None:
    existing = runs.found(local.commit)
    settings = list(dict.fromkeys(each.setting for each in planned))
    tables: list[table.Table] = []
    notes = []
    for metric in wanted.metrics:
        values: dict[str, dict[str, float]] = {setting: {} for setting in settings}
        without = []
        for each in planned:
            if name := existing.get(runs.checksum(each.run.name)):
                try:
                    values[each.setting][each.repetition] = runs.metric(name, local, metric)
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
