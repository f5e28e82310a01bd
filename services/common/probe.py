"""Asks a gRPC server for its health: `python -m services.common.probe`, for what cannot ask by itself (Compose).

Ends with 0 when it is SERVING, with 1 and a line that says why when it is not. Kubernetes asks natively.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc


def ask(address: str, service: str, timeout_seconds: float) -> str:
    """The state of `service` ("" is the whole server), "SERVING" when it is well, or why there was no answer."""
    with grpc.insecure_channel(address) as channel:
        stub: Any = health_pb2_grpc.HealthStub(channel)
        try:
            answer = stub.Check(health_pb2.HealthCheckRequest(service=service), timeout=timeout_seconds)
        except grpc.RpcError as error:
            call: Any = error  # what is raised is also the call
            return f"{call.code().name}: {call.details()}"
    return str(health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status))


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m services.common.probe", description=__doc__)
    parser.add_argument("address", nargs="?", default="127.0.0.1:50051", help="host:port")
    parser.add_argument("--service", default="", help="one service of the server; the whole server without it")
    parser.add_argument("--timeout-seconds", type=float, default=3.0)
    options = parser.parse_args(arguments)
    state = ask(options.address, options.service, options.timeout_seconds)
    sys.stdout.write(f"{state}\n")
    return 0 if state == "SERVING" else 1


if __name__ == "__main__":
    raise SystemExit(main())
