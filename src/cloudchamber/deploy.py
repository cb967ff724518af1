# SPDX-License-Identifier: Apache-2.0
"""`cloudchamber up`: package a template's code, deploy it, follow it, and wait until the app answers."""

from __future__ import annotations

import re
import ssl
import time
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from cloudchamber import packaging
from cloudchamber.base.errors import ChamberError
from cloudchamber.client import Client, Refused
from cloudchamber.sandbox.modes import stronger

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Set
    from pathlib import Path

APP_WITHIN_S = 240.0
DEPLOY_WITHIN_S = 900.0
_BAD_ENDS = ("ROLLBACK_COMPLETE", "FAILED", "UPDATE_ROLLBACK_COMPLETE")


@dataclass(frozen=True, slots=True)
class Deployed:
    """What `up` leaves behind: the stack, its outputs, and the HTTPS address of each instance."""

    stack: str
    outputs: Mapping[str, str]
    resources: tuple[Mapping[str, Any], ...]
    apps: Mapping[str, str] = field(default_factory=dict[str, str])


def stack_name(template: Path) -> str:
    """The name of a template's stack: its folder's, in CloudFormation's alphabet."""
    base = template.absolute().parent.name if template.stem == "template" else template.stem
    name = re.sub(r"[^A-Za-z0-9]+", "-", base).strip("-")
    return name if name[:1].isalpha() else f"stack-{name}"


def deploy(
    client: Client, template: Path, name: str, parameters: Mapping[str, str], say: Callable[[str], None]
) -> Deployed:
    """Create or update the stack, and wait until every instance's app answers.

    Raises:
        ChamberError: the deployment failed; the message names the resource and the reason.
    """
    _check_walls(client, template)
    _check_names(parameters, packaging.parameter_names(template))
    cache = client.state / "cache"
    packed = packaging.package(template, cache, say)
    bucket = f"cloudchamber-assets-{client.about['account']}-{client.about['region']}"
    _upload(client, bucket, packed.archives, say)
    body, asset_parameters = packed.resolve(bucket)
    given = {**asset_parameters, **parameters}
    url = _keep_template(client, bucket, body)
    stack_id = _begin(client, name, url, given, say)
    if stack_id:
        _follow(client, stack_id, say)
    found = client.ask("cloudformation", "DescribeStacks", StackName=name)["Stacks"][0]
    listed = client.ask("cloudformation", "ListStackResources", StackName=name)["StackResourceSummaries"]
    _start_stopped(client, listed, say)
    outputs = {o["OutputKey"]: o["OutputValue"] for o in found.get("Outputs", [])}
    return Deployed(name, outputs, tuple(listed), _wait_for_apps(client, listed, say))


def _check_walls(client: Client, template: Path) -> None:
    """Refuse a template with instances before anything is made, where there are no namespaces for them."""
    about = client.about
    why, helps = stronger(about["sandbox_mode"], about.get("refused_modes", {}))
    if why and "AWS::EC2::Instance" in packaging.certain_types(template):
        raise ChamberError(
            f"{template} has an EC2 instance, and instances need Linux namespaces, which this chamber has not "
            f"(sandbox mode {about['sandbox_mode']}): {why}",
            helps,
        )


def _upload(client: Client, bucket: str, archives: Mapping[str, Path], say: Callable[[str], None]) -> None:
    try:
        client.ask("s3", "HeadBucket", Bucket=bucket)
    except Refused:
        client.ask("s3", "CreateBucket", Bucket=bucket)
    for key, path in archives.items():
        try:
            client.ask("s3", "HeadObject", Bucket=bucket, Key=key)
        except Refused:
            say(f"uploading {key} ({path.stat().st_size / 1_000_000:.1f} MB)")
            client.put_object(bucket, key, path)


def _keep_template(client: Client, bucket: str, body: str) -> str:
    key = f"templates/{packaging.digest(body.encode())}.template"
    client.ask("s3", "PutObject", Bucket=bucket, Key=key, Body=body.encode())
    return f"{client.endpoint}/{bucket}/{key}"


