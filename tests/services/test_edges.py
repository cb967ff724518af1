# SPDX-License-Identifier: Apache-2.0
"""Every edge between two services is denied when it should be, and allowed when it was granted.

Edges that are tested beside their service: PassRole in RunInstances (ec2/test_instances.py) and CreateFunction
(lambda_/test_functions.py), the service role of a stack (cloudformation/test_seed_stack.py), rds-db:connect
(rds/test_instances.py), what a function's role may log (lambda_/test_runs.py).
"""

from __future__ import annotations

import json
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.services.edges import (
    ACCOUNT,
    REGION,
    Person,
    allow,
    deny,
    document,
    equals,
    function,
    function_arn,
    invoke,
    may,
    named,
    profile,
    refused,
    role,
    role_arn,
    until,
    zipped,
)

LAMBDA = {"Service": "lambda.amazonaws.com"}
EC2 = {"Service": "ec2.amazonaws.com"}
ONE = "def handler(event, context):\n    return 1\n"
LIST = (
    "import boto3\n"
    "def handler(event, context):\n"
    "    try: boto3.client('s3').list_buckets()\n"
    "    except Exception as error: return error.response['Error']['Message']\n"
    "    return 'listed'\n"
)


def passing(service: str, **more: str) -> dict[str, Any]:
    return allow("iam:PassRole", when=equals(iam__PassedToService=service, **more))


def dry(call: Any, **request: Any) -> None:
    """What EC2 answers when a caller may do something and only wants to know."""
    with pytest.raises(ClientError) as caught:
        call(DryRun=True, **request)
    assert caught.value.response["Error"]["Code"] == "DryRunOperation", caught.value


@pytest.fixture
def person(chamber: Any) -> Person:
    return Person(chamber)


# PassRole


def test_an_instance_gets_only_a_role_that_may_be_passed_to_ec2(chamber: Any, person: Person) -> None:
    name = profile(chamber, role(chamber, EC2))
    ec2 = person.client("ec2")
    image = chamber.client("ec2").describe_images(Owners=["amazon"])["Images"][0]["ImageId"]
    wanted = {"ImageId": image, "InstanceType": "t3.micro", "MinCount": 1, "MaxCount": 1}
    wanted["IamInstanceProfile"] = {"Name": name}
    person.may(allow("ec2:*"), passing("lambda.amazonaws.com"))
    assert f"iam:PassRole on resource: {role_arn(name)}" in refused(ec2.run_instances, DryRun=True, **wanted)
    person.may(allow("ec2:*"), passing("ec2.amazonaws.com"))
    dry(ec2.run_instances, **wanted)
    for region, call in (("eu-west-1", refused), (REGION, None)):
        where = {"StringLike": {"iam:AssociatedResourceArn": f"arn:aws:ec2:{region}:{ACCOUNT}:instance/*"}}
        person.may(allow("ec2:*"), allow("iam:PassRole", when=where))
        if call is None:
            dry(ec2.run_instances, **wanted)
        else:
            assert "iam:PassRole" in call(ec2.run_instances, DryRun=True, **wanted)


def test_an_instance_that_runs_gets_only_a_role_that_may_be_passed(chamber: Any, person: Person) -> None:
    name = profile(chamber, role(chamber, EC2))
    wanted = {"InstanceId": "i-0123456789abcdef0", "IamInstanceProfile": {"Name": name}}
    associate = person.client("ec2").associate_iam_instance_profile
    person.may(allow("ec2:*"))
    assert "iam:PassRole" in refused(associate, **wanted)
    other = f"arn:aws:iam::{ACCOUNT}:instance-profile/other"
    person.may(allow("ec2:*", when={"ArnEquals": {"ec2:NewInstanceProfile": other}}), passing("ec2.amazonaws.com"))
    assert "ec2:AssociateIamInstanceProfile" in refused(associate, **wanted)
    person.may(allow("ec2:*"), passing("ec2.amazonaws.com"))
    with pytest.raises(ClientError, match=r"InvalidInstanceID\.NotFound"):
        associate(**wanted)


def test_a_role_comes_into_an_instance_profile_only_by_who_may_pass_it(chamber: Any, person: Person) -> None:
    name = role(chamber, EC2)
    chamber.client("iam").create_instance_profile(InstanceProfileName=name)
    add = person.client("iam").add_role_to_instance_profile
    person.may(allow("iam:AddRoleToInstanceProfile"))
    assert "iam:PassRole" in refused(add, InstanceProfileName=name, RoleName=name)
    person.may(allow("iam:AddRoleToInstanceProfile", "iam:PassRole"))
    add(InstanceProfileName=name, RoleName=name)


