# SPDX-License-Identifier: Apache-2.0
"""DB instances through boto3 and psycopg: a real server behind a real endpoint."""

from __future__ import annotations

import json
import os
import signal
import time
from typing import Any

import psycopg
import pytest
from botocore.exceptions import ClientError

MASTER = "boss"
PASSWORD = "correct-horse-1"


def wait(rds: Any, name: str, status: str, within_s: float = 60) -> dict[str, Any]:
    ends = time.monotonic() + within_s
    while True:
        try:
            found = rds.describe_db_instances(DBInstanceIdentifier=name)["DBInstances"][0]
        except rds.exceptions.DBInstanceNotFoundFault:
            if status == "deleted":
                return {}
            raise
        if found["DBInstanceStatus"] == status:
            return found
        assert time.monotonic() < ends, (found["DBInstanceStatus"], messages(rds, name))
        time.sleep(0.05)


def messages(rds: Any, name: str) -> list[str]:
    return [e["Message"] for e in rds.describe_events(SourceType="db-instance", SourceIdentifier=name)["Events"]]


def create(rds: Any, name: str, **more: Any) -> dict[str, Any]:
    request: dict[str, Any] = {
        "DBInstanceIdentifier": name, "DBInstanceClass": "db.t4g.micro", "Engine": "postgres", "AllocatedStorage": 20,
        "MasterUsername": MASTER, "MasterUserPassword": PASSWORD, "DBName": "app", "PubliclyAccessible": True,
        "EnableIAMDatabaseAuthentication": True, "BackupRetentionPeriod": 0,
    }  # fmt: skip
    rds.create_db_instance(**{**request, **more})
    return wait(rds, name, "available")


@pytest.fixture(scope="module")
def rds(chamber: Any) -> Any:
    return chamber.client("rds")


@pytest.fixture(scope="module")
def database(rds: Any) -> Any:
    return create(rds, "main-db", Tags=[{"Key": "team", "Value": "blue"}])


@pytest.fixture(scope="module")
def ca(chamber: Any) -> str:
    return str(chamber.state / "ca" / "ca.pem")


def connect(database: dict[str, Any], ca: str, user: str = MASTER, password: str = PASSWORD, **more: Any) -> Any:
    endpoint = database["Endpoint"]
    options = {
        "host": endpoint["Address"], "port": endpoint["Port"], "dbname": "app", "sslmode": "verify-full",
        "sslrootcert": ca, "user": user, "password": password, "connect_timeout": 20, "autocommit": True,
    }  # fmt: skip
    return psycopg.connect(**{**options, **more})


@pytest.fixture(scope="module")
def app_role(chamber: Any, database: dict[str, Any], ca: str) -> Any:
    """A role that may connect as database user `app`, and its credentials."""
    iam, sts = chamber.client("iam"), chamber.client("sts")
    account = sts.get_caller_identity()["Account"]
    trust = {"Version": "2012-10-17", "Statement": [
        {"Effect": "Allow", "Principal": {"AWS": account}, "Action": "sts:AssumeRole"}]}  # fmt: skip
    role = iam.create_role(RoleName="db-app", AssumeRolePolicyDocument=json.dumps(trust))["Role"]
    arn = f"arn:aws:rds-db:us-east-1:{account}:dbuser:{database['DbiResourceId']}/app"
    policy = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "rds-db:connect", "Resource": arn}]}
    iam.put_role_policy(RoleName="db-app", PolicyName="connect", PolicyDocument=json.dumps(policy))
    user = iam.create_user(UserName="rds-deployer")["User"]
    iam.put_user_policy(
        UserName=user["UserName"], PolicyName="assume",
        PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [
            {"Effect": "Allow", "Action": "sts:AssumeRole", "Resource": role["Arn"]}]}),
    )  # fmt: skip
    key = iam.create_access_key(UserName="rds-deployer")["AccessKey"]
    deployer = chamber.client("sts", f"{key['AccessKeyId']}:{key['SecretAccessKey']}")
    got = deployer.assume_role(RoleArn=role["Arn"], RoleSessionName="one")["Credentials"]
    with connect(database, ca) as boss:
        for name in ("app", "other"):
            boss.execute(f"CREATE ROLE {name} LOGIN")
            boss.execute(f"GRANT rds_iam TO {name}")
    return got


