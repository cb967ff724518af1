# SPDX-License-Identifier: Apache-2.0
"""The organization file: SCPs limit whom accounts have, RCPs what they have; the next call obeys."""

from __future__ import annotations

import json
import uuid

import pytest

from tests.services.sts.helpers import ACCOUNT, allow, policy, refused
from tests.services.test_accounts import Other

OPEN = {"Effect": "Allow", "Action": "*", "Resource": "*"}


class Organized:
    """A chamber of its own with two members, and a way to put a file in force."""

    def __init__(self, chamber, folder) -> None:
        self.chamber = chamber
        self.file = folder / "organization.json"
        self.one, self.two = Other(chamber), Other(chamber)

    def apply(self, source: object, *, ok: bool = True):
        self.file.write_text(source if isinstance(source, str) else json.dumps(source))
        return self.chamber.cli("organization", "apply", str(self.file), "--json", check=ok)

    def user(self, account: Other, *statements: dict):
        """A user of an account."""
        name = f"org-{uuid.uuid4().hex[:10]}"
        iam = account.client("iam")
        iam.create_user(UserName=name)
        iam.put_user_policy(UserName=name, PolicyName="p", PolicyDocument=policy(*statements))
        key = iam.create_access_key(UserName=name)["AccessKey"]
        return lambda service: self.chamber.client(service, f"{key['AccessKeyId']}:{key['SecretAccessKey']}")


@pytest.fixture(scope="module")
def organized(tmp_path_factory):
    from tests.conftest import end_chamber, new_chamber

    running = new_chamber()
    running.start()
    yield Organized(running, tmp_path_factory.mktemp("organization"))
    end_chamber(running)


def test_service_control_policies_limit_every_level_and_even_root(organized):
    one, two = organized.one, organized.two
    client = organized.user(one, allow("*"))
    client("s3").list_buckets()
    deny = {"Effect": "Deny", "Action": "s3:CreateBucket", "Resource": "*"}
    told = json.loads(organized.apply(f"""
Policies:
  NoBuckets:
    Type: SERVICE_CONTROL_POLICY
    Content: {json.dumps({"Version": "2012-10-17", "Statement": deny})}
  OnlyStorage:
    Type: SERVICE_CONTROL_POLICY
    Content: {{Version: "2012-10-17", Statement: [{{Effect: Allow, Action: ["s3:*", "sts:*"], Resource: "*"}}]}}
Root:
  OrganizationalUnits:
    - Name: Sandbox
      ServiceControlPolicies: [FullAWSAccess, NoBuckets]
      Accounts: [{one.id}]
    - Name: Storage
      Accounts:
        - Name: {two.name}
          ServiceControlPolicies: [OnlyStorage]
""").stdout)  # fmt: skip
    assert told["Id"].startswith("o-") and told["Root"]["Id"].startswith("r-")
    assert told["Root"]["Accounts"][0]["Id"] == ACCOUNT
    client("s3").list_buckets()
    message = refused("AccessDenied", client("s3").create_bucket, Bucket=f"x-{uuid.uuid4().hex}")
    assert " with an explicit deny in a service control policy: arn:aws:organizations::" in message
    refused("AccessDenied", one.client("s3").create_bucket, Bucket=f"x-{uuid.uuid4().hex}")
    two.client("s3").list_buckets()
    message = refused("AccessDenied", two.client("iam").list_users)
    assert message.endswith("because no service control policy allows the iam:ListUsers action")
    # Why: nothing limits the management account
    organized.chamber.client("s3").create_bucket(Bucket=f"x-{uuid.uuid4().hex}")
    shown = json.loads(organized.chamber.cli("organization", "show", "--json").stdout)
    assert shown == told
    again = json.loads(
        organized.apply({"Root": {"Accounts": [one.id], "OrganizationalUnits": [{"Name": "Sandbox"}]}}).stdout
    )
    assert again["Id"] == told["Id"]
    units = [told["Root"]["OrganizationalUnits"][0]["Id"], again["Root"]["OrganizationalUnits"][0]["Id"]]
    assert units[0] == units[1] and units[0].startswith(f"ou-{told['Root']['Id'][2:]}-")
    client("s3").create_bucket(Bucket=f"x-{uuid.uuid4().hex}")
    two.client("iam").list_users()


