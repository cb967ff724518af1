# SPDX-License-Identifier: Apache-2.0
"""Function URLs through HTTP: events, replies, CORS, permissions, streams."""

from __future__ import annotations

import base64
import http.client
import json
from typing import Any
from urllib.parse import urlsplit

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from tests.services.lambda_.functions import function, package, ready, role

ECHO = (
    "import json\n"
    "def handler(event, context):\n"
    "    how = (event.get('queryStringParameters') or {}).get('how')\n"
    "    if how == 'raise': raise ValueError('no')\n"
    "    if how == 'text': return 'just text'\n"
    "    if how == 'value': return {'a': 1}\n"
    "    if how == 'wrong': return {'statusCode': 'many'}\n"
    "    if how == 'binary': return {'statusCode': 200, 'isBase64Encoded': True, 'body': 'AAEC',\n"
    "                                'headers': {'Content-Type': 'image/png'}}\n"
    "    return {'statusCode': 201, 'headers': {'X-Mine': 'yes'}, 'cookies': ['a=1; Path=/', 'b=2'],\n"
    "            'body': json.dumps(event)}\n"
)


def ask(url: str, method: str = "GET", path: str = "", body: bytes = b"", **headers: str) -> Any:
    """One request, by the host that the address says; its reply, read whole as `.data`."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection("127.0.0.1", parts.port, timeout=60)
    connection.request(method, path or parts.path, body or None, {"Host": parts.netloc, **headers})
    answer = connection.getresponse()
    answer.data = answer.read()
    connection.close()
    return answer


def anyone(client: Any, name: str, **members: Any) -> None:
    """What the console and SAM add for addresses without signature."""
    client.add_permission(
        FunctionName=name, StatementId="url", Action="lambda:InvokeFunctionUrl", Principal="*",
        FunctionUrlAuthType="NONE", **members,
    )  # fmt: skip
    client.add_permission(
        FunctionName=name, StatementId="invoke", Action="lambda:InvokeFunction", Principal="*",
        InvokedViaFunctionUrl=True, **members,
    )  # fmt: skip


def test_requests_are_events_and_answers_are_replies(chamber: Any) -> None:
    client = function(chamber, "addressed", ECHO)
    made = client.create_function_url_config(FunctionName="addressed", AuthType="NONE")
    url = made["FunctionUrl"]
    assert urlsplit(url).netloc.endswith(f".lambda-url.us-east-1.localhost:{chamber.port}")
    assert ask(url).status == 403
    anyone(client, "addressed")
    answer = ask(
        url, "POST", "/a%20b/c?x=1&x=2&y=%C3%A9", b'{"n":1}',
        **{"Content-Type": "application/json", "Cookie": "s=1; t=2", "X-Some": "Thing", "User-Agent": "me"},
    )  # fmt: skip
    assert answer.status == 201
    assert answer.getheader("X-Mine") == "yes"
    assert answer.headers.get_all("Set-Cookie") == ["a=1; Path=/", "b=2"]
    event = json.loads(answer.data)
    assert event["version"] == "2.0"
    assert (event["rawPath"], event["rawQueryString"]) == ("/a b/c", "x=1&x=2&y=%C3%A9")
    assert event["queryStringParameters"] == {"x": "1,2", "y": "é"}
    assert event["cookies"] == ["s=1", "t=2"]
    assert event["headers"]["x-some"] == "Thing"
    assert (event["body"], event["isBase64Encoded"]) == ('{"n":1}', False)
    context = event["requestContext"]
    assert (context["http"]["method"], context["http"]["userAgent"]) == ("POST", "me")
    assert context["domainPrefix"] == context["apiId"] == urlsplit(url).netloc.partition(".")[0]
    binary = json.loads(ask(url, "POST", body=b"\xff\x00", **{"Content-Type": "application/octet-stream"}).data)
    assert (base64.b64decode(binary["body"]), binary["isBase64Encoded"]) == (b"\xff\x00", True)


def test_forms_of_answers(chamber: Any) -> None:
    client = function(chamber, "answering", ECHO)
    url = client.create_function_url_config(FunctionName="answering", AuthType="NONE")["FunctionUrl"]
    anyone(client, "answering")
    for how, status, kind, body in (
        ("text", 200, "application/json", b"just text"),
        ("value", 200, "application/json", b'{"a":1}'),
        ("binary", 200, "image/png", b"\0\1\2"),
        ("raise", 502, "application/json", b"Internal Server Error"),
        ("wrong", 502, "application/json", b"Internal Server Error"),
    ):
        answer = ask(url, path=f"/?how={how}")
        assert (answer.status, answer.getheader("Content-Type"), answer.data) == (status, kind, body)
    assert ask(url, "POST", body=b"x" * (6 * 1024 * 1024 + 1)).status == 413
    client.put_function_concurrency(FunctionName="answering", ReservedConcurrentExecutions=0)
    assert ask(url).status == 429


def test_signed_addresses(chamber: Any) -> None:
    client = function(chamber, "signed", ECHO)
    url = client.create_function_url_config(FunctionName="signed", AuthType="AWS_IAM")["FunctionUrl"]
    iam = chamber.client("iam")
    iam.create_user(UserName="url-user")
    key = iam.create_access_key(UserName="url-user")["AccessKey"]

    def signed() -> Any:
        request = AWSRequest("GET", url + "?q=1")
        SigV4Auth(Credentials(key["AccessKeyId"], key["SecretAccessKey"]), "lambda", "us-east-1").add_auth(request)
        return ask(url, path="/?q=1", **dict(request.headers))

    assert ask(url).status == 403
    assert signed().status == 403
    document = {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Effect": "Allow",
                "Action": "lambda:InvokeFunctionUrl",
                "Resource": "*",
                "Condition": {"StringEquals": {"lambda:FunctionUrlAuthType": "AWS_IAM"}},
            }
        ],
    }
    iam.put_user_policy(UserName="url-user", PolicyName="p", PolicyDocument=json.dumps(document))
    assert signed().status == 403  # since October 2025 both permissions are needed
    document["Statement"].append(
        {
            "Effect": "Allow",
            "Action": "lambda:InvokeFunction",
            "Resource": "*",
            "Condition": {"Bool": {"lambda:InvokedViaFunctionUrl": "true"}},
        }
    )
    iam.put_user_policy(UserName="url-user", PolicyName="p", PolicyDocument=json.dumps(document))
    answer = signed()
    assert answer.status == 201
    identity = json.loads(answer.data)["requestContext"]["authorizer"]["iam"]
    assert identity["userArn"] == "arn:aws:iam::000000000000:user/url-user"
    assert identity["accessKey"] == key["AccessKeyId"]


def test_cors(chamber: Any) -> None:
    client = function(chamber, "crossing", ECHO)
    cors = {
        "AllowOrigins": ["https://*.example.com"], "AllowMethods": ["GET"], "AllowHeaders": ["x-one"],
        "ExposeHeaders": ["x-mine"], "MaxAge": 60, "AllowCredentials": True,
    }  # fmt: skip
    url = client.create_function_url_config(FunctionName="crossing", AuthType="NONE", Cors=cors)["FunctionUrl"]
    anyone(client, "crossing")
    origin = {"Origin": "https://app.example.com"}
    answer = ask(url, "OPTIONS", **origin, **{"Access-Control-Request-Method": "GET"})
    assert answer.status == 200
    assert answer.getheader("Access-Control-Allow-Origin") == "https://app.example.com"
    assert answer.getheader("Access-Control-Allow-Methods") == "GET"
    assert answer.getheader("Access-Control-Max-Age") == "60"
    assert (
        ask(url, "OPTIONS", Origin="https://evil.test", **{"Access-Control-Request-Method": "GET"}).getheader(
            "Access-Control-Allow-Origin"
        )
        is None
    )
    assert (
        ask(url, "OPTIONS", **origin, **{"Access-Control-Request-Method": "PUT"}).getheader(
            "Access-Control-Allow-Origin"
        )
        is None
    )
    answer = ask(url, **origin)
    assert answer.getheader("Access-Control-Allow-Credentials") == "true"
    assert answer.getheader("Access-Control-Expose-Headers") == "x-mine"


def test_the_configuration_of_an_address(chamber: Any) -> None:
    client = function(chamber, "configured-url", ECHO)
    asked = {"FunctionName": "configured-url"}
    with pytest.raises(client.exceptions.ResourceNotFoundException):
        client.get_function_url_config(**asked)
    made = client.create_function_url_config(**asked, AuthType="NONE")
    assert client.get_function_url_config(**asked)["InvokeMode"] == "BUFFERED"
    with pytest.raises(client.exceptions.ResourceConflictException):
        client.create_function_url_config(**asked, AuthType="NONE")
    client.publish_version(**asked)
    client.create_alias(**asked, Name="live", FunctionVersion="1")
    live = client.create_function_url_config(**asked, Qualifier="live", AuthType="AWS_IAM")
    assert live["FunctionUrl"] != made["FunctionUrl"]
    pages = client.get_paginator("list_function_url_configs").paginate(**asked, PaginationConfig={"PageSize": 1})
    listed = [each["FunctionUrl"] for page in pages for each in page["FunctionUrlConfigs"]]
    assert listed == [made["FunctionUrl"], live["FunctionUrl"]]
    changed = client.update_function_url_config(**asked, AuthType="AWS_IAM", InvokeMode="RESPONSE_STREAM")
    assert (changed["AuthType"], changed["InvokeMode"]) == ("AWS_IAM", "RESPONSE_STREAM")
    client.delete_function_url_config(**asked)
    assert ask(made["FunctionUrl"]).status == 403


NODE = (
    "exports.handler = awslambda.streamifyResponse(async (event, out, context) => {\n"
    "  if (event.fail) throw new Error('early');\n"
    "  if (event.requestContext) out = awslambda.HttpResponseStream.from(out,\n"
    "    { statusCode: 203, headers: { 'X-Streamed': 'yes', 'Content-Type': 'text/plain' } });\n"
    "  for (const word of ['one ', 'two ', 'three']) {\n"
    "    out.write(word);\n"
    "    await new Promise((r) => setTimeout(r, 30));\n"
    "  }\n"
    "  out.end();\n"
    "});\n"
)


def node(chamber: Any, name: str, source: str) -> Any:
    client = chamber.client("lambda")
    client.create_function(
        FunctionName=name, Runtime="nodejs20.x", Handler="app.handler", Timeout=20, Role=role(chamber, "functions"),
        Code={"ZipFile": package("", **{"app.js": source})},
    )  # fmt: skip
    ready(client, name)
    return client


def test_streams(chamber: Any) -> None:
    client = node(chamber, "streaming", NODE)
    answer = client.invoke_with_response_stream(FunctionName="streaming", Payload=b"{}", LogType="Tail")
    assert answer["ExecutedVersion"] == "$LATEST"
    events = list(answer["EventStream"])
    pieces = [event["PayloadChunk"]["Payload"] for event in events if "PayloadChunk" in event]
    assert b"".join(pieces) == b"one two three"
    assert len(pieces) > 1
    assert "START RequestId" in base64.b64decode(events[-1]["InvokeComplete"]["LogResult"]).decode()
    assert client.invoke(FunctionName="streaming", Payload=b"{}")["Payload"].read() == b"one two three"
    failed = list(client.invoke_with_response_stream(FunctionName="streaming", Payload=b'{"fail": 1}')["EventStream"])
    assert failed[-1]["InvokeComplete"]["ErrorCode"] == "Error"
    assert "early" in failed[-1]["InvokeComplete"]["ErrorDetails"]
    url = client.create_function_url_config(FunctionName="streaming", AuthType="NONE", InvokeMode="RESPONSE_STREAM")[
        "FunctionUrl"
    ]
    anyone(client, "streaming")
    reply = ask(url)
    assert (reply.status, reply.data, reply.getheader("X-Streamed")) == (203, b"one two three", "yes")
    client.update_function_url_config(FunctionName="streaming", InvokeMode="BUFFERED")
    reply = ask(url)
    assert (reply.status, reply.data) == (203, b"one two three")


def test_a_function_that_does_not_stream_answers_in_one_piece(chamber: Any) -> None:
    client = function(chamber, "whole", "def handler(event, context):\n    return {'statusCode': 200}\n")
    events = list(client.invoke_with_response_stream(FunctionName="whole", Payload=b"{}")["EventStream"])
    assert events == [{"PayloadChunk": {"Payload": b'{"statusCode": 200}'}}, {"InvokeComplete": {}}]