def test_a_function_gets_only_a_role_that_may_be_passed_to_it(chamber: Any, person: Person) -> None:
    first, second = role(chamber, LAMBDA), role(chamber, LAMBDA)
    name = named("edge")
    client = person.client("lambda")
    wanted = {
        "FunctionName": name, "Runtime": "python3.12", "Handler": "index.handler", "Role": role_arn(first),
        "Code": {"ZipFile": zipped(ONE)},
    }  # fmt: skip
    for arn in (function_arn("other"), function_arn(name)):
        where = {"ArnEquals": {"iam:AssociatedResourceArn": arn}}
        person.may(allow("lambda:*"), allow("iam:PassRole", on=role_arn(first), when=where))
        if arn.endswith("other"):
            assert "iam:PassRole" in refused(client.create_function, **wanted)
        else:
            client.create_function(**wanted)
    until(lambda: client.get_function_configuration(FunctionName=name)["State"] == "Active")
    change = client.update_function_configuration
    assert role_arn(second) in refused(change, FunctionName=name, Role=role_arn(second))
    assert client.get_function_configuration(FunctionName=name)["Role"] == role_arn(first)
    change(FunctionName=name, Description="no role in this request")


def test_a_database_gets_no_role_that_may_not_be_passed(person: Person) -> None:
    create = person.client("rds").create_db_instance
    wanted = {
        "DBInstanceIdentifier": named("edge"), "DBInstanceClass": "db.t3.micro", "Engine": "postgres",
        "AllocatedStorage": 20, "MasterUsername": "boss", "MasterUserPassword": "long-enough-1",
        "MonitoringInterval": 60, "MonitoringRoleArn": role_arn("monitoring"),
    }  # fmt: skip
    person.may(allow("rds:*"))
    assert f"iam:PassRole on resource: {role_arn('monitoring')}" in refused(create, **wanted)
    person.may(allow("rds:*"), passing("monitoring.rds.amazonaws.com"))
    with pytest.raises(ClientError, match=r"MonitoringInterval 60 is not available|MonitoringRoleArn is not available"):
        create(**wanted)


def test_a_database_keeps_its_password_in_a_secret_only_for_who_may_make_secrets(person: Person) -> None:
    create = person.client("rds").create_db_instance
    wanted = {
        "DBInstanceIdentifier": named("edge"), "DBInstanceClass": "db.t3.micro", "Engine": "postgres",
        "AllocatedStorage": 20, "MasterUsername": "boss", "ManageMasterUserPassword": True,
    }  # fmt: skip
    person.may(allow("rds:*", "ec2:*"))
    assert "secretsmanager:CreateSecret" in refused(create, **wanted)


def test_a_database_of_another_class_or_in_another_group_is_refused(person: Person) -> None:
    create = person.client("rds").create_db_instance
    wanted = {
        "DBInstanceIdentifier": named("edge"), "DBInstanceClass": "db.r5.large", "Engine": "postgres",
        "AllocatedStorage": 20, "MasterUsername": "boss", "MasterUserPassword": "long-enough-1",
    }  # fmt: skip
    person.may(allow("rds:*", when=equals(rds__DatabaseClass="db.t3.micro")))
    assert "rds:CreateDBInstance" in refused(create, **wanted)
    person.may(allow("rds:*", on=f"arn:aws:rds:{REGION}:{ACCOUNT}:db:*"))
    assert ":pg:default.postgres" in refused(create, **wanted)


def test_a_stack_gets_only_a_role_that_may_be_passed_to_cloudformation(chamber: Any, person: Person) -> None:
    arn = role_arn(role(chamber, {"Service": "cloudformation.amazonaws.com"}))
    create = person.client("cloudformation").create_stack
    wanted = {"StackName": named("edge"), "TemplateBody": "Resources: {G: {Type: AWS::Logs::LogGroup}}", "RoleARN": arn}
    person.may(allow("cloudformation:*"), passing("lambda.amazonaws.com"))
    assert f"iam:PassRole on resource: {arn}" in refused(create, **wanted)
    person.may(allow("cloudformation:*", when=equals(cloudformation__RoleArn="other")), allow("iam:PassRole"))
    assert "cloudformation:CreateStack" in refused(create, **wanted)
    person.may(allow("cloudformation:*"), passing("cloudformation.amazonaws.com"))
    create(**wanted)


