"""As of how many bits a channel a model takes images of 16: a member of its file, as its training images were taken.

See ``stages/dataset/bit_depth.py``. It is read without TensorFlow, which takes seconds to load.
"""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

from stages.common.console import UserError

MEMBER = "depth.json"  # of the zip that a .keras file is: a number
MOST_BYTES = 10


def read(path: str | Path) -> int:
    """The depth, 8 to 16, of the model in ``path``.

    Raises:
        UserError: there is no such file, or it is no model that says its depth.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            if archive.getinfo(MEMBER).file_size > MOST_BYTES:
                raise ValueError(f"{MEMBER} has more than {MOST_BYTES} bytes")
            depth = json.loads(archive.read(MEMBER))
        if depth not in range(8, 17):
            raise ValueError(f"{MEMBER} is no number from 8 to 16")
        return int(depth)
    except FileNotFoundError:
        raise UserError(f"{path} not found; run `dvc repro train`") from None
    except KeyError:
        raise UserError(f"{path} does not say how deep its images were; run `dvc repro train`") from None
    except Exception as error:  # a damaged zip raises zlib.error, NotImplementedError or RuntimeError too
        raise UserError(f"{path} can't be opened as this pipeline's model ({error}); run `dvc repro train`") from error
