# SPDX-License-Identifier: Apache-2.0
"""Login profiles and the password policy, through boto3."""

from __future__ import annotations

import sqlite3
import uuid
from contextlib import closing

import pytest
from botocore.exceptions import ClientError

ACCOUNT = "000000000000"
GOOD = "Correct-horse-7"


def refused(error: str, call, **request) -> str:
    with pytest.raises(ClientError) as caught:
        call(**request)
    assert caught.value.response["Error"]["Code"] == error, caught.value
    return caught.value.response["Error"]["Message"]


@pytest.fixture(scope="module")
def mine():
    """A chamber of this file's own: the password policy is the whole account's."""
    from tests.conftest import end_chamber, new_chamber

    running = new_chamber()
    running.start()
    yield running
    end_chamber(running)


@pytest.fixture
def iam(mine):
    client = mine.client("iam")
    yield client
    try:
        client.delete_account_password_policy()
    except client.exceptions.NoSuchEntityException:
        pass


@pytest.fixture
def user(iam):
    name = f"pw-{uuid.uuid4().hex[:10]}"
    iam.create_user(UserName=name)
    return name


def own(mine, iam, user):
    """The user's own client."""
    key = iam.create_access_key(UserName=user)["AccessKey"]
    return mine.client("iam", f"{key['AccessKeyId']}:{key['SecretAccessKey']}")


def test_the_life_of_a_login_profile(iam, user):
    message = refused("NoSuchEntity", iam.get_login_profile, UserName=user)
    assert message == f"Login Profile for User {user} cannot be found."
    made = iam.create_login_profile(UserName=user, Password=GOOD, PasswordResetRequired=True)["LoginProfile"]
    assert made["UserName"] == user and made["PasswordResetRequired"] is True
    message = refused("EntityAlreadyExists", iam.create_login_profile, UserName=user, Password=GOOD)
    assert message == f"Login Profile for user {user} already exists."
    iam.update_login_profile(UserName=user, PasswordResetRequired=False)
    assert iam.get_login_profile(UserName=user)["LoginProfile"]["PasswordResetRequired"] is False
    message = refused("DeleteConflict", iam.delete_user, UserName=user)
    assert message == "Cannot delete entity, must delete login profile first."
    iam.delete_login_profile(UserName=user)
    refused("NoSuchEntity", iam.update_login_profile, UserName=user, Password=GOOD)
    refused("NoSuchEntity", iam.delete_login_profile, UserName=user)
    refused("NoSuchEntity", iam.create_login_profile, UserName=f"{user}-x", Password=GOOD)


def test_without_a_policy_aws_own_holds(iam, user):
    for weak in ("Ab1!", "alllowercase1", "ALLUPPERCASE"):
        refused("PasswordPolicyViolation", iam.create_login_profile, UserName=user, Password=weak)
    iam.create_login_profile(UserName=user, Password="Abcdefg1")


@pytest.mark.parametrize(
    ("rule", "weak", "strong", "words"),
    [
        ({"MinimumPasswordLength": 20}, GOOD, GOOD + "-and-more", "minimum length of 20"),
        ({"RequireSymbols": True}, "Abcdefg1", "Abcdefg1!", "symbol"),
        ({"RequireNumbers": True}, "Abcdefgh", "Abcdefgh1", "number"),
        ({"RequireUppercaseCharacters": True}, "abcdefg1", "Abcdefg1", "uppercase letter"),
        ({"RequireLowercaseCharacters": True}, "ABCDEFG1", "aBCDEFG1", "lowercase letter"),
    ],
)
def test_each_rule_of_a_policy(iam, user, rule, weak, strong, words):
    iam.update_account_password_policy(**rule)
    assert words in refused("PasswordPolicyViolation", iam.create_login_profile, UserName=user, Password=weak)
    iam.create_login_profile(UserName=user, Password=strong)


def test_the_policy_is_told_whole_and_set_whole(iam):
    message = refused("NoSuchEntity", iam.get_account_password_policy)
    assert message == f"The Password Policy with domain name {ACCOUNT} cannot be found."
    message = refused("NoSuchEntity", iam.delete_account_password_policy)
    assert message == "The account policy with name PasswordPolicy cannot be found."
    iam.update_account_password_policy(MinimumPasswordLength=9, MaxPasswordAge=90, HardExpiry=True)
    told = iam.get_account_password_policy()["PasswordPolicy"]
    assert told["MinimumPasswordLength"] == 9 and told["ExpirePasswords"] is True and told["MaxPasswordAge"] == 90
    iam.update_account_password_policy(RequireNumbers=True)
    told = iam.get_account_password_policy()["PasswordPolicy"]
    assert told["MinimumPasswordLength"] == 6 and told["RequireNumbers"] is True and "MaxPasswordAge" not in told
    message = refused("ValidationError", iam.update_account_password_policy, MinimumPasswordLength=129)
    assert message == (
        "1 validation error detected: Value '129' at 'minimumPasswordLength' failed to satisfy constraint: "
        "Member must have value less than or equal to 128"
    )