def _begin(client: Client, name: str, url: str, given: Mapping[str, str], say: Callable[[str], None]) -> str:
    """Begin to create or update; empty when the stack is what the template says already."""
    summary = client.ask("cloudformation", "GetTemplateSummary", TemplateURL=url)
    declared = {p["ParameterKey"] for p in summary.get("Parameters", [])}
    _check_names(given, declared)
    request: dict[str, Any] = {
        "StackName": name,
        "TemplateURL": url,
        "Capabilities": ["CAPABILITY_IAM", "CAPABILITY_NAMED_IAM", "CAPABILITY_AUTO_EXPAND"],
        "Parameters": [{"ParameterKey": k, "ParameterValue": v} for k, v in given.items()],
    }
    status = _settled(client, name, say)
    if status in ("ROLLBACK_COMPLETE", "CREATE_FAILED", "REVIEW_IN_PROGRESS", "ROLLBACK_FAILED"):
        say(f"the earlier try of stack {name} failed: deleting what is left of it")
        client.ask("cloudformation", "DeleteStack", StackName=name)
        _wait_gone(client, name)
        status = ""
    if not status:
        say(f"creating stack {name}")
        return client.ask("cloudformation", "CreateStack", **request, OnFailure="ROLLBACK")["StackId"]
    old = client.ask("cloudformation", "DescribeStacks", StackName=name)["Stacks"][0].get("Parameters", [])
    request["Parameters"] += [
        {"ParameterKey": p["ParameterKey"], "UsePreviousValue": True}
        for p in old
        if p["ParameterKey"] in declared and p["ParameterKey"] not in given
    ]
    try:
        say(f"updating stack {name}")
        return client.ask("cloudformation", "UpdateStack", **request)["StackId"]
    except Refused as error:
        if "No updates are to be performed" in error.message:
            say("nothing changed")
            return ""
        raise


def _settled(client: Client, name: str, say: Callable[[str], None]) -> str:
    """The stack's status after what is under way (an `up` that was interrupted, say) has ended."""
    status = _status(client, name)
    ends = time.monotonic() + DEPLOY_WITHIN_S
    if status.endswith("_IN_PROGRESS") and status != "REVIEW_IN_PROGRESS":
        say(f"stack {name} is {status}: waiting for that to end")
        while status.endswith("_IN_PROGRESS") and time.monotonic() < ends:
            time.sleep(0.1)
            status = _status(client, name)
    return status


def _check_names(given: Mapping[str, str], declared: Set[str]) -> None:
    unknown = sorted(set(given) - declared)
    if unknown:
        has = ", ".join(sorted(declared)) or "none"
        raise ChamberError(f"the template has no parameter {', '.join(unknown)}", f"it has {has}")


def _status(client: Client, name: str) -> str:
    try:
        return client.ask("cloudformation", "DescribeStacks", StackName=name)["Stacks"][0]["StackStatus"]
    except Refused as error:
        if "does not exist" in error.message:
            return ""
        raise


def _follow(client: Client, stack_id: str, say: Callable[[str], None]) -> None:
    """Say each event of a running operation, until it ends."""
    seen: set[str] = set()
    began = client.ask("cloudformation", "DescribeStacks", StackName=stack_id)["Stacks"][0]
    since = began.get("LastUpdatedTime") or began["CreationTime"]
    ends = time.monotonic() + DEPLOY_WITHIN_S
    reasons: list[str] = []
    while time.monotonic() < ends:
        status = _status(client, stack_id)
        events = client.ask("cloudformation", "DescribeStackEvents", StackName=stack_id)["StackEvents"]
        for event in reversed(events):
            if event["EventId"] in seen or event["Timestamp"] < since:
                continue
            seen.add(event["EventId"])
            reason = event.get("ResourceStatusReason", "")
            if reason == "Resource creation Initiated" or "CLEANUP" in event["ResourceStatus"]:
                continue
            what = f"{event['ResourceStatus']:<28} {event['ResourceType']:<28} {event['LogicalResourceId']}"
            say(f"{what}  {reason}".rstrip())
            if event["ResourceStatus"].endswith("FAILED") and "cancelled" not in reason:
                reasons.append(f"{event['LogicalResourceId']}: {reason}")
        if not status.endswith("IN_PROGRESS"):
            if status.endswith(_BAD_ENDS):
                raise ChamberError(
                    f"the stack ended as {status}; " + "; ".join(reasons), "correct that and run it again"
                )
            return
        time.sleep(0.1)
    raise ChamberError(f"the stack is still {_status(client, stack_id)}", "see 'cloudchamber logs'")


def _wait_gone(client: Client, name: str) -> None:
    ends = time.monotonic() + DEPLOY_WITHIN_S
    while time.monotonic() < ends:
        status = _status(client, name)
        if not status:
            return
        if status == "DELETE_FAILED":
            found = client.ask("cloudformation", "DescribeStacks", StackName=name)["Stacks"][0]
            raise ChamberError(f"stack {name} could not be deleted: {found.get('StackStatusReason', '')}")
        time.sleep(0.05)
    raise ChamberError(f"stack {name} is still being deleted", "see 'cloudchamber logs'")


