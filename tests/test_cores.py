"""How the cores share the work, seen in processes of their own, since TensorFlow starts its threads once."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

SHARE = """
import os, sys
os.sched_setaffinity(0, range(int(sys.argv[1])))
from stages.common import parameters
from stages.model import cores
from stages.model.backend import tf
model = parameters.load().model.model_copy(update={"batch_normalization": sys.argv[2] == "normalised"})
threads = tf.config.threading
print(cores.share(model), threads.get_inter_op_parallelism_threads(), threads.get_intra_op_parallelism_threads())
"""


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system can't keep a process to some cores")
@pytest.mark.parametrize(
    ("cores", "network", "parts_and_threads"),
    [
        (1, "plain", "1 1 1"),
        (2, "plain", "2 2 1"),
        (2, "normalised", "1 0 0"),  # 0: TensorFlow's own choice
    ],
)
def test_a_batch_has_a_part_for_each_core_but_one_if_it_is_normalised(
    cores: int, network: str, parts_and_threads: str
) -> None:
    if cores > (os.cpu_count() or 1):
        pytest.skip("this machine has one core")
    command = [sys.executable, "-c", SHARE, str(cores), network]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == parts_and_threads


def test_training_loads_neither_scikit_learn_nor_matplotlib_and_both_load_afterwards() -> None:
    program = (
        "import sys, stages.train; print({'sklearn', 'matplotlib'} & set(sys.modules)); "
        "import sklearn.metrics, matplotlib.pyplot"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
