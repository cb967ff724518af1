# SPDX-License-Identifier: Apache-2.0
"""Security groups filter: the browser's way in, an instance's way to a database, and packets inside."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

import pytest

from tests.services.ec2.conftest import lab_of, unique
from tests.services.rds.test_instances import wait as wait_database

if TYPE_CHECKING:
    from tests.services.ec2.conftest import Lab

SERVER = """#!/bin/bash
mkdir -p /srv/www && echo hello > /srv/www/index.html
PYTHON -m http.server --directory /srv/www 80 >/dev/null 2>&1 &
echo web server started
wait
""".replace("PYTHON", sys.executable)

PROBE = """#!/bin/bash
cat > /opt/probe.py <<'X'
import psycopg
def attempt():
    return psycopg.connect(host="HOST", port=PORT, dbname="app", user="boss", password="correct-horse-1",
                           sslmode="verify-full", sslrootcert="/etc/ssl/certs/ca-certificates.crt",
                           connect_timeout=10, autocommit=True)
kept, last = None, ""
while True:
    try:
        fresh = attempt()
    except psycopg.OperationalError as error:
        new = "refused"
    else:
        new = "connected"
        kept, fresh = (kept, fresh) if kept else (fresh, None)
        if fresh:
            fresh.close()
    old = kept.execute("SELECT 'alive'").fetchone()[0] if kept else "none"
    now = f"new {new}, old {old}"
    if now != last:
        print(now, flush=True)
        last = now
X
exec PYTHON /opt/probe.py
"""


def page(lab: Lab, instance: str) -> tuple[int, str]:
    connection = lab.connect(instance)
    connection.request("GET", "/")
    answer = connection.getresponse()
    text = answer.read().decode()
    connection.close()
    return answer.status, text


def segments(lab: Lab, resource: str, name: str) -> list[dict[str, Any]]:
    """Steps of that name on the latest tracks, once there are any: they are written a moment later."""
    for _ in range(20):
        tracks = json.loads(lab.chamber.cli("tracks", "--json", "--all", "--limit", "150").stdout)
        every = [s for t in tracks for s in t["segments"] if s["name"] == name]
        found = [s for s in every if s.get("resource", "").endswith(resource)]
        if found:
            return sorted(found, key=lambda s: s["started"])
    raise AssertionError(f"no segment {name} of {resource}")


@pytest.fixture(scope="module")
def database(chamber: Any) -> Any:
    """A private database and its security group."""
    lab, rds = lab_of(chamber), chamber.client("rds")
    group, name = lab.group(), unique("filtered")
    rds.create_db_instance(
        DBInstanceIdentifier=name, DBInstanceClass="db.t4g.micro", Engine="postgres", AllocatedStorage=20,
        MasterUsername="boss", MasterUserPassword="correct-horse-1", DBName="app", PubliclyAccessible=False,
        BackupRetentionPeriod=0, VpcSecurityGroupIds=[group],
    )  # fmt: skip
    found = wait_database(rds, name, "available")
    yield {"group": group, "host": found["Endpoint"]["Address"], "port": found["Endpoint"]["Port"]}
    rds.delete_db_instance(DBInstanceIdentifier=name, SkipFinalSnapshot=True)


def probe(database: dict[str, Any]) -> str:
    text = PROBE.replace("HOST", database["host"]).replace("PORT", str(database["port"]))
    return text.replace("PYTHON", sys.executable)


def members(group: str) -> list[dict[str, Any]]:
    return [{"IpProtocol": "tcp", "FromPort": 5432, "ToPort": 5432, "UserIdGroupPairs": [{"GroupId": group}]}]


def said(lab: Lab, instance: str) -> list[str]:
    return [line for line in lab.console(instance).splitlines() if line.startswith("new ")]


def until_said(lab: Lab, instance: str, text: str) -> None:
    lab.until(lambda: said(lab, instance)[-1:] == [text], f"{text}:\n{lab.console(instance)}")


def test_a_revoked_rule_refuses_the_next_request(lab: Lab) -> None:
    group = lab.group(80)
    instance = lab.run(SERVER, SecurityGroupIds=[group])
    lab.wait(instance)
    lab.until(lambda: page(lab, instance)[0] == 200, "a page")
    (rule,) = lab.ec2.describe_security_groups(GroupIds=[group])["SecurityGroups"][0]["IpPermissions"]
    lab.ec2.revoke_security_group_ingress(GroupId=group, IpPermissions=[rule])
    status, text = page(lab, instance)
    assert status == 504
    assert f"--group-id {group} --protocol tcp --port 80 --cidr 0.0.0.0/0" in text
    lab.ec2.authorize_security_group_ingress(GroupId=group, IpPermissions=[rule])
    assert page(lab, instance)[0] == 200
    rules = lab.ec2.describe_security_group_rules(Filters=[{"Name": "group-id", "Values": [group]}])
    (own,) = [r["SecurityGroupRuleId"] for r in rules["SecurityGroupRules"] if not r["IsEgress"]]

    notes = [s["notes"] for s in segments(lab, instance, "GET /")]
    assert any(n.get("rule") == f"{group} {own}" for n in notes), notes
    refused = [n for n in notes if "denied" in n]
    assert refused and refused[0]["allow_with"].endswith(f"{group} --protocol tcp --port 80 --cidr 0.0.0.0/0")
    other = lab.group()
    lab.ec2.modify_instance_attribute(InstanceId=instance, Groups=[other])
    assert page(lab, instance)[0] == 504
    lab.ec2.modify_instance_attribute(InstanceId=instance, Groups=[other, group])
    assert page(lab, instance)[0] == 200
    lab.ec2.terminate_instances(InstanceIds=[instance])


def test_both_sides_decide_about_a_database_and_established_connections_stay(
    lab: Lab, database: dict[str, Any]
) -> None:
    group = lab.group()
    instance = lab.run(probe(database), SecurityGroupIds=[group])
    lab.wait(instance)
    until_said(lab, instance, "new refused, old none")
    refused = segments(lab, instance, "connect tcp/5432")[0]
    assert (refused["service"], refused["error"]) == ("ec2", "SecurityGroup")
    assert f"no ingress rule of {database['group']}" in refused["notes"]["denied"]
    assert refused["notes"]["allow_with"].endswith(
        f"-ingress --group-id {database['group']} --protocol tcp --port 5432 --source-group {group}"
    )
    lab.ec2.authorize_security_group_ingress(GroupId=database["group"], IpPermissions=members(group))
    until_said(lab, instance, "new connected, old alive")
    lab.ec2.revoke_security_group_ingress(GroupId=database["group"], IpPermissions=members(group))
    until_said(lab, instance, "new refused, old alive")
    lab.ec2.authorize_security_group_ingress(GroupId=database["group"], IpPermissions=members(group))
    until_said(lab, instance, "new connected, old alive")
    every = lab.ec2.describe_security_groups(GroupIds=[group])["SecurityGroups"][0]["IpPermissionsEgress"]
    lab.ec2.revoke_security_group_egress(GroupId=group, IpPermissions=every)
    until_said(lab, instance, "new refused, old alive")
    lab.ec2.authorize_security_group_egress(GroupId=group, IpPermissions=members(database["group"]))
    until_said(lab, instance, "new connected, old alive")
    lab.ec2.terminate_instances(InstanceIds=[instance])
    lab.wait(instance, "terminated")
    lab.ec2.revoke_security_group_ingress(GroupId=database["group"], IpPermissions=members(group))


def test_without_egress_rules_nothing_is_reached(lab: Lab, database: dict[str, Any]) -> None:
    """From the first packet on: neither the database, which would let it in, nor the internet."""
    group = lab.group()
    every = lab.ec2.describe_security_groups(GroupIds=[group])["SecurityGroups"][0]["IpPermissionsEgress"]
    lab.ec2.revoke_security_group_egress(GroupId=group, IpPermissions=every)
    lab.ec2.authorize_security_group_ingress(GroupId=database["group"], IpPermissions=members(group))
    bundle = "https://truststore.pki.rds.amazonaws.com/global/global-bundle.pem"
    script = f"""#!/bin/bash
