"""Tests of ``stages/experiments/cluster.py``."""

from __future__ import annotations

import socketserver
import threading
from pathlib import Path

import joblib
import pytest

from stages.common.console import UserError


@pytest.mark.slow
@pytest.mark.parametrize(("share", "runs"), [(1e-6, joblib.cpu_count()), (0.4, min(2, joblib.cpu_count())), (3.0, 1)])
def test_so_many_runs_are_made_side_by_side_as_cores_and_memory_allow(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, share: float, runs: int
) -> None:
    # Here, since the quick tests load this file too.
    from distributed.system import MEMORY_LIMIT

    from stages.experiments import cluster

    monkeypatch.chdir(tmp_path)
    gibibytes = MEMORY_LIMIT / 2**30
    with cluster.on_this_machine(cores=1, memory=share * gibibytes) as (client, _):
        assert sum(client.nthreads().values()) == runs


@pytest.mark.slow
@pytest.mark.parametrize(("scheme", "banner"), [("tcp", b""), ("tls", b""), ("tcp", b"SSH-2.0-OpenSSH_9.2\r\n")])
def test_where_something_else_than_a_scheduler_listens_a_sweep_says_so(
    monkeypatch: pytest.MonkeyPatch, scheme: str, banner: bytes
) -> None:
    from stages.experiments import cluster

    class Server(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            self.request.sendall(banner)
            self.request.recv(1_000_000)

    monkeypatch.setattr(cluster, "SECONDS_TO_CONNECT", 2.0)
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Server) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"{scheme}://127.0.0.1:{server.server_address[1]}"
        refused = pytest.raises(UserError, match=f"^no scheduler of Dask answers at {address}")
        with refused, cluster.on_scheduler(address):
            pass
        server.shutdown()
