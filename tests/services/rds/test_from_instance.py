# SPDX-License-Identifier: Apache-2.0
"""An instance reaches databases: one that was there before it, and one that came later."""

from __future__ import annotations

import sys
from typing import Any

from tests.services.ec2.conftest import lab_of, unique
from tests.services.rds.test_instances import MASTER, PASSWORD, create

PROGRAM = """
import pathlib, psycopg, sys
host, port = sys.argv[1:]
with psycopg.connect(host=host, port=port, dbname="app", user="boss", password="correct-horse-1", connect_timeout=20,
                     sslmode="verify-full", sslrootcert="/etc/ssl/certs/ca-certificates.crt") as connection:
    told = connection.execute("SELECT current_user").fetchone()
    print("reached", host, told[0], flush=True)
"""


def script(first: dict[str, Any]) -> str:
    """User data: reach one database, then wait to be told of another through a tag."""
    endpoint = first["Endpoint"]
    return f"""#!/bin/bash
cat > /opt/reach.py <<'X'
{PROGRAM}
X
{sys.executable} /opt/reach.py {endpoint["Address"]} {endpoint["Port"]}
I=http://169.254.169.254/latest
T=$(curl -s -X PUT -H 'X-aws-ec2-metadata-token-ttl-seconds: 600' $I/api/token)
until later=$(curl -sf -H "X-aws-ec2-metadata-token: $T" $I/meta-data/tags/instance/later); do :; done
{sys.executable} /opt/reach.py ${{later/:/ }}
"""


def test_databases_made_before_and_after_the_instance(chamber: Any) -> None:
    lab, rds = lab_of(chamber), chamber.client("rds")
    assert (MASTER, PASSWORD) == ("boss", "correct-horse-1")
    web, group = lab.group(), lab.group()
    pair = [{"GroupId": web}]
    lab.ec2.authorize_security_group_ingress(
        GroupId=group,
        IpPermissions=[{"IpProtocol": "tcp", "FromPort": 5432, "ToPort": 5432, "UserIdGroupPairs": pair}],
    )
    names = unique("before"), unique("after")
    given = {"PubliclyAccessible": False, "VpcSecurityGroupIds": [group]}
    before = create(rds, names[0], **given)
    instance = lab.run(script(before), SecurityGroupIds=[web], MetadataOptions={"InstanceMetadataTags": "enabled"})
    lab.wait(instance)
    lab.until_console(instance, f"reached {before['Endpoint']['Address']} boss")
    after = create(rds, names[1], **given)
    place = f"{after['Endpoint']['Address']}:{after['Endpoint']['Port']}"
    lab.ec2.create_tags(Resources=[instance], Tags=[{"Key": "later", "Value": place}])
    lab.until_console(instance, f"reached {after['Endpoint']['Address']} boss")
    lab.ec2.terminate_instances(InstanceIds=[instance])
    for name in names:
        rds.delete_db_instance(DBInstanceIdentifier=name, SkipFinalSnapshot=True)
