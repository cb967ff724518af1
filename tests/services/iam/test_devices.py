# SPDX-License-Identifier: Apache-2.0
"""Virtual MFA devices through boto3: enabled by real codes only, good for STS once."""

from __future__ import annotations

import base64
import hmac
import io
import json
import time
import uuid

import pytest
from botocore.exceptions import ClientError

ACCOUNT = "000000000000"


def code(seed: bytes, off: int = 0) -> str:
    """Our own RFC 6238, beside the chamber's."""
    digest = hmac.digest(seed, (int(time.time()) // 30 + off).to_bytes(8, "big"), "sha1")
    at = digest[-1] & 15
    return f"{(int.from_bytes(digest[at : at + 4], 'big') & 0x7FFFFFFF) % 10**6:06d}"


def refused(error: str, call, **request) -> str:
    with pytest.raises(ClientError) as caught:
        call(**request)
    assert caught.value.response["Error"]["Code"] == error, caught.value
    return caught.value.response["Error"]["Message"]


@pytest.fixture
def iam(chamber):
    return chamber.client("iam")


@pytest.fixture
def user(iam):
    name = f"mfa-{uuid.uuid4().hex[:10]}"
    iam.create_user(UserName=name)
    return name


@pytest.fixture
def device(iam):
    """Serial number and seed of a device that is nobody's."""
    name = f"dev-{uuid.uuid4().hex[:10]}"
    made = iam.create_virtual_mfa_device(VirtualMFADeviceName=name, Tags=[{"Key": "k", "Value": "v"}])
    told = made["VirtualMFADevice"]
    assert told["SerialNumber"] == f"arn:aws:iam::{ACCOUNT}:mfa/{name}"
    return told["SerialNumber"], base64.b32decode(told["Base32StringSeed"]), told


def enable(iam, user, serial, seed) -> None:
    iam.enable_mfa_device(
        UserName=user, SerialNumber=serial, AuthenticationCode1=code(seed, -1), AuthenticationCode2=code(seed)
    )


def test_a_seed_is_64_characters_and_the_qr_code_is_a_png(device):
    _, seed, told = device
    assert len(told["Base32StringSeed"]) == 64 and len(seed) == 40
    from PIL import Image

    picture = Image.open(io.BytesIO(told["QRCodePNG"]))
    assert picture.format == "PNG" and picture.size[0] == picture.size[1] > 100


def test_only_two_real_codes_in_a_row_enable_a_device(iam, user, device):
    serial, seed, _ = device
    ask = {"UserName": user, "SerialNumber": serial}
    for pair in (("000000", "000001"), (code(seed), code(seed, -1)), (code(seed), code(seed))):
        message = refused(
            "InvalidAuthenticationCode", iam.enable_mfa_device, **ask,
            AuthenticationCode1=pair[0], AuthenticationCode2=pair[1],
        )  # fmt: skip
        assert message == "Authentication code for device is not valid."
    assert iam.list_mfa_devices(UserName=user)["MFADevices"] == []
    enable(iam, user, serial, seed)
    assert [one["SerialNumber"] for one in iam.list_mfa_devices(UserName=user)["MFADevices"]] == [serial]
    got = iam.get_mfa_device(SerialNumber=serial)
    assert got["UserName"] == user and "EnableDate" in got
    refused(
        "EntityAlreadyExists", iam.enable_mfa_device, **ask,
        AuthenticationCode1=code(seed, 1), AuthenticationCode2=code(seed, 2),
    )  # fmt: skip


def test_a_used_device_cannot_be_deleted_nor_its_user(iam, user, device):
    serial, seed, _ = device
    enable(iam, user, serial, seed)
    message = refused("DeleteConflict", iam.delete_virtual_mfa_device, SerialNumber=serial)
    assert message == "MFA VirtualDevice in use. Must deactivate first."
    message = refused("DeleteConflict", iam.delete_user, UserName=user)
    assert message == "Cannot delete entity, must delete MFA device first."
    iam.deactivate_mfa_device(UserName=user, SerialNumber=serial)
    iam.delete_virtual_mfa_device(SerialNumber=serial)
    message = refused("NoSuchEntity", iam.delete_virtual_mfa_device, SerialNumber=serial)
    assert message == f"VirtualMFADevice with serial number {serial} doesn't exist."
    iam.delete_user(UserName=user)


def test_listing_by_assignment_and_page(iam, user, device):
    serial, seed, _ = device

    def listed(status: str) -> set[str]:
        pages = iam.get_paginator("list_virtual_mfa_devices").paginate(
            AssignmentStatus=status, PaginationConfig={"PageSize": 1}
        )
        return {one["SerialNumber"] for page in pages for one in page["VirtualMFADevices"]}

    assert serial in listed("Unassigned") and serial not in listed("Assigned")
    enable(iam, user, serial, seed)
    assert serial not in listed("Unassigned") and serial in listed("Assigned") and serial in listed("Any")


def test_tags_of_a_device(iam, device):
    serial, _, _ = device
    assert iam.list_mfa_device_tags(SerialNumber=serial)["Tags"] == [{"Key": "k", "Value": "v"}]
    iam.tag_mfa_device(SerialNumber=serial, Tags=[{"Key": "K", "Value": "w"}, {"Key": "a", "Value": ""}])
    assert iam.list_mfa_device_tags(SerialNumber=serial)["Tags"] == [
        {"Key": "K", "Value": "w"},
        {"Key": "a", "Value": ""},
    ]
    iam.untag_mfa_device(SerialNumber=serial, TagKeys=["K", "a"])
    assert iam.list_mfa_device_tags(SerialNumber=serial)["Tags"] == []


def test_a_device_of_the_same_name_is_refused_and_paths_are_checked(iam, device):
    serial, _, _ = device
    name = serial.rpartition("/")[2]
    message = refused("EntityAlreadyExists", iam.create_virtual_mfa_device, VirtualMFADeviceName=name)
    assert message == "MFADevice entity at the same path and name already exists."
    message = refused("ValidationError", iam.create_virtual_mfa_device, VirtualMFADeviceName=name, Path="here")
    assert message.startswith("The specified value for path is invalid.")


def test_a_renamed_user_keeps_the_device(iam, user, device):
    serial, seed, _ = device
    enable(iam, user, serial, seed)
    iam.update_user(UserName=user, NewUserName=f"{user}-2")
    assert iam.get_mfa_device(SerialNumber=serial)["UserName"] == f"{user}-2"


def test_sts_takes_a_code_once_and_policies_see_it(chamber, iam, user, device):
    serial, seed, _ = device
    enable(iam, user, serial, seed)
    key = iam.create_access_key(UserName=user)["AccessKey"]
    statement = {
        "Effect": "Allow", "Action": "iam:ListAccountAliases", "Resource": "*",
        "Condition": {"Bool": {"aws:MultiFactorAuthPresent": "true"}},
    }  # fmt: skip
    document = json.dumps({"Version": "2012-10-17", "Statement": statement})
    iam.put_user_policy(UserName=user, PolicyName="mfa", PolicyDocument=document)
    pair = f"{key['AccessKeyId']}:{key['SecretAccessKey']}"
    refused("AccessDenied", chamber.client("iam", pair).list_account_aliases)
    sts = chamber.client("sts", pair)
    refused("AccessDenied", sts.get_session_token, SerialNumber=serial, TokenCode="000000")
    given = code(seed, 1)
    told = sts.get_session_token(SerialNumber=serial, TokenCode=given)["Credentials"]
    message = refused("AccessDenied", sts.get_session_token, SerialNumber=serial, TokenCode=given)
    assert message.strip() == "MultiFactorAuthentication failed with invalid MFA one time pass code."
    session = chamber.client("iam", f"{told['AccessKeyId']}:{told['SecretAccessKey']}", told["SessionToken"])
    session.list_account_aliases()


def test_resync_follows_a_clock_that_is_hours_off(iam, user, device):
    serial, seed, _ = device
    enable(iam, user, serial, seed)
    ask = {"UserName": user, "SerialNumber": serial}
    refused(
        "InvalidAuthenticationCode", iam.resync_mfa_device, **ask,
        AuthenticationCode1=code(seed, -400), AuthenticationCode2=code(seed, -399),
    )  # fmt: skip
    iam.resync_mfa_device(**ask, AuthenticationCode1=code(seed, 400), AuthenticationCode2=code(seed, 401))


def test_a_device_can_be_allowed_by_its_tags(chamber, iam, user, device):
    serial, _, _ = device
    key = iam.create_access_key(UserName=user)["AccessKey"]
    statement = {
        "Effect": "Allow", "Action": "iam:ListMFADeviceTags", "Resource": f"arn:aws:iam::{ACCOUNT}:mfa/*",
        "Condition": {"StringEquals": {"aws:ResourceTag/k": "v"}},
    }  # fmt: skip
    document = json.dumps({"Version": "2012-10-17", "Statement": statement})
    iam.put_user_policy(UserName=user, PolicyName="tags", PolicyDocument=document)
    client = chamber.client("iam", f"{key['AccessKeyId']}:{key['SecretAccessKey']}")
    assert client.list_mfa_device_tags(SerialNumber=serial)["Tags"]
    iam.untag_mfa_device(SerialNumber=serial, TagKeys=["k"])
    refused("AccessDenied", client.list_mfa_device_tags, SerialNumber=serial)
