"""Takes part in a training that several workers share: ``python -m stages.worker``, the same command on each of them.

``TF_CONFIG`` names the workers, or SLURM or Kubernetes do, which started them; see ``stages/model/cluster.py``. The
first worker becomes ``dvc repro``, whose stage ``train`` trains and writes the results. The others wait until it
trains, compute their parts of every batch, by their own ``params.yaml`` and ``data/verified``, and end with it.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from stages.common import parameter_file
from stages.common.console import UserError, progress, run_stage
from stages.model import cluster as clusters
from stages.model import meeting
from stages.model.cluster import Cluster


def worker() -> None:
    cluster = (
        clusters.from_tf_config(os.environ) or clusters.from_slurm(os.environ) or clusters.from_kubernetes(os.environ)
    )
    if cluster is None:
        raise UserError("nothing names the workers: neither TF_CONFIG, SLURM nor Kubernetes; see docs/workers.md")
    if cluster.index == 0:
        os.environ["TF_CONFIG"] = cluster.as_tf_config()
        os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        os.execv(sys.executable, [sys.executable, "-m", "dvc", "repro"])
    meeting.wait_for_first(cluster)
    compute(cluster)


def compute(cluster: Cluster) -> None:
    """Train together with the others, and leave the results to the first."""
    # Here, because the first worker has no use for TensorFlow, which takes seconds to load.
    from stages import train
    from stages.model import training

    settings = parameter_file.load(train.Settings)
    train_split, validation_split = train.splits()
    title = f"worker {cluster.index}"
    with progress(title, settings.train.epochs * len(train_split.images), "images") as bar:
        training.train(
            settings.model,
            settings.train,
            settings.seed,
            train_split,
            validation_split,
            on_images=bar.advance,
            on_epoch=lambda state: bar.say(state.last_epoch_in_words()),
            cluster=cluster,
        )


if __name__ == "__main__":
    run_stage("worker", worker)