# Trust


def test_a_role_that_does_not_trust_lambda_runs_no_function(chamber: Any) -> None:
    client = chamber.client("lambda")
    arn = role_arn(role(chamber, EC2))
    with pytest.raises(client.exceptions.InvalidParameterValueException, match="cannot be assumed by Lambda"):
        client.create_function(
            FunctionName=named("edge"), Runtime="python3.12", Handler="index.handler", Role=arn,
            Code={"ZipFile": zipped(ONE)},
        )  # fmt: skip


def test_a_trust_policy_may_name_the_function(chamber: Any) -> None:
    """`aws:SourceArn` in the trust policy of an execution role: the confused deputy of Lambda."""
    iam, client = chamber.client("iam"), chamber.client("lambda")
    name = role(chamber, LAMBDA)
    for source, works in ((function_arn("another"), False), (function_arn(name), True)):
        statement = {"Effect": "Allow", "Principal": LAMBDA, "Action": "sts:AssumeRole"}
        trust = document({**statement, "Condition": {"ArnEquals": {"aws:SourceArn": source}}})
        iam.update_assume_role_policy(RoleName=name, PolicyDocument=trust)
        wanted = {
            "FunctionName": name, "Runtime": "python3.12", "Handler": "index.handler", "Role": role_arn(name),
            "Code": {"ZipFile": zipped(ONE)},
        }  # fmt: skip
        if works:
            client.create_function(**wanted)
        else:
            with pytest.raises(client.exceptions.InvalidParameterValueException, match="cannot be assumed by Lambda"):
                client.create_function(**wanted)


# Notifications: S3 -> Lambda


@pytest.fixture
def bucket(chamber: Any) -> Any:
    s3, name = chamber.client("s3"), named("edge")
    s3.create_bucket(Bucket=name)
    yield name
    for found in s3.list_objects_v2(Bucket=name).get("Contents", []):
        s3.delete_object(Bucket=name, Key=found["Key"])
    s3.delete_bucket(Bucket=name)


def watching(name: str) -> dict[str, Any]:
    wanted = {"LambdaFunctionArn": function_arn(name), "Events": ["s3:ObjectCreated:*"]}
    return {"LambdaFunctionConfigurations": [wanted]}


def test_the_permission_must_be_for_this_bucket_and_this_account(chamber: Any, bucket: str) -> None:
    name = function(chamber, ONE, role(chamber, LAMBDA))
    client, put = chamber.client("lambda"), chamber.client("s3").put_bucket_notification_configuration

    def permit(statement: str, **source: str) -> None:
        client.add_permission(
            FunctionName=name,
            StatementId=statement,
            Action="lambda:InvokeFunction",
            Principal="s3.amazonaws.com",
            **source,
        )

    permit("otherbucket", SourceArn="arn:aws:s3:::another-bucket")
    permit("otheraccount", SourceArn=f"arn:aws:s3:::{bucket}", SourceAccount="111111111111")
    permit("otherprefix", SourceArn=f"arn:aws:s3:::{bucket}-2")
    with pytest.raises(ClientError, match="Unable to validate the following destination configurations"):
        put(Bucket=bucket, NotificationConfiguration=watching(name))
    permit("this", SourceArn=f"arn:aws:s3:::{bucket}", SourceAccount=ACCOUNT)
    put(Bucket=bucket, NotificationConfiguration=watching(name))


def steps(chamber: Any, name: str) -> list[dict[str, Any]]:
    """Invocations of a function, as the tracks have them."""
    told = json.loads(chamber.cli("tracks", "--all", "--limit", "200", "--json").stdout)
    found: list[dict[str, Any]] = []

    def walk(value: Any) -> None:
        if isinstance(value, dict):
            if value.get("service") == "lambda" and value.get("name") == "Invoke" and name in json.dumps(value):
                found.append(value)
            for one in value.values():
                walk(one)
        elif isinstance(value, list):
            for one in value:
                walk(one)

    walk(told)
    return found