def test_resource_control_policies_limit_what_an_account_has(organized):
    one, two = organized.one, organized.two
    bucket = f"org-{uuid.uuid4().hex[:10]}"
    opened = policy({"Effect": "Allow", "Principal": "*", "Action": "s3:*", "Resource": f"arn:aws:s3:::{bucket}"})
    s3 = one.client("s3")
    s3.create_bucket(Bucket=bucket, ObjectOwnership="BucketOwnerEnforced")
    s3.delete_public_access_block(Bucket=bucket)
    s3.put_bucket_policy(Bucket=bucket, Policy=opened)
    client = organized.user(two, allow("s3:*"))
    outside = organized.user(Other(organized.chamber), allow("s3:*"))
    client("s3").list_objects_v2(Bucket=bucket)
    outside("s3").list_objects_v2(Bucket=bucket)
    mine = {
        "Effect": "Deny", "Principal": "*", "Action": "s3:*", "Resource": "*",
        "Condition": {"StringNotEqualsIfExists": {"aws:PrincipalOrgID": "${aws:ResourceOrgID}"}},
    }  # fmt: skip
    organized.apply(
        {
            "Policies": {"OwnOnly": {"Type": "RESOURCE_CONTROL_POLICY", "Content": policy(mine)}},
            "Root": {"ResourceControlPolicies": ["OwnOnly"], "Accounts": [one.id, two.id]},
        }
    )
    client("s3").list_objects_v2(Bucket=bucket)
    s3.list_objects_v2(Bucket=bucket)
    assert refused("AccessDenied", outside("s3").list_objects_v2, Bucket=bucket) == "Access Denied"
    organized.apply({"Root": {"Accounts": [one.id, two.id]}})
    outside("s3").list_objects_v2(Bucket=bucket)


def test_a_bucket_can_be_open_to_the_organization(organized):
    one, two = organized.one, organized.two
    told = json.loads(
        organized.apply(
            {"Root": {"OrganizationalUnits": [{"Name": "A", "Accounts": [two.id]}], "Accounts": [one.id]}}
        ).stdout
    )
    bucket = f"org-{uuid.uuid4().hex[:10]}"
    s3 = one.client("s3")
    s3.create_bucket(Bucket=bucket)
    opened = {"Effect": "Allow", "Principal": "*", "Action": "s3:ListBucket", "Resource": f"arn:aws:s3:::{bucket}"}
    s3.put_bucket_policy(
        Bucket=bucket, Policy=policy({**opened, "Condition": {"StringEquals": {"aws:PrincipalOrgID": told["Id"]}}})
    )
    client, outside = organized.user(two, allow("s3:*")), organized.user(Other(organized.chamber), allow("s3:*"))
    client("s3").list_objects_v2(Bucket=bucket)
    refused("AccessDenied", outside("s3").list_objects_v2, Bucket=bucket)
    unit = told["Root"]["OrganizationalUnits"][0]["Id"]
    path = f"{told['Id']}/{told['Root']['Id']}/{unit}/*"
    within = {"ForAnyValue:StringLike": {"aws:PrincipalOrgPaths": path}}
    s3.put_bucket_policy(Bucket=bucket, Policy=policy({**opened, "Condition": within}))
    client("s3").list_objects_v2(Bucket=bucket)
    refused("AccessDenied", organized.chamber.client("s3").list_objects_v2, Bucket=bucket)


SCP = {"Type": "SERVICE_CONTROL_POLICY", "Content": policy(OPEN)}


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ([], "no mapping"),
        ({"Roots": {}}, "Roots is not known"),
        ({"Management": "nobody"}, "there is no account nobody"),
        ({"Root": {"Accounts": ["nobody"]}}, "there is no account nobody"),
        ({"Root": {"Accounts": ["default", ACCOUNT]}}, "stands in the file twice"),
        ({"Root": {"ServiceControlPolicies": ["None"]}}, "there is no policy None"),
        ({"Root": {"ServiceControlPolicies": []}}, "one SCP at least"),
        ({"Policies": {"FullAWSAccess": SCP}}, "none of AWS's own"),
        ({"Policies": {"p": {**SCP, "Type": "TAG_POLICY"}}}, "Type must be one of"),
        ({"Policies": {"p": {**SCP, "Content": "{}"}}}, "policy p: "),
        ({"Policies": {"p": {**SCP, "Content": policy({**OPEN, "Sid": "x" * 5121})}}}, "longer than 5120"),
        ({"Policies": {"p": {**SCP, "Type": "RESOURCE_CONTROL_POLICY"}}}, 'Effect "Deny"'),
        (
            {
                "Policies": {f"p{n}": SCP for n in range(6)},
                "Root": {"ServiceControlPolicies": [f"p{n}" for n in range(6)]},
            },
            "5 SCPs at most",
        ),
    ],
)
def test_a_wrong_file_changes_nothing(organized, source, says):
    before = organized.apply({"Root": {}}).stdout
    done = organized.apply(source, ok=False)
    assert done.returncode == 1 and says in done.stderr, done.stderr
    assert organized.chamber.cli("organization", "show", "--json").stdout == before


def test_units_nest_five_deep_at_most(organized):
    unit: dict = {"Name": "u"}
    for _ in range(4):
        unit = {"Name": "u", "OrganizationalUnits": [unit]}
    organized.apply({"Root": {"OrganizationalUnits": [unit]}})
    deeper = {"Root": {"OrganizationalUnits": [{"Name": "u", "OrganizationalUnits": [unit]}]}}
    assert "5 levels" in organized.apply(deeper, ok=False).stderr


def test_the_organization_outlives_a_restart(organized):
    told = organized.apply({"Root": {"Accounts": [organized.one.id]}}).stdout
    organized.chamber.kill()
    organized.chamber.start()
    assert organized.chamber.cli("organization", "show", "--json").stdout == told
    assert organized.one.client("sts").get_caller_identity()["Account"] == organized.one.id
