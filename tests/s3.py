"""An S3 server on this machine, with an empty bucket, as the remote of a project."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

ACCOUNT = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": "us-east-1"}


@contextmanager
def running_s3_server() -> Iterator[list[list[str]]]:
    """The arguments of `dvc remote` that tell a project of it; it is used with :data:`ACCOUNT` in the environment."""
    import boto3  # here, since the quick tests load this file too
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        address = f"http://{host}:{port}"
        boto3.client("s3", endpoint_url=address).create_bucket(Bucket="storage")
        yield [["add", "--default", "storage", "s3://storage/dvc"], ["modify", "storage", "endpointurl", address]]
    finally:
        server.stop()
