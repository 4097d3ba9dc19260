"""The runs of a sweep side by side: on the cores of this machine, or on a cluster of Dask's."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import cloudpickle
import dask
import joblib
from distributed import Client, LocalCluster, as_completed, wait
from distributed.comm.core import connect
from distributed.security import Security
from distributed.system import MEMORY_LIMIT

from stages.common import interrupts
from stages.common.console import Progress, UserError
from stages.experiments import perform, runs
from stages.experiments.perform import Run, Source

SECONDS_TO_CONNECT, SECONDS_TO_END = 30.0, 20.0


@contextmanager
def on_this_machine(cores: int, memory: float) -> Iterator[tuple[Client, Path]]:
    """A cluster within this process, with room for as many runs as fit, at least one; and the folder of their clones.

    Threads do, since a run is processes of its own, for which a thread waits.

    Args:
        cores: of each run.
        memory: of each run, in GiB.
    """
    # Of the cores and the memory that a container or a scheduler leaves to this process.
    side_by_side = min(joblib.cpu_count() // cores, int(MEMORY_LIMIT / 2**30 / memory))
    settings = {
        "distributed.dashboard.link": "http://127.0.0.1:{port}/status",
        # Would look a hundred times a second what the waiting threads do, and take a fortieth of a core for it.
        "distributed.worker.profile.enabled": False,
    }
    with (
        dask.config.set(settings),
        runs.workplace() as folder,
        LocalCluster(
            processes=False,
            n_workers=1,
            threads_per_worker=max(1, side_by_side),
            memory_limit=0,
            dashboard_address="127.0.0.1:0",
            local_directory=str(folder),
        ) as cluster,
        Client(cluster) as client,
    ):
        yield client, folder


@contextmanager
def on_scheduler(address: str) -> Iterator[Client]:
    """A cluster whose scheduler is at ``address``.

    Raises:
        UserError: no scheduler answers there.
    """
    logging.getLogger("distributed.client").setLevel(logging.CRITICAL)  # what it says of a lost scheduler is said here
    try:
        asyncio.run(_answer(address))
    except (asyncio.TimeoutError, MemoryError):  # of silence, or of an answer that Dask takes for the length of another
        raise UserError(
            f"no scheduler of Dask answers at {address}, where something else listens, such as its dashboard"
        ) from None
    except (OSError, ValueError, TypeError) as error:  # a TypeError where tls:// has no certificates
        raise UserError(f"no scheduler of Dask answers at {address}: {error}") from None
    with Client(address) as client:
        yield client


async def _answer(address: str) -> None:
    """Connect and part again; where something else listens, :class:`Client` would wait for ever."""
    settings = Security().get_connection_args("client")
    connecting = connect(address, timeout=SECONDS_TO_CONNECT, **settings)  # which limits all but the first exchange
    comm = await asyncio.wait_for(connecting, 1.5 * SECONDS_TO_CONNECT)
    await comm.close()


def perform_all(
    client: Client, parent: Path | None, todo: Sequence[Run], source: Source, cores: int, seconds: float | None
) -> dict[str, str]:
    """Perform the runs, as many at once as the cluster has threads; the names of those that failed, and why.

    Args:
        parent: the folder of the clones; None for workers elsewhere, each with a folder of its own.
    """
    if parent is None:
        # Workers elsewhere can't import the project's code: the module travels to them as it is here.
        cloudpickle.register_pickle_by_value(perform)
    folder = None if parent is None else str(parent)
    failed: dict[str, str] = {}
    interrupts.raise_if_received()  # one that came while Dask was loaded; the next chance is the end of a run
    begin = time.monotonic()
    futures = [client.submit(_task(run, source, folder, cores, seconds), key=run.name) for run in todo]
    bar = Progress("sweep", len(todo), "runs")
    try:
        # Each result is taken at once and given up, so that a worker that dies later takes no finished run with it.
        # By the client's own loop: that of another client is another thread, and would spoil the connection.
        ended = as_completed(futures, loop=client.loop, with_results=True, raise_errors=False)
        for done, (future, result) in enumerate(ended, start=1):
            if future.cancelled():
                raise UserError(
                    "the scheduler is gone; workers end the runs that they have begun, so start the sweep again with "
                    "another scheduler, and it makes what is missing"
                )
            if future.status != "finished":
                result = f"lost: {result[1]}"  # of the type, the error and its traceback
            if result:
                failed[future.key] = result
                indented = "\n".join(f"    {line}" for line in result.splitlines())
                bar.say(f"{future.key} failed:\n{indented}")
            future.release()
            left = len(todo) - done
            running = min(left, sum(client.nthreads().values()))
            minutes = (time.monotonic() - begin) / done * left / 60
            bar.say(
                f"{done - len(failed)} done, {len(failed)} failed, {running} running, {left - running} waiting; "
                f"about {minutes:.0f} minutes left"
            )
            bar.advance(1)
    except BaseException:
        logging.disable()  # Dask tells at length of each run that it loses now
        # What runs on this machine is ended, and removes its clone. Workers elsewhere end what they have begun.
        perform.end_all()
        if parent is not None:
            with suppress(TimeoutError):
                wait([future for future in futures if not future.done()], timeout=SECONDS_TO_END)
        raise
    finally:
        bar.close()
    return failed


def _task(run: Run, source: Source, parent: str | None, cores: int, seconds: float | None) -> Callable[[], str]:
    """The run as a function within a function: Dask leaves what has no name to cloudpickle, others to pickle alone."""
    act = perform.perform
    return lambda: act(run, source, parent, cores, seconds)
