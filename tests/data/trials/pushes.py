"""A trial that reports its metrics itself, by Katib's gRPC API.

    pushes.py ADDRESS FOLDER X POINTS

It prints its name, pushes POINTS values of `loss` (X times the number of the point, one second
apart in time) and one of `accuracy`, and ends when there is a file `go` in FOLDER.
"""

import os
import sys
import time
from pathlib import Path

import grpc

from trialbus.contracts.katib.stubs import api_pb2

WAIT_S = 60.0


def main(address: str, folder: str, x: str, points: str) -> None:
    print("begun", flush=True)
    with grpc.insecure_channel(address) as channel:
        report = channel.unary_unary(
            "/api.v1.beta1.DBManager/ReportObservationLog",
            request_serializer=api_pb2.ReportObservationLogRequest.SerializeToString,
            response_deserializer=api_pb2.ReportObservationLogReply.FromString,
        )
        for number in range(1, int(points) + 1):
            at = f"2024-05-01T10:00:{number:02d}.123456789Z"
            report(request(at, "loss", repr(float(x) * number)), timeout=WAIT_S)
        report(request("", "accuracy", "0.5"), timeout=WAIT_S)
    ends_at = time.monotonic() + WAIT_S
    while not (Path(folder) / "go").exists() and time.monotonic() < ends_at:
        time.sleep(0.02)


def request(at: str, metric: str, value: str) -> api_pb2.ReportObservationLogRequest:
    row = api_pb2.MetricLog(time_stamp=at, metric=api_pb2.Metric(name=metric, value=value))
    return api_pb2.ReportObservationLogRequest(
        trial_name=os.environ["KATIB_TRIAL_NAME"],
        observation_log=api_pb2.ObservationLog(metric_logs=[row]),
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