def token(chamber: Any, got: dict[str, Any], database: dict[str, Any], user: str = "app", **changed: str) -> str:
    got = {**got, **changed}
    session = chamber.session(f"{got['AccessKeyId']}:{got['SecretAccessKey']}", got["SessionToken"])
    endpoint = database["Endpoint"]
    host = changed.get("host", endpoint["Address"])
    return session.client("rds").generate_db_auth_token(host, endpoint["Port"], user, "us-east-1")


def test_described_as_asked(rds: Any, database: dict[str, Any]) -> None:
    assert database["DbiResourceId"].startswith("db-") and len(database["DbiResourceId"]) == 29
    assert database["Engine"] == "postgres" and database["TagList"] == [{"Key": "team", "Value": "blue"}]
    assert rds.get_waiter("db_instance_available").wait(DBInstanceIdentifier="main-db") is None
    assert any("created" in one for one in messages(rds, "main-db"))


def test_master_is_no_superuser_but_may_much(database: dict[str, Any], ca: str) -> None:
    with connect(database, ca) as boss:
        assert boss.execute(
            "SELECT rolsuper, pg_has_role('rds_superuser', 'USAGE') FROM pg_roles WHERE rolname = %s", (MASTER,)
        ).fetchone() == (False, True)
        boss.execute("CREATE TABLE things (id int primary key, name text)")
        boss.execute("INSERT INTO things VALUES (1, 'one')")
        boss.execute("CREATE DATABASE second")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            boss.execute("COPY things TO PROGRAM 'id'")


@pytest.mark.parametrize(
    "more", [{"password": "wrong"}, {"user": "nobody"}, {"user": "rdsadmin"}, {"sslmode": "disable"}]
)
def test_password_users_are_checked(database: dict[str, Any], ca: str, more: dict[str, str]) -> None:
    with pytest.raises(psycopg.OperationalError):
        connect(database, ca, **more)


def test_direct_tls(database: dict[str, Any], ca: str) -> None:
    with connect(database, ca, sslnegotiation="direct") as boss:
        assert boss.execute("SELECT 1").fetchone() == (1,)


def test_iam_token_lets_in(chamber: Any, database: dict[str, Any], ca: str, app_role: Any) -> None:
    with connect(database, ca, "app", token(chamber, app_role, database)) as app:
        assert app.execute("SELECT current_user, length(repeat('x', 3000000))").fetchone() == ("app", 3000000)


@pytest.mark.parametrize(
    "case", ["no tls", "wrong secret", "other user", "not permitted", "other host", "plain password", "tampered"]
)
def test_iam_refusals(chamber: Any, rds: Any, database: dict[str, Any], ca: str, app_role: Any, case: str) -> None:
    good = token(chamber, app_role, database)
    arguments: dict[str, dict[str, Any]] = {
        "no tls": {"password": good, "sslmode": "disable"},
        "wrong secret": {"password": token(chamber, app_role, database, SecretAccessKey="x" * 40)},
        "other user": {"password": good, "user": "other"},
        "not permitted": {"password": token(chamber, app_role, database, "other"), "user": "other"},
        "other host": {"password": token(chamber, app_role, database, host="localhost")},
        "plain password": {"password": "hello"},
        "tampered": {"password": good.replace("X-Amz-Expires=900", "X-Amz-Expires=899")},
    }
    before = len(messages(rds, "main-db"))
    with pytest.raises(psycopg.OperationalError, match=r"PAM authentication failed|no pg_hba.conf entry"):
        connect(database, ca, **{"user": "app", **arguments[case]})
    ends = time.monotonic() + 10
    while len(messages(rds, "main-db")) <= before:
        assert time.monotonic() < ends
    assert "refused" in messages(rds, "main-db")[-1]


def test_iam_can_be_switched_off(chamber: Any, rds: Any, database: dict[str, Any], ca: str, app_role: Any) -> None:
    rds.modify_db_instance(DBInstanceIdentifier="main-db", EnableIAMDatabaseAuthentication=False, ApplyImmediately=True)
    try:
        with pytest.raises(psycopg.OperationalError, match="PAM authentication failed"):
            connect(database, ca, "app", token(chamber, app_role, database))
    finally:
        rds.modify_db_instance(
            DBInstanceIdentifier="main-db", EnableIAMDatabaseAuthentication=True, ApplyImmediately=True
        )


