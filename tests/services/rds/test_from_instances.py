# SPDX-License-Identifier: Apache-2.0
"""An EC2 instance reaches a database where its security group is let in, and nowhere else."""

from __future__ import annotations

import base64
import time
from typing import Any

from tests.services.rds.test_instances import create

PROBE = """#!/bin/bash
python3 - <<'END'
import socket, struct
for name, address in (("open", "{open}"), ("shut", "{shut}")):
    try:
        link = socket.create_connection((address, 5432), 10)
        link.sendall(struct.pack("!II", 8, 80877103))
        print("probe", name, link.recv(1))
    except OSError as error:
        print("probe", name, type(error).__name__)
print("probe done")
END
"""


def test_instances_reach_what_groups_allow(chamber: Any) -> None:
    ec2, rds = chamber.client("ec2"), chamber.client("rds")
    web = ec2.create_security_group(GroupName="rds-web", Description="web")["GroupId"]
    db = ec2.create_security_group(GroupName="rds-db", Description="db")["GroupId"]
    ec2.authorize_security_group_ingress(
        GroupId=db,
        IpPermissions=[{"IpProtocol": "tcp", "FromPort": 5432, "ToPort": 5432, "UserIdGroupPairs": [{"GroupId": web}]}],
    )
    shut = ec2.create_security_group(GroupName="rds-shut", Description="shut")["GroupId"]
    first = create(rds, "from-ec2", PubliclyAccessible=False, VpcSecurityGroupIds=[db])
    second = create(rds, "from-ec2-shut", PubliclyAccessible=False, VpcSecurityGroupIds=[shut])
    image = ec2.describe_images(Owners=["amazon"])["Images"][0]["ImageId"]
    data = PROBE.format(open=first["Endpoint"]["Address"], shut=second["Endpoint"]["Address"])
    made = ec2.run_instances(
        ImageId=image, InstanceType="t3.micro", MinCount=1, MaxCount=1, SecurityGroupIds=[web], UserData=data
    )
    instance = made["Instances"][0]["InstanceId"]
    ends, text = time.monotonic() + 60, ""
    while "probe done" not in text:
        assert time.monotonic() < ends, text
        output = ec2.get_console_output(InstanceId=instance).get("Output", "")
        text = base64.b64decode(output).decode() if output and " " not in output.strip() else output
        time.sleep(0.1)
    assert "probe open b'S'" in text
    assert "probe shut b'S'" not in text
    ec2.terminate_instances(InstanceIds=[instance])
    for name in ("from-ec2", "from-ec2-shut"):
        rds.delete_db_instance(DBInstanceIdentifier=name, SkipFinalSnapshot=True)