curl -s -m 2 {bundle} >/dev/null; echo "bundle $?"
curl -s -m 2 -o /dev/null -w "metadata %{{http_code}}\\n" http://169.254.169.254/latest/meta-data/
curl -s -m 9 -o /dev/null $AWS_ENDPOINT_URL || echo "services refused"
until curl -s -m 9 -o /dev/null $AWS_ENDPOINT_URL; do :; done
echo services reached
"""
    instance = lab.run(script + probe(database).partition("\n")[2], SecurityGroupIds=[group])
    lab.wait(instance)
    lab.until_console(instance, "services refused")
    (refused, *_) = segments(lab, instance, "connect tcp/443")
    assert refused["notes"]["allow_with"].endswith(f"{group} --protocol tcp --port 443 --cidr 0.0.0.0/0")
    lab.ec2.authorize_security_group_egress(
        GroupId=group,
        IpPermissions=[{"IpProtocol": "tcp", "FromPort": 443, "ToPort": 443, "IpRanges": [{"CidrIp": "0.0.0.0/0"}]}],
    )
    lab.until_console(instance, "services reached")
    until_said(lab, instance, "new refused, old none")
    lines = lab.console(instance).splitlines()
    assert "bundle 28" in lines and "metadata 401" in lines, lines  # curl's 28: it timed out
    last = segments(lab, instance, "connect tcp/5432")[-1]
    assert f"no egress rule of {group}" in last["notes"]["denied"]
    assert last["notes"]["allow_with"].endswith(
        f"-egress --group-id {group} --protocol tcp --port 5432 --source-group {database['group']}"
    )
    lab.ec2.terminate_instances(InstanceIds=[instance])
    lab.wait(instance, "terminated")
    lab.ec2.revoke_security_group_ingress(GroupId=database["group"], IpPermissions=members(group))