def test_a_permission_that_was_removed_stops_deliveries(chamber: Any, bucket: str) -> None:
    """The write is done and answered; the delivery is denied, and the denial lies on the write's track."""
    name = function(chamber, ONE, role(chamber, LAMBDA))
    client, s3 = chamber.client("lambda"), chamber.client("s3")
    client.add_permission(
        FunctionName=name, StatementId="s3", Action="lambda:InvokeFunction", Principal="s3.amazonaws.com",
        SourceArn=f"arn:aws:s3:::{bucket}",
    )  # fmt: skip
    s3.put_bucket_notification_configuration(Bucket=bucket, NotificationConfiguration=watching(name))
    s3.put_object(Bucket=bucket, Key="one", Body=b"1")
    until(lambda: [step for step in steps(chamber, name) if not step.get("error")])
    client.remove_permission(FunctionName=name, StatementId="s3")
    s3.put_object(Bucket=bucket, Key="two", Body=b"2")
    (denied, *_) = until(lambda: [step for step in steps(chamber, name) if step.get("error")])
    assert denied["principal"] == "s3.amazonaws.com" and "AccessDenied" in denied["error"]
    s3.put_bucket_notification_configuration(Bucket=bucket, NotificationConfiguration={})


# CloudFormation acts for its caller


@pytest.mark.parametrize(
    "when",
    [
        {"ForAnyValue:StringEquals": {"aws:CalledVia": "cloudformation.amazonaws.com"}},
        {"StringEquals": {"aws:CalledViaFirst": "cloudformation.amazonaws.com"}},
        {"StringEquals": {"aws:CalledViaLast": "cloudformation.amazonaws.com"}},
        {"Bool": {"aws:ViaAWSService": "true"}},
    ],
)
def test_what_a_person_may_only_do_by_a_stack(chamber: Any, person: Person, when: dict[str, Any]) -> None:
    person.may(allow("cloudformation:*"), allow("logs:*", when=when))
    name = named("edge")
    assert "logs:CreateLogGroup" in refused(person.client("logs").create_log_group, logGroupName=name)
    cfn = person.client("cloudformation")
    body = json.dumps({"Resources": {"G": {"Type": "AWS::Logs::LogGroup", "Properties": {"LogGroupName": name}}}})
    cfn.create_stack(StackName=name, TemplateBody=body)
    stack = until(lambda: finished(cfn, name))
    assert stack == "CREATE_COMPLETE", cfn.describe_stack_events(StackName=name)["StackEvents"]
    assert "logs:DeleteLogGroup" in refused(person.client("logs").delete_log_group, logGroupName=name)
    cfn.delete_stack(StackName=name)


def finished(cfn: Any, name: str) -> str:
    status = cfn.describe_stacks(StackName=name)["Stacks"][0]["StackStatus"]
    return "" if status.endswith("IN_PROGRESS") else status


def test_what_a_person_may_not_do_by_a_stack(chamber: Any, person: Person) -> None:
    via = {"ForAnyValue:StringEquals": {"aws:CalledVia": "cloudformation.amazonaws.com"}}
    person.may(allow("cloudformation:*", "logs:*"), deny("logs:CreateLogGroup", when=via))
    name = named("edge")
    cfn = person.client("cloudformation")
    cfn.create_stack(StackName=name, TemplateBody="Resources: {G: {Type: AWS::Logs::LogGroup}}")
    assert until(lambda: finished(cfn, name)) == "ROLLBACK_COMPLETE"
    events = cfn.describe_stack_events(StackName=name)["StackEvents"]
    assert any("explicit deny" in event.get("ResourceStatusReason", "") for event in events)
    made = named("edge")
    person.client("logs").create_log_group(logGroupName=made)
    person.client("logs").delete_log_group(logGroupName=made)


def test_a_template_in_a_bucket_is_read_as_the_caller(chamber: Any, person: Person, bucket: str) -> None:
    chamber.client("s3").put_object(Bucket=bucket, Key="t.yaml", Body=b"Resources: {G: {Type: AWS::Logs::LogGroup}}")
    url = f"{chamber.endpoint}/{bucket}/t.yaml"
    cfn = person.client("cloudformation")
    person.may(allow("cloudformation:*"))
    with pytest.raises(ClientError, match=r"s3:GetObject|Access Denied|S3 error"):
        cfn.validate_template(TemplateURL=url)
    person.may(allow("cloudformation:*"), allow("s3:GetObject", on=f"arn:aws:s3:::{bucket}/t.yaml"))
    assert cfn.validate_template(TemplateURL=url)["Parameters"] == []
    person.may(allow("cloudformation:*", when=equals(cloudformation__TemplateUrl="elsewhere")), allow("s3:GetObject"))
    assert "cloudformation:ValidateTemplate" in refused(cfn.validate_template, TemplateURL=url)


# What a function's role may do at other services