def test_administrators_may_use_iam_too(chamber: Any, database: dict[str, Any], ca: str, app_role: Any) -> None:
    """PostgreSQL itself counts ADMIN OPTION on rds_iam as membership; RDS does not."""
    root = {"AccessKeyId": "AKIAROOTROOTROOTROOT", "SecretAccessKey": "test-root-secret", "SessionToken": None}
    with connect(database, ca) as boss:
        boss.execute("CREATE ROLE ops LOGIN PASSWORD 'ops-password'")
        boss.execute("GRANT rds_superuser TO ops")
        with connect(database, ca, "ops", "ops-password") as ops:
            assert ops.execute("SELECT current_user").fetchone() == ("ops",)
        boss.execute("GRANT rds_iam TO ops")
        with connect(database, ca, "ops", token(chamber, root, database, "ops")) as ops:
            assert ops.execute("SELECT current_user").fetchone() == ("ops",)
        with pytest.raises(psycopg.OperationalError, match="PAM authentication failed"):
            connect(database, ca, "ops", "ops-password")
        boss.execute("REVOKE rds_iam FROM ops")
        with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
            connect(database, ca, "ops", "wrong")
        with connect(database, ca, "ops", "ops-password") as ops:
            assert ops.execute("SELECT current_user").fetchone() == ("ops",)


def test_creators_of_iam_roles_keep_their_password(database: dict[str, Any], ca: str) -> None:
    with connect(database, ca) as boss:
        boss.execute("CREATE ROLE maker LOGIN CREATEROLE PASSWORD 'maker-password'")
        with connect(database, ca, "maker", "maker-password") as maker:
            maker.execute("CREATE ROLE made LOGIN")
        boss.execute("GRANT rds_iam TO made")
    with connect(database, ca, "maker", "maker-password") as maker:
        assert maker.execute("SELECT current_user").fetchone() == ("maker",)
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        connect(database, ca, "maker", "wrong")


def test_cancel_and_copy(database: dict[str, Any], ca: str) -> None:
    with connect(database, ca) as boss:
        with boss.cursor().copy("COPY (SELECT repeat('x', 1000) FROM generate_series(1, 20000)) TO STDOUT") as copy:
            assert sum(len(part) for part in copy) == 20000 * 1001
        boss.execute("CREATE TEMP TABLE t (x text)")
        with boss.cursor().copy("COPY t FROM STDIN") as copy:
            for _ in range(200):
                copy.write((b"y" * 999 + b"\n") * 100)
        assert boss.execute("SELECT count(*) FROM t").fetchone() == (20000,)
        boss.execute("SET statement_timeout = '60s'")
        cancelled = psycopg.errors.QueryCanceled
        import threading

        threading.Timer(0.3, boss.cancel).start()
        with pytest.raises(cancelled, match="user request"):
            boss.execute("SELECT pg_sleep(50)")


def test_statements_join_tracks(chamber: Any, database: dict[str, Any], ca: str, app_role: Any) -> None:
    import sqlite3

    trace = "6553a0c1" + os.urandom(12).hex()
    with connect(database, ca, "app", token(chamber, app_role, database)) as app:
        app.execute(f"SELECT %s::int + 40 /*traceparent='00-{trace}-00f067aa0ba902b7-01'*/", (2,))
        with pytest.raises(psycopg.errors.UndefinedTable):
            app.execute(f"SELECT * FROM nowhere /*traceparent='00-{trace}-00f067aa0ba902b7-01'*/")
    track = f"1-{trace[:8]}-{trace[8:]}"
    ends = time.monotonic() + 10
    rows: list[Any] = []
    while len(rows) < 2:
        assert time.monotonic() < ends
        tracks = sqlite3.connect(chamber.state / "tracks.db")
        rows = [
            json.loads(r[0])
            for r in tracks.execute("SELECT body FROM segments WHERE track_id = ? ORDER BY started", (track,))
        ]
        tracks.close()
    first, second = rows
    assert (
        first["name"] == "SELECT $1::int + ?" and first["parent_id"] == "00f067aa0ba902b7" and first["service"] == "rds"
    )
    assert first["status"] == 200 and "db-app" in first["principal"] and first["ended"] >= first["started"]
    assert first["notes"]["result"] == "SELECT 1" and first["decisions"]
    assert second["error"] == "42P01"


def test_security_groups_filter(chamber: Any, rds: Any, ca: str) -> None:
    ec2 = chamber.client("ec2")
    group = ec2.create_security_group(GroupName="db", Description="db")["GroupId"]
    private = create(rds, "private-db", PubliclyAccessible=False, VpcSecurityGroupIds=[group])
    with pytest.raises(psycopg.OperationalError):
        connect(private, ca)
    rule = {"IpProtocol": "tcp", "FromPort": 5432, "ToPort": 5432, "IpRanges": [{"CidrIp": "127.0.0.0/8"}]}
    ec2.authorize_security_group_ingress(GroupId=group, IpPermissions=[rule])
    with connect(private, ca) as boss:
        assert boss.execute("SELECT 1").fetchone() == (1,)
    rds.delete_db_instance(DBInstanceIdentifier="private-db", SkipFinalSnapshot=True)
    rds.get_waiter("db_instance_deleted").wait(DBInstanceIdentifier="private-db", WaiterConfig={"Delay": 1})


