# SPDX-License-Identifier: Apache-2.0
"""Restores and transitions reach the function that wants to know of them, and stand on tracks."""

from __future__ import annotations

import json

import pytest

from tests.services.s3.test_lifecycle import put_rules
from tests.services.s3.test_notifications import function, seen, wait_for

__all__ = ["function", "seen"]


@pytest.fixture
def chamber(own_chamber):
    """One that restores at once."""
    own_chamber.kill()
    own_chamber.more["CLOUDCHAMBER_S3_RESTORE_SECONDS"] = "0"
    own_chamber.start()
    return own_chamber


def test_a_function_hears_of_restores_and_transitions(chamber, s3, function, seen):
    s3.create_bucket(Bucket="cold")
    chamber.client("lambda").add_permission(
        FunctionName=function, StatementId="s3", Action="lambda:InvokeFunction", Principal="s3.amazonaws.com"
    )
    wanted = {"LambdaFunctionArn": function, "Events": ["s3:ObjectRestore:*", "s3:LifecycleTransition"]}
    s3.put_bucket_notification_configuration(
        Bucket="cold", NotificationConfiguration={"LambdaFunctionConfigurations": [wanted]}
    )
    s3.put_object(Bucket="cold", Key="k", Body=b"x", StorageClass="GLACIER")
    s3.restore_object(Bucket="cold", Key="k", RestoreRequest={"Days": 1})
    found = {one["eventName"]: one for one in wait_for(s3, seen, 2)}
    assert set(found) == {"ObjectRestore:Post", "ObjectRestore:Completed"}
    told = found["ObjectRestore:Completed"]
    assert told["glacierEventData"]["restoreEventData"]["lifecycleRestoreStorageClass"] == "GLACIER"
    assert told["userIdentity"]["principalId"] == "s3.amazonaws.com"
    assert s3.get_object(Bucket="cold", Key="k")["Body"].read() == b"x"
    s3.put_object(Bucket="cold", Key="moved", Body=b"y")
    sized = {"ObjectSizeGreaterThan": 0}
    at_once = {"Date": "2020-01-01T00:00:00Z", "StorageClass": "DEEP_ARCHIVE"}
    put_rules(s3, "cold", {"ID": "down", "Filter": sized, "Transitions": [at_once]})
    moved = [one for one in wait_for(s3, seen, 4) if one["eventName"] == "LifecycleTransition"]
    keys = {one["s3"]["object"]["key"] for one in moved}
    assert keys == {"k", "moved"}
    classes = {one["lifecycleEventData"]["transitionEventData"]["destinationStorageClass"] for one in moved}
    assert classes == {"DEEP_ARCHIVE"}
    tracks = json.loads(chamber.cli("tracks", "--json", "--all", "--limit", "200").stdout)
    assert "S3.TRANSITION_GDA.OBJECT" in json.dumps(tracks)
