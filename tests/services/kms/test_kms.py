# SPDX-License-Identifier: Apache-2.0
"""Keys, aliases, key policies, encryption, through boto3."""

from __future__ import annotations

import json
import uuid

import pytest
from botocore.exceptions import ClientError

from tests.services.s3.conftest import allow, policy, refused


@pytest.fixture
def kms(chamber):
    return chamber.client("kms")


@pytest.fixture
def key(kms):
    made = kms.create_key(Description="test", Tags=[{"TagKey": "team", "TagValue": "blue"}])["KeyMetadata"]
    yield made
    state = kms.describe_key(KeyId=made["KeyId"])["KeyMetadata"]["KeyState"]
    if state != "PendingDeletion":
        kms.schedule_key_deletion(KeyId=made["KeyId"], PendingWindowInDays=7)


@pytest.fixture
def somebody(chamber):
    """Makes users with one inline policy each; gives their KMS clients."""
    iam = chamber.client("iam")
    made = []

    def make(*statements: dict):
        name = f"kms-{uuid.uuid4().hex[:12]}"
        arn = iam.create_user(UserName=name)["User"]["Arn"]
        if statements:
            iam.put_user_policy(UserName=name, PolicyName="own", PolicyDocument=policy(*statements))
        pair = iam.create_access_key(UserName=name)["AccessKey"]
        made.append((name, pair["AccessKeyId"], bool(statements)))
        return chamber.client("kms", f"{pair['AccessKeyId']}:{pair['SecretAccessKey']}"), arn

    yield make
    for name, pair, has in made:
        iam.delete_access_key(UserName=name, AccessKeyId=pair)
        if has:
            iam.delete_user_policy(UserName=name, PolicyName="own")
        iam.delete_user(UserName=name)


def test_what_is_encrypted_comes_back_with_its_context_only(kms, key):
    blob = kms.encrypt(KeyId=key["Arn"], Plaintext=b"secret", EncryptionContext={"a": "1"})["CiphertextBlob"]
    assert b"secret" not in blob
    told = kms.decrypt(CiphertextBlob=blob, EncryptionContext={"a": "1"})
    assert (told["Plaintext"], told["KeyId"]) == (b"secret", key["Arn"])
    refused("InvalidCiphertextException", kms.decrypt, CiphertextBlob=blob)
    changed = blob[:-1] + bytes([blob[-1] ^ 1])
    refused("InvalidCiphertextException", kms.decrypt, CiphertextBlob=changed, EncryptionContext={"a": "1"})
    made = kms.generate_data_key(KeyId=key["KeyId"], KeySpec="AES_256")
    assert len(made["Plaintext"]) == 32
    assert kms.decrypt(CiphertextBlob=made["CiphertextBlob"])["Plaintext"] == made["Plaintext"]


def test_aliases(kms, key):
    name = f"alias/{uuid.uuid4().hex}"
    kms.create_alias(AliasName=name, TargetKeyId=key["KeyId"])
    refused("AlreadyExistsException", kms.create_alias, AliasName=name, TargetKeyId=key["KeyId"])
    found = kms.describe_key(KeyId=name)["KeyMetadata"]
    assert (found["Arn"], found["CurrentKeyMaterialId"]) == (key["Arn"], key["CurrentKeyMaterialId"])
    assert len(found["CurrentKeyMaterialId"]) == 64
    assert [a["AliasName"] for a in kms.list_aliases(KeyId=key["KeyId"])["Aliases"]] == [name]
    kms.delete_alias(AliasName=name)
    refused("NotFoundException", kms.describe_key, KeyId=name)
    refused("InvalidAliasNameException", kms.create_alias, AliasName="alias/a:b", TargetKeyId=key["KeyId"])


def test_a_key_that_is_disabled_or_about_to_go_is_not_used(kms, key):
    kms.disable_key(KeyId=key["KeyId"])
    refused("DisabledException", kms.encrypt, KeyId=key["KeyId"], Plaintext=b"x")
    kms.enable_key(KeyId=key["KeyId"])
    kms.encrypt(KeyId=key["KeyId"], Plaintext=b"x")
    kms.schedule_key_deletion(KeyId=key["KeyId"], PendingWindowInDays=7)
    refused("KMSInvalidStateException", kms.encrypt, KeyId=key["KeyId"], Plaintext=b"x")
    assert kms.list_resource_tags(KeyId=key["KeyId"])["Tags"] == [{"TagKey": "team", "TagValue": "blue"}]


def test_the_key_policy_decides_before_iam(kms, key, somebody):
    user, arn = somebody(allow("kms:*", "*"))
    user.encrypt(KeyId=key["KeyId"], Plaintext=b"x")
    old = kms.get_key_policy(KeyId=key["KeyId"], PolicyName="default")["Policy"]
    root = json.loads(old)["Statement"][0]["Principal"]["AWS"]
    own = allow(["kms:PutKeyPolicy", "kms:Describe*", "kms:ScheduleKeyDeletion"], "*", Principal={"AWS": root})
    kms.put_key_policy(KeyId=key["KeyId"], Policy=policy(own))
    refused("AccessDeniedException", user.encrypt, KeyId=key["KeyId"], Plaintext=b"x")
    refused("AccessDeniedException", kms.encrypt, KeyId=key["KeyId"], Plaintext=b"x")
    other, arn = somebody()
    kms.put_key_policy(KeyId=key["KeyId"], Policy=policy(own, allow("kms:Encrypt", "*", Principal={"AWS": arn})))
    other.encrypt(KeyId=key["KeyId"], Plaintext=b"x")
    refused("AccessDeniedException", other.describe_key, KeyId=key["KeyId"])


def test_conditions_on_the_encryption_context(kms, key, somebody):
    only = {"StringEquals": {"kms:EncryptionContext:app": "a"}}
    user, _ = somebody(allow("kms:Encrypt", key["Arn"], Condition=only))
    user.encrypt(KeyId=key["KeyId"], Plaintext=b"x", EncryptionContext={"app": "a"})
    with pytest.raises(ClientError):
        user.encrypt(KeyId=key["KeyId"], Plaintext=b"x", EncryptionContext={"app": "b"})


def test_what_is_not_implemented_is_refused(kms):
    refused("UnsupportedOperationException", kms.create_key, KeySpec="RSA_2048", KeyUsage="SIGN_VERIFY")
    refused("NotFoundException", kms.describe_key, KeyId="fake")