def test_life_cycle(chamber: Any, rds: Any, ca: str) -> None:
    database = create(rds, "lives", DeletionProtection=True)
    with connect(database, ca) as boss:
        boss.execute("CREATE TABLE kept (x int)")
    rds.reboot_db_instance(DBInstanceIdentifier="lives")
    wait(rds, "lives", "available")
    rds.stop_db_instance(DBInstanceIdentifier="lives")
    wait(rds, "lives", "stopped")
    with pytest.raises(psycopg.OperationalError):
        connect(database, ca)
    with pytest.raises(ClientError, match="InvalidDBInstanceState"):
        rds.stop_db_instance(DBInstanceIdentifier="lives")
    rds.start_db_instance(DBInstanceIdentifier="lives")
    wait(rds, "lives", "available")
    rds.modify_db_instance(
        DBInstanceIdentifier="lives", MasterUserPassword="another-pass", DBInstanceClass="db.t3.small"
    )
    pending = rds.describe_db_instances(DBInstanceIdentifier="lives")["DBInstances"][0]["PendingModifiedValues"]
    assert pending == {"DBInstanceClass": "db.t3.small"}
    rds.modify_db_instance(DBInstanceIdentifier="lives", DBInstanceClass="db.t3.medium", ApplyImmediately=True)
    found = wait(rds, "lives", "available")
    assert found["DBInstanceClass"] == "db.t3.medium" and not found["PendingModifiedValues"]
    with connect(database, ca, password="another-pass") as boss:
        assert boss.execute("SELECT count(*) FROM kept").fetchone() == (0,)
    with pytest.raises(ClientError, match="protected"):
        rds.delete_db_instance(DBInstanceIdentifier="lives", SkipFinalSnapshot=True)
    rds.modify_db_instance(DBInstanceIdentifier="lives", DeletionProtection=False)
    with pytest.raises(ClientError, match="FinalDBSnapshotIdentifier"):
        rds.delete_db_instance(DBInstanceIdentifier="lives")
    rds.delete_db_instance(DBInstanceIdentifier="lives", SkipFinalSnapshot=True)
    wait(rds, "lives", "deleted")
    assert not (chamber.state / "rds" / database["DbiResourceId"]).exists()


@pytest.mark.parametrize(
    ("more", "error"),
    [
        ({"Engine": "mysql"}, "InvalidParameterValue"),
        ({"MultiAZ": True}, "MultiAZ"),
        ({"StorageEncrypted": True}, "StorageEncrypted"),
        ({"BackupRetentionPeriod": 7}, "BackupRetentionPeriod"),
        ({"MasterUsername": "rdsadmin"}, "reserved"),
        ({"MasterUserPassword": "short"}, "shorter than 8"),
        ({"AllocatedStorage": 1}, "storage"),
        ({"DBInstanceClass": "db.huge"}, "Invalid DB Instance class"),
        ({"EngineVersion": "9.6"}, "Cannot find version"),
        ({"KmsKeyId": "x"}, "KmsKeyId"),
        ({"VpcSecurityGroupIds": ["sg-0123456789abcdef0"]}, "InvalidParameterValue"),
        ({"DBInstanceIdentifier": "main-db"}, "DBInstanceAlreadyExists"),
    ],
)
def test_refused_by_name(rds: Any, database: dict[str, Any], more: dict[str, Any], error: str) -> None:
    with pytest.raises(ClientError, match=error):
        create(rds, **{"name": more.pop("DBInstanceIdentifier", "never"), **more})


def test_crash_is_seen_and_recovered(chamber: Any, rds: Any, database: dict[str, Any], ca: str) -> None:
    with connect(database, ca) as boss:
        boss.execute("CREATE TABLE survives AS SELECT generate_series(1, 1000) AS x")
    pid = int((chamber.state / "rds" / database["DbiResourceId"] / "data" / "postmaster.pid").read_text().split()[0])
    os.kill(pid, signal.SIGKILL)
    ends = time.monotonic() + 60
    while not any("restarted" in one for one in messages(rds, "main-db")):
        assert time.monotonic() < ends, messages(rds, "main-db")
        time.sleep(0.05)
    wait(rds, "main-db", "available")
    with connect(database, ca) as boss:
        assert boss.execute("SELECT count(*) FROM survives").fetchone() == (1000,)


