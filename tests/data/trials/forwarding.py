"""A custom collector: sends each line of JSON of PATH to ADDRESS as it comes, until its trial has
ended."""

import json
import os
import sys
import time
from pathlib import Path

import grpc

from trialbus.contracts.katib.stubs import api_pb2

path, address = Path(sys.argv[1]), sys.argv[2]
ended = Path(os.environ["TRIALBUS_RUN_FOLDER"]) / "trial-ended.json"
channel = grpc.insecure_channel(address)
report = channel.unary_unary(
    "/api.v1.beta1.DBManager/ReportObservationLog",
    request_serializer=api_pb2.ReportObservationLogRequest.SerializeToString,
    response_deserializer=api_pb2.ReportObservationLogReply.FromString,
)
sent = 0
while True:
    over = ended.exists()
    lines = path.read_text().splitlines() if path.exists() else []
    for line in lines[sent:]:
        metric = api_pb2.Metric(name="loss", value=str(json.loads(line)["loss"]))
        at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        log = api_pb2.ObservationLog(metric_logs=[api_pb2.MetricLog(time_stamp=at, metric=metric)])
        trial = os.environ["KATIB_TRIAL_NAME"]
        report(
            api_pb2.ReportObservationLogRequest(trial_name=trial, observation_log=log), timeout=20
        )
        sent += 1
    if over:
        break
    time.sleep(0.05)
