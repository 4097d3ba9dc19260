"""recipe: runs the pipeline by a recipe, as an experiment of DVC.

Called as ``python -m stages.recipe NAME`` for ``recipes/NAME.yaml``. The run begins from the last commit, in a clone of
its own beside DVC's cache. So no file of the user's changes, and nothing that the commit does not hold takes part.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from stages import parameters
from stages.common.console import UserError, run_stage
from stages.common.locks import locked
from stages.common.parameter_file import PATH
from stages.common.rounding import percent
from stages.experiments import recipes, runs
from stages.experiments.perform import FailedError, perform_in

WAITS = "recipe: another process runs this recipe; waiting for it"


def recipe(name: str) -> None:
    changes = recipes.load(name)
    source = runs.here()
    parameters.check()
    run = runs.named(name, recipes.applied(changes, PATH.read_text("utf-8"), f"recipes/{name}.yaml"), source)
    with locked(Path(f".dvc/tmp/recipe-{name}.lock"), lambda _: print(WAITS, flush=True)):
        found = runs.found(source.commit).get(runs.checksum(run.name))
        if found is None:
            with runs.workplace() as folder:
                try:
                    perform_in(folder, run, source)
                except FailedError as error:
                    raise UserError(f"{error}; what it printed stands above, and nothing was kept") from None
    accuracy = percent(runs.metric(found or run.name, source, "test.accuracy"))
    done = "has already run" if found else "is done"
    print(f"recipe: {found or run.name} {done}; test accuracy {accuracy}")
    print(f"compare it:       python -m stages.compare HEAD {found or run.name}")
    print(f"make it this one: dvc exp apply {found or run.name}")


def main() -> None:
    parser = argparse.ArgumentParser("python -m stages.recipe", description="Run a recipe as an experiment of DVC.")
    parser.add_argument("name", metavar="NAME", help="of a file in recipes/, without .yaml")
    arguments = parser.parse_args()
    run_stage("recipe", lambda: recipe(arguments.name))


if __name__ == "__main__":
    main()
