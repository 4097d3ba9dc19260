"""How the cores share the work of a training.

TensorFlow splits each operation over all cores. A batch of this network's images is too small for that: the cores wait
for each other at the end of every operation, and for one another's caches in the next. Instead a batch is cut into as
many parts as there are cores, each part is one core's from its images to its gradients, and their sum is the batch's
gradient, as in data-parallel training over several processors. It takes four fifths of the time.

The parts decide in which order float32 rounds the sums, so the number of cores is one of the things, as the processor
is, that equal bytes of a model depend on.
"""

from __future__ import annotations

import joblib

from stages.common.parameters import Model
from stages.model.backend import tf

MOST_PARTS = 8  # of a batch of 64; smaller parts take longer to hand out than they save


def share(model: Model) -> int:
    """Into how many parts a batch is cut, 1 to :data:`MOST_PARTS`; sets TensorFlow's threads accordingly.

    It is one part, and TensorFlow's own way, where batch normalisation needs the statistics of the whole batch, and
    on a GPU.

    Raises:
        RuntimeError: TensorFlow has started its threads already.
    """
    cores = joblib.cpu_count()  # those that the process may use, where a container or a scheduler gives it only some
    if model.batch_normalization or tf.config.list_physical_devices("GPU"):
        return 1
    parts = min(MOST_PARTS, cores)
    tf.config.threading.set_inter_op_parallelism_threads(parts)
    tf.config.threading.set_intra_op_parallelism_threads(cores // parts)
    return parts
