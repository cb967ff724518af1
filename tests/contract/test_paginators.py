# SPDX-License-Identifier: Apache-2.0
"""Every paginator that boto3 has for an operation that is implemented: page by page, each item comes once.

What is listed was made before, three of each kind at least. EC2's have a test of their own beside its waiters
(`tests/services/ec2/test_waiters.py`).
"""

from __future__ import annotations

import datetime
import io
import json
import secrets
import zipfile
from typing import Any

import botocore.session
import jmespath
import pytest
from botocore import xform_name
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from cloudchamber import services
from cloudchamber.contract.service import discover

SERVICES = discover(services)
SESSION = botocore.session.get_session()
THREE = range(3)
TAGS = [{"Key": f"k{n}", "Value": "v"} for n in THREE]
RUN = "arn:aws:iam::000000000000:role/%s"


def paginators() -> dict[tuple[str, str], dict[str, Any]]:
    found: dict[tuple[str, str], dict[str, Any]] = {}
    loader = SESSION.get_component("data_loader")
    for service in sorted(SERVICES.keys() - {"ec2"}):
        try:
            model = loader.load_service_model(service, "paginators-1")["pagination"]
        except botocore.exceptions.UnknownServiceError:
            continue
        found |= {(service, name): about for name, about in model.items() if name in SERVICES[service].operations}
    return found


PAGINATORS = paginators()
NONE = {
    ("lambda", "ListEventSourceMappings"): "they are refused by name",
    ("ecr", "ListImages"): "there are none",
    ("iam", "ListAccountAliases"): "an account has at most one",
    ("rds", "DescribeDBInstances"): "a database takes its time: tests/services/rds pages through them",
    ("rds", "DescribeDBEngineVersions"): "there is one version",
    ("rds", "DescribeDBSubnetGroups"): "a page has 20 at least",
    ("rds", "DescribeDBParameterGroups"): "a page has 20 at least",
    ("rds", "DescribeEvents"): "a page has 20 at least",
    ("rds", "DescribeOrderableDBInstanceOptions"): "a page has 20 at least",
    ("iam", "ListMFADevices"): "to enable one needs its codes",
}
"""Of what there are fewer than two, or fewer than one page holds."""


def zipped() -> bytes:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        archive.writestr("main.py", "def handler(event, context):\n    return 1\n")
    return data.getvalue()


def certificate() -> tuple[str, str, str]:
    """PEM of a certificate and of its private key, and an OpenSSH public key."""
    key = rsa.generate_private_key(65537, 2048)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, secrets.token_hex(8))])
    now = datetime.datetime.now(datetime.UTC)
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.serial_number(7).not_valid_before(now).not_valid_after(now + datetime.timedelta(days=9))
    pem, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    public = key.public_key().public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
    private = key.private_bytes(pem, form, serialization.NoEncryption())
    return builder.sign(key, hashes.SHA256()).public_bytes(pem).decode(), private.decode(), public.decode()