def test_a_user_changes_the_own_password_only_with_the_old_one_and_only_if_allowed(mine, iam, user):
    iam.create_login_profile(UserName=user, Password=GOOD, PasswordResetRequired=True)
    client = own(mine, iam, user)
    change = {"OldPassword": GOOD, "NewPassword": GOOD + "-2"}
    assert "iam:ChangePassword" in refused("AccessDenied", client.change_password, **change)
    iam.update_account_password_policy(AllowUsersToChangePassword=True)
    refused("AccessDenied", client.change_password, OldPassword="Wrong-horse-7", NewPassword=GOOD + "-2")
    client.change_password(**change)
    assert iam.get_login_profile(UserName=user)["LoginProfile"]["PasswordResetRequired"] is False
    refused("AccessDenied", client.change_password, **change)
    assert client.get_account_password_policy()["PasswordPolicy"]["AllowUsersToChangePassword"] is True
    iam.update_account_password_policy(AllowUsersToChangePassword=False)
    refused("AccessDenied", client.change_password, OldPassword=GOOD + "-2", NewPassword=GOOD)


def test_only_users_have_a_password_to_change(iam):
    refused("InvalidUserType", iam.change_password, OldPassword=GOOD, NewPassword=GOOD + "-2")


def test_the_last_passwords_are_not_taken_again(iam, user):
    iam.update_account_password_policy(PasswordReusePrevention=2)
    iam.create_login_profile(UserName=user, Password="First-pass-1")
    refused("PasswordPolicyViolation", iam.update_login_profile, UserName=user, Password="First-pass-1")
    iam.update_login_profile(UserName=user, Password="Second-pass-2")
    refused("PasswordPolicyViolation", iam.update_login_profile, UserName=user, Password="First-pass-1")
    iam.update_login_profile(UserName=user, Password="Third-pass-3")
    iam.update_login_profile(UserName=user, Password="First-pass-1")


def test_no_password_lies_in_the_state_nor_on_a_track(mine, iam, user):
    secret = f"Never-{uuid.uuid4().hex}-written"
    iam.create_login_profile(UserName=user, Password=secret)
    with closing(sqlite3.connect(mine.state / "chamber.db")) as db:
        kept = db.execute("SELECT hash FROM iam_logins WHERE user = ?", (user,)).fetchone()[0]
    assert kept.startswith("scrypt$")
    mine.stop()
    try:
        for file in mine.state.rglob("*"):
            if file.is_file():
                assert secret.encode() not in file.read_bytes(), file
    finally:
        mine.start()


def test_a_renamed_user_keeps_the_password(iam, user):
    iam.create_login_profile(UserName=user, Password=GOOD)
    iam.update_user(UserName=user, NewUserName=f"{user}-2")
    assert iam.get_login_profile(UserName=f"{user}-2")["LoginProfile"]["UserName"] == f"{user}-2"


def test_a_stack_gives_and_takes_a_password(mine, iam):
    cfn = mine.client("cloudformation")
    name = f"cfn-{uuid.uuid4().hex[:10]}"
    template = """
Resources:
  User:
    Type: AWS::IAM::User
    Properties: {UserName: %s, LoginProfile: {Password: %s, PasswordResetRequired: true}}
"""
    ask = {"StackName": name, "Capabilities": ["CAPABILITY_NAMED_IAM"]}
    quick = {"Delay": 1, "MaxAttempts": 60}
    cfn.create_stack(**ask, TemplateBody=template % (name, GOOD))
    cfn.get_waiter("stack_create_complete").wait(StackName=name, WaiterConfig=quick)
    assert iam.get_login_profile(UserName=name)["LoginProfile"]["PasswordResetRequired"] is True
    without = (template % (name, GOOD)).partition(", LoginProfile")[0] + "}\n"
    cfn.update_stack(**ask, TemplateBody=without)
    cfn.get_waiter("stack_update_complete").wait(StackName=name, WaiterConfig=quick)
    refused("NoSuchEntity", iam.get_login_profile, UserName=name)
    iam.create_login_profile(UserName=name, Password=GOOD)
    cfn.delete_stack(StackName=name)
    cfn.get_waiter("stack_delete_complete").wait(StackName=name, WaiterConfig=quick)
    refused("NoSuchEntity", iam.get_user, UserName=name)