def test_server_outlives_the_chamber(own_chamber: Any) -> None:
    chamber = own_chamber
    database, ca = create(chamber.client("rds"), "main-db"), str(chamber.state / "ca" / "ca.pem")
    pid_file = chamber.state / "rds" / database["DbiResourceId"] / "data" / "postmaster.pid"
    pid = pid_file.read_text().split()[0]
    chamber.kill()
    assert pid_file.read_text().split()[0] == pid
    os.kill(int(pid), 0)
    chamber.start()
    wait(chamber.client("rds"), "main-db", "available")
    ends = time.monotonic() + 30
    while True:
        try:
            with connect(database, ca) as boss:
                assert boss.execute("SELECT 1").fetchone() == (1,)
            break
        except psycopg.OperationalError:
            assert time.monotonic() < ends
    assert pid_file.read_text().split()[0] == pid


def test_owner_has_psql(chamber: Any, database: dict[str, Any]) -> None:
    import subprocess

    from cloudchamber.services.rds.owner import psql

    argv, more = psql(chamber.state, database["DbiResourceId"], MASTER, "app")
    done = subprocess.run(
        [*argv, "-Atc", "SELECT current_user, session_user"],
        env={**os.environ, **more}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.strip() == f"{MASTER}|rdsadmin"


TEMPLATE = """
Resources:
  Database:
    Type: AWS::RDS::DBInstance
    DeletionPolicy: Delete
    Properties:
      Engine: postgres
      EngineVersion: '17'
      DBInstanceClass: db.t4g.micro
      AllocatedStorage: '20'
      DBName: app
      MasterUsername: boss
      ManageMasterUserPassword: true
      EnableIAMDatabaseAuthentication: true
      BackupRetentionPeriod: 0
      PubliclyAccessible: false
      DeletionProtection: false
      Tags: [{Key: a, Value: b}]
  Secret:
    Type: AWS::SecretsManager::Secret
    Properties:
      GenerateSecretString: {SecretStringTemplate: '{"user": "x"}', GenerateStringKey: password, PasswordLength: 20}
Outputs:
  Address: {Value: !GetAtt Database.Endpoint.Address}
  Port: {Value: !GetAtt Database.Endpoint.Port}
  Resource: {Value: !GetAtt Database.DbiResourceId}
  Master: {Value: !GetAtt Database.MasterUserSecret.SecretArn}
  Secret: {Value: !Ref Secret}
"""


def test_stack_of_a_database(chamber: Any, rds: Any) -> None:
    cfn, sm = chamber.client("cloudformation"), chamber.client("secretsmanager")
    cfn.create_stack(StackName="db-stack", TemplateBody=TEMPLATE)
    cfn.get_waiter("stack_create_complete").wait(StackName="db-stack", WaiterConfig={"Delay": 1, "MaxAttempts": 60})
    stack = cfn.describe_stacks(StackName="db-stack")["Stacks"][0]
    outputs = {one["OutputKey"]: one["OutputValue"] for one in stack["Outputs"]}
    assert (
        outputs["Address"].startswith("127.0.") and outputs["Port"] == "5432" and outputs["Resource"].startswith("db-")
    )
    assert json.loads(sm.get_secret_value(SecretId=outputs["Master"])["SecretString"])["username"] == "boss"
    assert len(json.loads(sm.get_secret_value(SecretId=outputs["Secret"])["SecretString"])["password"]) == 20
    changed = TEMPLATE.replace("db.t4g.micro", "db.t4g.small")
    cfn.update_stack(StackName="db-stack", TemplateBody=changed)
    cfn.get_waiter("stack_update_complete").wait(StackName="db-stack", WaiterConfig={"Delay": 1, "MaxAttempts": 60})
    name = cfn.describe_stack_resource(StackName="db-stack", LogicalResourceId="Database")
    name = name["StackResourceDetail"]["PhysicalResourceId"]
    assert wait(rds, name, "available")["DBInstanceClass"] == "db.t4g.small"
    cfn.delete_stack(StackName="db-stack")
    cfn.get_waiter("stack_delete_complete").wait(StackName="db-stack", WaiterConfig={"Delay": 1, "MaxAttempts": 60})
    wait(rds, name, "deleted")