class Made:
    """Three of each kind; `given` are the parameters of the operations that need some."""

    def __init__(self, chamber: Any) -> None:
        self.chamber = chamber
        self.name = "paged" + secrets.token_hex(4)
        self.given: dict[tuple[str, str], dict[str, Any]] = {}
        for make in (self.iam, self.devices, self.s3, self.functions, self.logs, self.events, self.rest, self.stacks):
            make()

    def needs(self, service: str, given: dict[str, Any], *operations: str) -> None:
        self.given |= {(service, one): given for one in operations}

    def iam(self) -> None:
        iam, name = self.chamber.client("iam"), self.name
        trust = {"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}
        trusted = json.dumps({"Version": "2012-10-17", "Statement": trust})
        allowed = {"Effect": "Allow", "Action": "s3:*", "Resource": "*"}
        document = json.dumps({"Version": "2012-10-17", "Statement": allowed})
        for n in THREE:
            iam.create_user(UserName=f"{name}{n}", Tags=TAGS)
            iam.create_group(GroupName=f"{name}{n}")
            iam.create_role(RoleName=f"{name}{n}", AssumeRolePolicyDocument=trusted, Tags=TAGS)
            iam.create_instance_profile(InstanceProfileName=f"{name}{n}", Tags=TAGS)
            iam.add_role_to_instance_profile(InstanceProfileName=f"{name}{n}", RoleName=f"{name}0")
            iam.create_policy(PolicyName=f"{name}{n}", PolicyDocument=document, Tags=TAGS)
        policy = f"arn:aws:iam::000000000000:policy/{name}"
        for n in THREE:
            iam.add_user_to_group(UserName=f"{name}{n}", GroupName=f"{name}0")
            iam.put_user_policy(UserName=f"{name}0", PolicyName=f"p{n}", PolicyDocument=document)
            iam.put_group_policy(GroupName=f"{name}0", PolicyName=f"p{n}", PolicyDocument=document)
            iam.put_role_policy(RoleName=f"{name}0", PolicyName=f"p{n}", PolicyDocument=document)
            iam.attach_user_policy(UserName=f"{name}0", PolicyArn=f"{policy}{n}")
            iam.attach_group_policy(GroupName=f"{name}0", PolicyArn=f"{policy}{n}")
            iam.attach_role_policy(RoleName=f"{name}0", PolicyArn=f"{policy}{n}")
            iam.create_policy_version(PolicyArn=f"{policy}0", PolicyDocument=document)
        for n in (1, 2):
            iam.add_user_to_group(UserName=f"{name}0", GroupName=f"{name}{n}")
            iam.attach_role_policy(RoleName=f"{name}{n}", PolicyArn=f"{policy}0")
        self.needs("iam", {"SAMLProviderArn": self.saml(iam)}, "ListSAMLProviderTags")
        iam.create_open_id_connect_provider(Url=f"https://{name}.example.com", ClientIDList=["a"], Tags=TAGS)
        user, role, group = {"UserName": f"{name}0"}, {"RoleName": f"{name}0"}, {"GroupName": f"{name}0"}
        self.needs("iam", user, "ListAttachedUserPolicies", "ListGroupsForUser", "ListUserPolicies", "ListUserTags")
        self.needs("iam", user, "ListAccessKeys", "ListMFADevices", "ListSigningCertificates", "ListSSHPublicKeys")
        self.needs("iam", role, "ListAttachedRolePolicies", "ListRolePolicies", "ListRoleTags")
        self.needs("iam", role, "ListInstanceProfilesForRole")
        self.needs("iam", group, "GetGroup", "ListAttachedGroupPolicies", "ListGroupPolicies")
        self.needs("iam", {"PolicyArn": f"{policy}0"}, "ListPolicyVersions", "ListPolicyTags", "ListEntitiesForPolicy")
        self.needs("iam", {"InstanceProfileName": f"{name}0"}, "ListInstanceProfileTags")
        provider = f"arn:aws:iam::000000000000:oidc-provider/{name}.example.com"
        self.needs("iam", {"OpenIDConnectProviderArn": provider}, "ListOpenIDConnectProviderTags")
        asked = {"ActionNames": ["s3:GetObject", "s3:PutObject", "ec2:RunInstances"]}
        self.needs("iam", {**asked, "PolicyInputList": [document]}, "SimulateCustomPolicy")
        source = f"arn:aws:iam::000000000000:user/{name}0"
        self.needs("iam", {**asked, "PolicySourceArn": source}, "SimulatePrincipalPolicy")

    def saml(self, iam: Any) -> str:
        body = "".join(certificate()[0].splitlines()[1:-1])
        names = 'xmlns:md="urn:oasis:names:tc:SAML:2.0:metadata" xmlns:ds="http://www.w3.org/2000/09/xmldsig#"'
        document = (
            f'<md:EntityDescriptor {names} entityID="https://{self.name}.example.com"><md:IDPSSODescriptor '
            'protocolSupportEnumeration="urn:oasis:names:tc:SAML:2.0:protocol"><md:KeyDescriptor use="signing">'
            f"<ds:KeyInfo><ds:X509Data><ds:X509Certificate>{body}</ds:X509Certificate></ds:X509Data></ds:KeyInfo>"
            "</md:KeyDescriptor></md:IDPSSODescriptor></md:EntityDescriptor>"
        )
        return iam.create_saml_provider(Name=self.name, SAMLMetadataDocument=document, Tags=TAGS)["SAMLProviderArn"]

    def devices(self) -> None:
        iam, name = self.chamber.client("iam"), self.name
        for n in THREE:
            body, private, public = certificate()
            made = iam.create_virtual_mfa_device(VirtualMFADeviceName=f"{name}{n}", Tags=TAGS)["VirtualMFADevice"]
            iam.upload_server_certificate(
                ServerCertificateName=f"{name}{n}", CertificateBody=body, PrivateKey=private, Tags=TAGS
            )
            iam.upload_ssh_public_key(UserName=f"{name}0", SSHPublicKeyBody=public)
            if n < 2:
                iam.create_access_key(UserName=f"{name}0")
                iam.upload_signing_certificate(UserName=f"{name}0", CertificateBody=body)
        self.needs("iam", {"SerialNumber": made["SerialNumber"]}, "ListMFADeviceTags")
        self.needs("iam", {"ServerCertificateName": f"{name}0"}, "ListServerCertificateTags")

    def s3(self) -> None:
        s3, name = self.chamber.client("s3"), self.name
        for n in THREE:
            s3.create_bucket(Bucket=f"{name}{n}")
        s3.put_bucket_versioning(Bucket=f"{name}0", VersioningConfiguration={"Status": "Enabled"})
        for n in THREE:
            s3.put_object(Bucket=f"{name}0", Key="same", Body=b"x")
            s3.put_object(Bucket=f"{name}0", Key=f"key{n}", Body=b"x")
            upload = s3.create_multipart_upload(Bucket=f"{name}0", Key=f"upload{n}")["UploadId"]
        s3.delete_object(Bucket=f"{name}0", Key="key0")
        for n in THREE:
            s3.upload_part(Bucket=f"{name}0", Key="upload2", UploadId=upload, PartNumber=n + 1, Body=b"part")
        bucket = {"Bucket": f"{name}0"}
        self.needs("s3", bucket, "ListObjects", "ListObjectsV2", "ListObjectVersions", "ListMultipartUploads")
        self.needs("s3", {**bucket, "Key": "upload2", "UploadId": upload}, "ListParts")

    def functions(self) -> None:
        client, name = self.chamber.client("lambda"), self.name
        code = zipped()
        for n in THREE:
            client.create_function(
                FunctionName=f"{name}{n}", Runtime="python3.12", Role=RUN % f"{name}0", Handler="main.handler",
                Code={"ZipFile": code},
            )  # fmt: skip
            client.get_waiter("function_active_v2").wait(FunctionName=f"{name}{n}", WaiterConfig={"Delay": 1})
            client.publish_layer_version(LayerName=f"{name}{n}", Content={"ZipFile": code})
            client.publish_layer_version(LayerName=name, Content={"ZipFile": code})
        for n in THREE:
            client.update_function_configuration(FunctionName=f"{name}0", MemorySize=129 + n)
            client.get_waiter("function_updated_v2").wait(FunctionName=f"{name}0", WaiterConfig={"Delay": 1})
            version = client.publish_version(FunctionName=f"{name}0")["Version"]
            client.create_alias(FunctionName=f"{name}0", Name=f"a{n}", FunctionVersion=version)
            client.put_function_event_invoke_config(FunctionName=f"{name}0", Qualifier=f"a{n}", MaximumRetryAttempts=0)
            client.create_function_url_config(FunctionName=f"{name}0", Qualifier=f"a{n}", AuthType="NONE")
            client.put_provisioned_concurrency_config(
                FunctionName=f"{name}0", Qualifier=version, ProvisionedConcurrentExecutions=1
            )
        function = {"FunctionName": f"{name}0"}
        self.needs("lambda", function, "ListAliases", "ListVersionsByFunction", "ListFunctionEventInvokeConfigs")
        self.needs("lambda", function, "ListProvisionedConcurrencyConfigs", "ListFunctionUrlConfigs")
        self.needs("lambda", {"LayerName": name}, "ListLayerVersions")

    def logs(self) -> None:
        logs, name = self.chamber.client("logs"), self.name
        now = int(datetime.datetime.now(datetime.UTC).timestamp() * 1000)
        for n in THREE:
            logs.create_log_group(logGroupName=f"{name}{n}")
            logs.create_log_stream(logGroupName=f"{name}0", logStreamName=f"s{n}")
            events = [{"timestamp": now + one, "message": f"{n} {one}"} for one in THREE]
            logs.put_log_events(logGroupName=f"{name}0", logStreamName=f"s{n}", logEvents=events)
        self.needs("logs", {"logGroupName": f"{name}0"}, "DescribeLogStreams", "FilterLogEvents")

    def events(self) -> None:
        events, name = self.chamber.client("events"), self.name
        target = f"arn:aws:lambda:us-east-1:000000000000:function:{name}0"
        for n in THREE:
            events.put_rule(Name=f"{name}{n}", ScheduleExpression="rate(1 day)", State="DISABLED")
            events.put_targets(Rule=f"{name}{n}", Targets=[{"Id": f"t{one}", "Arn": target} for one in THREE])
        self.needs("events", {"TargetArn": target}, "ListRuleNamesByTarget")
        self.needs("events", {"Rule": f"{name}0"}, "ListTargetsByRule")

    def rest(self) -> None:
        kms, name = self.chamber.client("kms"), self.name
        tags = [{"TagKey": one["Key"], "TagValue": one["Value"]} for one in TAGS]
        for n in THREE:
            key = kms.create_key(Tags=tags)["KeyMetadata"]["KeyId"]
            kms.create_alias(AliasName=f"alias/{name}{n}", TargetKeyId=key)
            self.chamber.client("secretsmanager").create_secret(Name=f"{name}{n}", SecretString="x")
            self.chamber.client("ssm").put_parameter(Name=f"/{name}/{n}", Value="x", Type="String")
            self.chamber.client("ecr").create_repository(repositoryName=f"{name}{n}".lower())
        self.needs("ecr", {"repositoryName": f"{name}0".lower()}, "ListImages")
        self.needs("ssm", {"Path": f"/{name}"}, "GetParametersByPath")
        self.needs("kms", {"KeyId": key}, "ListResourceTags")
        self.needs("rds", {"Engine": "postgres"}, "DescribeOrderableDBInstanceOptions")

    def stacks(self) -> None:
        stacks, name = self.chamber.client("cloudformation"), self.name
        groups = {f"G{n}": {"Type": "AWS::Logs::LogGroup"} for n in THREE}
        outputs = {f"O{n}": {"Value": f"v{n}", "Export": {"Name": f"{name}-{n}"}} for n in THREE}
        template = json.dumps({"Resources": groups, "Outputs": outputs})
        stacks.create_stack(StackName=name, TemplateBody=template)
        stacks.get_waiter("stack_create_complete").wait(StackName=name, WaiterConfig={"Delay": 1})
        joined = {"Fn::Join": ["-", [{"Ref": "AWS::StackName"}, {"Fn::ImportValue": f"{name}-0"}]]}
        imported = {"Type": "AWS::Logs::LogGroup", "Properties": {"LogGroupName": joined}}
        for n in THREE:
            importing = json.dumps({"Resources": {"G": imported}})
            stacks.create_stack(StackName=f"{name}-{n}", TemplateBody=importing)
            stacks.get_waiter("stack_create_complete").wait(StackName=f"{name}-{n}", WaiterConfig={"Delay": 1})
            more = json.dumps(
                {"Resources": {**groups, **{f"M{one}": groups["G0"] for one in THREE}}, "Outputs": outputs}
            )
            stacks.create_change_set(StackName=name, ChangeSetName=f"c{n}", TemplateBody=more)
            stacks.get_waiter("change_set_create_complete").wait(
                StackName=name, ChangeSetName=f"c{n}", WaiterConfig={"Delay": 1}
            )
        self.needs("cloudformation", {"StackName": name}, "DescribeStackEvents", "ListChangeSets", "ListStackResources")
        self.needs("cloudformation", {"StackName": name, "ChangeSetName": "c0"}, "DescribeChangeSet")
        self.needs("cloudformation", {"ExportName": f"{name}-0"}, "ListImports")


@pytest.fixture(scope="module")
def made(chamber: Any) -> Made:
    return Made(chamber)


def smallest(service: str, operation: str, about: dict[str, Any]) -> int | None:
    """The least that a page may hold; None where the size cannot be said."""
    if "limit_key" not in about:
        return None
    shape = SESSION.get_service_model(service).operation_model(operation).input_shape
    least = int(shape.members[about["limit_key"]].metadata.get("min", 0))
    return least or (20 if service == "rds" else 1)


@pytest.mark.parametrize(("service", "operation"), PAGINATORS, ids=lambda one: one)
def test_each_item_comes_once(made: Made, service: str, operation: str) -> None:
    about = PAGINATORS[service, operation]
    keys = about["result_key"] if isinstance(about["result_key"], list) else [about["result_key"]]
    paginator = made.chamber.client(service).get_paginator(xform_name(operation))
    given = made.given.get((service, operation), {})

    def items(**config: Any) -> tuple[list[str], int]:
        pages = list(paginator.paginate(**given, PaginationConfig=config))
        found = [one for page in pages for key in keys for one in jmespath.search(key, page) or []]
        for bucket in found if operation == "ListBuckets" else ():
            bucket.pop("BucketRegion", None)  # Why: S3 tells it only where a page's size, or the like, is asked for
        return [json.dumps(one, default=str, sort_keys=True) for one in found], len(pages)

    whole, _ = items()
    size = smallest(service, operation, about)
    paged, pages = items(**({"PageSize": size} if size else {}))
    named = not given and (service, operation) != ("kms", "ListKeys")
    mine = [one for one in whole if made.name in one] if named else whole
    assert len(mine) > 1 or (service, operation) in NONE
    assert sorted(paged) == sorted(whole) or sorted(o for o in paged if made.name in o) == sorted(mine)
    assert len(paged) == len(set(paged))
    if size and (service, operation) not in NONE:
        assert pages >= len(paged) / size


def test_exceptions_are_operations() -> None:
    assert NONE.keys() <= PAGINATORS.keys()
