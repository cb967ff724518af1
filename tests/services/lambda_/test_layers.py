# SPDX-License-Identifier: Apache-2.0
"""Layers: publishing, using, permitting, deleting."""

from __future__ import annotations

import io
import json
import urllib.request
import zipfile
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.services.lambda_.functions import call, function, ready, role


def layer(**files: str) -> bytes:
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w") as made:
        for name, text in files.items():
            entry = zipfile.ZipInfo(name)
            entry.external_attr = (0o755 if "bin/" in name else 0o644) << 16
            made.writestr(entry, text)
    return held.getvalue()


def publish(client: Any, name: str, **members: Any) -> str:
    files = members.pop("files")
    return client.publish_layer_version(LayerName=name, Content={"ZipFile": layer(**files)}, **members)[
        "LayerVersionArn"
    ]


def test_layers_are_laid_over_each_other(chamber: Any) -> None:
    client = chamber.client("lambda")
    low = publish(
        client, "low",
        files={"python/shared.py": "WHO = 'low'\n", "python/low.py": "X = 1\n", "bin/say": "#!/bin/sh\necho said\n"},
    )  # fmt: skip
    high = publish(client, "high", files={"python/shared.py": "WHO = 'high'\n", "data/words.txt": "hello"})
    source = (
        "import os, subprocess, sys, low, shared\n"
        "def handler(event, context):\n"
        "    said = subprocess.run(['say'], capture_output=True, text=True).stdout.strip()\n"
        "    root = os.path.dirname(os.path.dirname(shared.__file__))\n"
        "    return [shared.WHO, low.X, said, open(root + '/data/words.txt').read()]\n"
    )
    function(chamber, "layered", source, Layers=[low, high])
    assert call(client, "layered")[0] == ["high", 1, "said", "hello"]
    shown = client.get_function(FunctionName="layered")["Configuration"]["Layers"]
    assert [each["Arn"] for each in shown] == [low, high]
    assert all(set(each) == {"Arn", "CodeSize"} and each["CodeSize"] > 0 for each in shown)
    client.update_function_configuration(FunctionName="layered", Layers=[high, low])
    ready(client, "layered")
    assert call(client, "layered")[0][0] == "low"
    client.publish_version(FunctionName="layered")
    client.delete_layer_version(LayerName="low", VersionNumber=1)
    assert call(client, "layered:1")[0][0] == "low"  # who has it keeps it
    client.update_function_configuration(FunctionName="layered", Layers=[])
    ready(client, "layered")
    assert call(client, "layered")[0]["errorType"] == "Runtime.ImportModuleError"


def test_versions_of_a_layer(chamber: Any) -> None:
    client = chamber.client("lambda")
    made = client.publish_layer_version(
        LayerName="numbered", Description="d", Content={"ZipFile": layer(**{"a.txt": "1"})},
        CompatibleRuntimes=["python3.12"], LicenseInfo="MIT",
    )  # fmt: skip
    assert made["Version"] == 1
    assert made["LayerVersionArn"] == made["LayerArn"] + ":1"
    with urllib.request.urlopen(
        urllib.request.Request(
            made["Content"]["Location"].replace("awslambda-tasks.localhost", "127.0.0.1"),
            headers={"Host": "awslambda-tasks.localhost"},
        )
    ) as answer:
        assert zipfile.ZipFile(io.BytesIO(answer.read())).read("a.txt") == b"1"
    publish(client, "numbered", files={"a.txt": "2"})
    listed = client.list_layer_versions(LayerName="numbered")["LayerVersions"]
    assert [each["Version"] for each in listed] == [2, 1]
    only = client.list_layer_versions(LayerName="numbered", CompatibleRuntime="python3.12")["LayerVersions"]
    assert [each["Version"] for each in only] == [1]
    (found,) = [each for each in client.list_layers()["Layers"] if each["LayerName"] == "numbered"]
    assert found["LatestMatchingVersion"]["Version"] == 2
    client.delete_layer_version(LayerName="numbered", VersionNumber=2)
    assert publish(client, "numbered", files={"a.txt": "3"}).endswith(":3")
    with pytest.raises(client.exceptions.ResourceNotFoundException):
        client.get_layer_version(LayerName="numbered", VersionNumber=2)
    assert client.get_layer_version_by_arn(Arn=made["LayerVersionArn"])["LicenseInfo"] == "MIT"


def test_layers_that_cannot_be_used(chamber: Any) -> None:
    client = chamber.client("lambda")
    arns = [publish(client, f"many-{n}", files={f"{n}.txt": "x"}) for n in range(6)]
    second = publish(client, "many-0", files={"0.txt": "y"})
    none = arns[0].replace("many-0", "none")
    for layers, words in (
        (arns, "more than 5 layers"),
        ([arns[0], second], "versions of the same layer"),
        ([none], f"Layer version {none} does not exist"),
        (["nonsense"], "regular expression"),
    ):
        with pytest.raises(ClientError, match=words):
            function(chamber, "unlayered", "", Layers=layers)


def test_a_layer_for_others(chamber: Any) -> None:
    client = chamber.client("lambda")
    arn = publish(client, "permitted", files={"a.txt": "1"})
    asked = {"LayerName": "permitted", "VersionNumber": 1}
    with pytest.raises(client.exceptions.ResourceNotFoundException):
        client.get_layer_version_policy(**asked)
    iam = chamber.client("iam")
    iam.create_user(UserName="layer-user")
    key = iam.create_access_key(UserName="layer-user")["AccessKey"]
    user = chamber.client("lambda", f"{key['AccessKeyId']}:{key['SecretAccessKey']}")
    with pytest.raises(ClientError, match="lambda:GetLayerVersion"):
        user.get_layer_version(**asked)
    made = client.add_layer_version_permission(**asked, StatementId="s", Action="lambda:GetLayerVersion", Principal="*")
    assert json.loads(made["Statement"])["Resource"] == arn
    assert user.get_layer_version(**asked)["Version"] == 1
    client.remove_layer_version_permission(**asked, StatementId="s")
    with pytest.raises(ClientError, match="lambda:GetLayerVersion"):
        user.get_layer_version(**asked)
    document = {
        "Version": "2012-10-17",
        "Statement": [{"Effect": "Allow", "Action": ["lambda:CreateFunction", "iam:PassRole"], "Resource": "*"}],
    }
    iam.put_user_policy(UserName="layer-user", PolicyName="p", PolicyDocument=json.dumps(document))
    with pytest.raises(ClientError, match="lambda:GetLayerVersion"):
        user.create_function(
            FunctionName="not-layered", Runtime="python3.12", Handler="index.handler", Layers=[arn],
            Role=role(chamber, "functions"), Code={"ZipFile": layer(**{"index.py": ""})},
        )  # fmt: skip