def delete(client: Client, name: str) -> None:
    """Delete a stack and wait until it is gone. Buckets are emptied first: this is the person's own `down`."""
    for resource in client.ask("cloudformation", "ListStackResources", StackName=name)["StackResourceSummaries"]:
        if resource["ResourceType"] == "AWS::S3::Bucket" and resource.get("PhysicalResourceId"):
            _empty(client, resource["PhysicalResourceId"])
    client.ask("cloudformation", "DeleteStack", StackName=name)
    _wait_gone(client, name)


def _empty(client: Client, bucket: str) -> None:
    while True:
        try:
            listed = client.ask("s3", "ListObjectsV2", Bucket=bucket).get("Contents", [])
        except Refused as error:
            if error.code == "NoSuchBucket":
                return
            raise
        if not listed:
            return
        for item in listed:
            client.ask("s3", "DeleteObject", Bucket=bucket, Key=item["Key"])


def instance_addresses(client: Client) -> dict[str, str]:
    """The HTTPS address of each running instance."""
    rows = client.get("api/status")["parts"].get("ec2", [])
    return {row["id"]: row["url"] for row in rows if row.get("url")}


def _start_stopped(client: Client, resources: list[Any], say: Callable[[str], None]) -> None:
    """Start the stack's instances that are stopped, by whomever: `up` ends with an app that answers."""
    ours = [r["PhysicalResourceId"] for r in resources if r["ResourceType"] == "AWS::EC2::Instance"]
    ends = time.monotonic() + APP_WITHIN_S
    for instance in ours:
        state = ""
        while state != "running":
            found = client.ask("ec2", "DescribeInstances", InstanceIds=[instance])["Reservations"][0]["Instances"][0]
            state = found["State"]["Name"]
            if state == "stopped":
                why = found.get("StateReason", {}).get("Message", "")
                say(f"starting {instance}, which was stopped" + (f" ({why})" if why else ""))
                client.ask("ec2", "StartInstances", InstanceIds=[instance])
            elif state in ("shutting-down", "terminated") or time.monotonic() > ends:
                raise ChamberError(
                    f"instance {instance} is {state}, and the stack still names it",
                    "'cloudchamber down' deletes the stack; then up makes it anew",
                )
            elif state != "running":
                time.sleep(0.1)


def _wait_for_apps(client: Client, resources: list[Any], say: Callable[[str], None]) -> dict[str, str]:
    """Wait until the app of each instance answers over HTTPS with less than 500."""
    ours = {r["PhysicalResourceId"] for r in resources if r["ResourceType"] == "AWS::EC2::Instance"}
    addresses = {i: url for i, url in instance_addresses(client).items() if i in ours}
    context = ssl.create_default_context(cadata=(client.state / "ca" / "ca.pem").read_text())
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context))
    for instance, url in addresses.items():
        say(f"waiting for the app on {instance} to answer")
        shown = 0
        ends = time.monotonic() + APP_WITHIN_S
        while not _answers(opener, url):
            output = _console(client, instance)
            for line in output[shown:]:
                say(f"  {instance}  {line}")
            shown = len(output)
            if time.monotonic() > ends:
                raise ChamberError(f"the app on {instance} does not answer", f"see 'cloudchamber logs {instance}'")
            time.sleep(0.25)
    return addresses


def _answers(opener: urllib.request.OpenerDirector, url: str) -> bool:
    host = url.split("/")[2]
    port = host.rpartition(":")[2]
    # Why: names below `localhost` are this machine, but not every resolver knows it.
    request = urllib.request.Request(f"https://127.0.0.1:{port}/", headers={"Host": host})
    try:
        with opener.open(request, timeout=10) as reply:
            return reply.status < 500
    except urllib.error.HTTPError as error:
        return error.code < 500
    except (OSError, urllib.error.URLError):
        return False


def _console(client: Client, instance: str) -> list[str]:
    """What an instance wrote to its console since it booted last."""
    try:
        got = client.ask("ec2", "GetConsoleOutput", InstanceId=instance)
    except Refused:
        return []
    import base64

    output = base64.b64decode(got.get("Output", "")).decode("utf-8", "replace").splitlines()
    boots = [n for n, line in enumerate(output) if line.startswith(f"[cloudchamber] {instance} boots")]
    return output[boots[-1] :] if boots else output