def test_code_in_a_bucket_is_read_as_the_caller(chamber: Any, person: Person, bucket: str) -> None:
    chamber.client("s3").put_object(Bucket=bucket, Key="code.zip", Body=zipped(ONE))
    arn = role_arn(role(chamber, LAMBDA))
    wanted = {
        "FunctionName": named("edge"), "Runtime": "python3.12", "Handler": "index.handler", "Role": arn,
        "Code": {"S3Bucket": bucket, "S3Key": "code.zip"},
    }  # fmt: skip
    create = person.client("lambda").create_function
    person.may(allow("lambda:*", "iam:PassRole"))
    with pytest.raises(ClientError) as caught:
        create(**wanted)
    assert "s3:GetObject" in str(caught.value)
    person.may(allow("lambda:*", "iam:PassRole"), allow("s3:GetObject", on=f"arn:aws:s3:::{bucket}/*"))
    create(**wanted)


def test_a_secret_is_for_the_role_that_it_was_granted_to(chamber: Any) -> None:
    secret = chamber.client("secretsmanager").create_secret(Name=named("edge"), SecretString="hush")["ARN"]
    source = (
        "import boto3\n"
        "def handler(event, context):\n"
        "    try: return boto3.client('secretsmanager').get_secret_value(SecretId=event)['SecretString']\n"
        "    except Exception as error: return error.response['Error']['Message']\n"
    )
    name = role(chamber, LAMBDA)
    made = function(chamber, source, name)
    assert "secretsmanager:GetSecretValue" in invoke(chamber, made, secret)
    may(chamber, name, allow("secretsmanager:GetSecretValue", on=secret, when=equals(secretsmanager__VersionStage="X")))
    assert "secretsmanager:GetSecretValue" in invoke(chamber, made, secret)
    may(chamber, name, allow("secretsmanager:GetSecretValue", on=secret))
    assert invoke(chamber, made, secret) == "hush"


def test_a_bucket_policy_holds_for_functions_too(chamber: Any, bucket: str) -> None:
    source = (
        "import boto3\n"
        "def handler(event, context):\n"
        "    try: boto3.client('s3').put_object(Bucket=event, Key='k', Body=b'1')\n"
        "    except Exception as error: return error.response['Error']['Message']\n"
        "    return 'put'\n"
    )
    name = role(chamber, LAMBDA, allow("s3:PutObject"))
    made = function(chamber, source, name)
    assert invoke(chamber, made, bucket) == "put"
    only = {"ArnNotEquals": {"lambda:SourceFunctionArn": function_arn("another")}}
    policy = {**deny("s3:PutObject", on=f"arn:aws:s3:::{bucket}/*", when=only), "Principal": {"AWS": role_arn(name)}}
    s3 = chamber.client("s3")
    s3.put_bucket_policy(Bucket=bucket, Policy=document(policy))
    assert "with an explicit deny in a resource-based policy" in invoke(chamber, made, bucket)
    policy["Condition"] = {"ArnNotEquals": {"lambda:SourceFunctionArn": function_arn(made)}}
    s3.put_bucket_policy(Bucket=bucket, Policy=document(policy))
    assert invoke(chamber, made, bucket) == "put"
    s3.delete_bucket_policy(Bucket=bucket)


def test_a_boundary_of_the_execution_role_holds(chamber: Any) -> None:
    iam = chamber.client("iam")
    logs = document(allow("logs:*"))
    boundary = iam.create_policy(PolicyName=named("edge"), PolicyDocument=logs)["Policy"]["Arn"]
    name = role(chamber, LAMBDA, allow("s3:ListAllMyBuckets"), PermissionsBoundary=boundary)
    made = function(chamber, LIST, name)
    assert "because no permissions boundary allows the s3:ListAllMyBuckets action" in invoke(chamber, made)
    iam.delete_role_permissions_boundary(RoleName=name)
    assert invoke(chamber, made) == "listed"


def test_a_function_may_invoke_another_only_if_it_was_allowed(chamber: Any) -> None:
    target = function(chamber, ONE, role(chamber, LAMBDA))
    source = (
        "import boto3\n"
        "def handler(event, context):\n"
        "    try: return boto3.client('lambda').invoke(FunctionName=event)['Payload'].read().decode()\n"
        "    except Exception as error: return error.response['Error']['Message']\n"
    )
    name = role(chamber, LAMBDA)
    caller = function(chamber, source, name)
    assert f"lambda:InvokeFunction on resource: {function_arn(target)}" in invoke(chamber, caller, target)
    may(chamber, name, allow("lambda:InvokeFunction", on=function_arn(target)))
    assert invoke(chamber, caller, target) == "1"
