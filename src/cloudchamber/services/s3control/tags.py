# SPDX-License-Identifier: Apache-2.0
"""Tags of buckets by their ARN: single ones are set and removed, where PutBucketTagging replaces all.

Source: Amazon S3 API Reference, S3 Control, TagResource.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from cloudchamber.contract.operation import Need, operation
from cloudchamber.services.s3control.errors import InvalidTag, NoSuchResource
from cloudchamber.services.s3control.public_access import own_account

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from cloudchamber.contract.call import Call

    Request = Mapping[str, Any]
    Needs = Callable[[Call, Request], Iterable[Need]]

TAGS_MAX = 50
_ARN = re.compile(r"arn:aws:s3:::([a-z0-9][a-z0-9.-]+)")
_TAG = re.compile(r"[\w\s+\-=._:/@]*")
_INVALID = (
    "This request contains a tag key or value that isn't valid. Valid characters include the following: "
    "[a-zA-Z+-=._:/]. Tag keys can contain up to 128 characters. Tag values can contain up to 256 characters."
)


def _on_bucket(action: str) -> Needs:
    def needs(call: Call, request: Request) -> Iterable[Need]:
        context: dict[str, Any] = {}
        if "Tags" in request:
            context = {f"aws:RequestTag/{tag['Key']}": tag["Value"] for tag in request["Tags"]}
            context["aws:TagKeys"] = tuple(tag["Key"] for tag in request["Tags"])
        elif "TagKeys" in request:
            context["aws:TagKeys"] = tuple(request["TagKeys"])
        yield Need(action, f"arn:aws:s3:::{request['ResourceArn'].removeprefix('arn:aws:s3:::')}", context)

    return needs


async def _retag(call: Call, request: Request, set_: Mapping[str, str], remove: frozenset[str]) -> None:
    own_account(call, request)
    found = _ARN.fullmatch(request["ResourceArn"])
    account = call.account
    done = found is not None and await call.doors.parts["s3"].retag_bucket(found[1], account, set_, remove, TAGS_MAX)
    if done is None:
        raise InvalidTag(f"The number of tags exceeds the limit of {TAGS_MAX}.")
    if not done:
        raise NoSuchResource("The specified resource doesn't exist.")


@operation("TagResource", needs=_on_bucket("s3:TagResource"))
async def tag_resource(call: Call, request: Request) -> dict[str, Any]:
    """Set tags of a bucket; others stay.

    Raises:
        NoSuchResource: there is no such bucket in the account. InvalidTag: nothing changed.

    Source: Amazon S3 API Reference, S3 Control, TagResource.
    """
    tags: dict[str, str] = {}
    for tag in request["Tags"]:
        key, value = tag["Key"], tag["Value"]
        if key.lower().startswith("aws:"):
            raise InvalidTag(
                'User-defined tag keys can\'t start with "aws:". This prefix is reserved for system tags. Remove '
                '"aws:" from your tag keys and try again.'
            )
        if key in tags:
            raise InvalidTag(
                "There are duplicate tag keys in your request. Remove the duplicate tag keys and try again."
            )
        if not 1 <= len(key) <= 128 or len(value) > 256 or not _TAG.fullmatch(key) or not _TAG.fullmatch(value):
            raise InvalidTag(_INVALID)
        tags[key] = value
    await _retag(call, request, tags, frozenset())
    return {}


@operation("UntagResource", needs=_on_bucket("s3:UntagResource"))
async def untag_resource(call: Call, request: Request) -> dict[str, Any]:
    """Remove tags of a bucket. Source: Amazon S3 API Reference, S3 Control, UntagResource."""
    await _retag(call, request, {}, frozenset(request["TagKeys"]))
    return {}


@operation("ListTagsForResource", needs=_on_bucket("s3:ListTagsForResource"))
async def list_tags_for_resource(call: Call, request: Request) -> dict[str, Any]:
    """Tags of a bucket. Source: Amazon S3 API Reference, S3 Control, ListTagsForResource."""
    account = own_account(call, request)
    found = _ARN.fullmatch(request["ResourceArn"])
    tags = None if found is None else call.doors.parts["s3"].bucket_tags(found[1], account)
    if tags is None:
        raise NoSuchResource("The specified resource doesn't exist.")
    return {"Tags": [{"Key": key, "Value": value} for key, value in tags.items()]}
