"""What the runs of a sweep have in common is done once, before them: to bring the images and to verify them.

DVC's run cache would not do: it does not take a stage with outputs in Git. And processes that meet in it over one stage
disturb each other. So the verified dataset is an experiment too, and the runs begin from its files.
"""

from __future__ import annotations

from collections.abc import Sequence

from stages.common import parameter_file
from stages.experiments import recipes, runs
from stages.experiments.perform import Run, Source

LAST_STAGE, SECTION = "verify", "dataset"  # and the parameters that the stages up to it read


def prepared(todo: Sequence[Run], defaults: str, source: Source) -> tuple[list[Run], list[Run]]:
    """The runs, each told where it finds its verified dataset; and the runs that make these, one for each dataset."""
    informed, preparations = [], {}
    for run in todo:
        section = parameter_file.parse(run.parameters.encode(), run.name)[SECTION]
        text = recipes.applied({SECTION: section}, defaults, run.name)
        before = runs.named(SECTION, text, source, LAST_STAGE)
        preparations[before.name] = before
        informed.append(run._replace(prepared=before.name))
    return informed, list(preparations.values())
