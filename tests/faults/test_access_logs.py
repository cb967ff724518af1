# SPDX-License-Identifier: Apache-2.0
"""Lines of access logs outlive a crash."""

from __future__ import annotations

import json
import sqlite3
import time

LET = {
    "Version": "2012-10-17",
    "Statement": [
        {
            "Effect": "Allow",
            "Principal": {"Service": "logging.s3.amazonaws.com"},
            "Action": "s3:PutObject",
            "Resource": "arn:aws:s3:::logs/*",
        }
    ],
}


def waiting(chamber) -> int:
    db = sqlite3.connect(chamber.state / "chamber.db")
    try:
        return db.execute("SELECT count(*) FROM s3_log_lines").fetchone()[0]
    finally:
        db.close()


def test_lines_that_wait_are_delivered_after_a_crash(own_chamber):
    s3 = own_chamber.client("s3")
    for name in ("watched", "logs"):
        s3.create_bucket(Bucket=name)
    s3.put_bucket_policy(Bucket="logs", Policy=json.dumps(LET))
    s3.put_bucket_logging(
        Bucket="watched", BucketLoggingStatus={"LoggingEnabled": {"TargetBucket": "logs", "TargetPrefix": ""}}
    )
    for number in range(120):
        if number % 10:
            s3.head_bucket(Bucket="watched")
        else:
            s3.put_object(Bucket="watched", Key=f"k{number}", Body=b"x")
    while waiting(own_chamber) < 120:
        time.sleep(0.05)
    own_chamber.kill()
    own_chamber.start()
    own_chamber.stop()
    own_chamber.start()
    assert waiting(own_chamber) == 0
    s3 = own_chamber.client("s3")
    lines = [
        line
        for one in s3.list_objects_v2(Bucket="logs")["Contents"]
        for line in s3.get_object(Bucket="logs", Key=one["Key"])["Body"].read().decode().splitlines()
    ]
    assert {f"k{number}" for number in range(0, 120, 10)} <= {line.split()[8] for line in lines}
    assert len({line.split()[6] for line in lines if "REST.HEAD.BUCKET" in line}) == 108
