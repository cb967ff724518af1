# SPDX-License-Identifier: Apache-2.0
"""Which instance profile an instance has."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cloudchamber.base import ids
from cloudchamber.contract.operation import operation
from cloudchamber.services.ec2 import errors, launch, needs, tables, views
from cloudchamber.services.ec2.checks import inner, many, page, select, takes, with_token
from cloudchamber.services.ec2.instances import look, wanted

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cloudchamber.contract.call import Call
    from cloudchamber.store.database import Reader, Tx


def _view(row: tables.Instance, state: str = "associated") -> dict[str, Any]:
    return {
        "AssociationId": row.association_id,
        "InstanceId": row.id,
        "IamInstanceProfile": {"Arn": row.profile_arn, "Id": row.profile_id},
        "State": state,
        "Timestamp": views.moment(row.associated_at),
    }


def _associated(db: Reader, call: Call, association_id: str) -> tables.Instance:
    for row in tables.instances(db, call.account, call.region, call.now.timestamp()):
        if row.profile_arn and row.association_id == association_id and row.state != "terminated":
            return row
    raise errors.InvalidAssociationIDNotFound(f"An invalid association-id of '{association_id}' was given")


def _profile(call: Call, request: Mapping[str, Any]) -> tuple[str, str]:
    found = launch.resolve_profile(call, inner(request, "IamInstanceProfile"))
    if not found[0]:
        raise errors.MissingParameter(
            "The request must contain the parameter IamInstanceProfile.Name or IamInstanceProfile.Arn"
        )
    return found


def _put(tx: Tx, call: Call, instance_id: str, profile: tuple[str, str], association_id: str) -> tables.Instance:
    tables.update_instance(
        tx,
        instance_id,
        profile_arn=profile[0],
        profile_id=profile[1],
        association_id=association_id,
        associated_at=call.now.timestamp(),
    )
    found = tables.instance(tx, instance_id)
    if found is None:
        raise errors.InvalidInstanceIDNotFound(f"The instance ID '{instance_id}' does not exist")
    return found


@operation("AssociateIamInstanceProfile", needs=needs.associate)
@takes("IamInstanceProfile", "InstanceId")
async def associate_iam_instance_profile(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """Give an instance without a profile one; its metadata service has credentials from then on.

    Source: Amazon EC2 API Reference, AssociateIamInstanceProfile.
    """
    profile = _profile(call, request)
    association_id = ids.hex_id("iip-assoc")

    def change(tx: Tx) -> tables.Instance:
        seen = views.region(tx, call.account, call.region, call.now.timestamp())
        row = wanted(seen, [request["InstanceId"]])[0]
        if row.state not in ("running", "stopped", "pending", "stopping"):
            raise errors.IncorrectInstanceState(f"The instance '{row.id}' is not in a state that allows this.")
        if row.profile_arn:
            raise errors.IncorrectState(f"There is an existing association for instance {row.id}")
        return _put(tx, call, row.id, profile, association_id)

    return {"IamInstanceProfileAssociation": _view(await call.doors.database.write(change), "associating")}


@operation("ReplaceIamInstanceProfileAssociation", needs=needs.association("ReplaceIamInstanceProfileAssociation"))
@takes("IamInstanceProfile", "AssociationId")
async def replace_iam_instance_profile_association(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """Give an instance another profile; the association gets a new id.

    Source: Amazon EC2 API Reference, ReplaceIamInstanceProfileAssociation.
    """
    profile = _profile(call, request)
    association_id = ids.hex_id("iip-assoc")

    def change(tx: Tx) -> tables.Instance:
        return _put(tx, call, _associated(tx, call, request["AssociationId"]).id, profile, association_id)

    return {"IamInstanceProfileAssociation": _view(await call.doors.database.write(change), "associating")}


@operation("DisassociateIamInstanceProfile", needs=needs.association("DisassociateIamInstanceProfile"))
@takes("AssociationId")
async def disassociate_iam_instance_profile(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """Take an instance's profile away; credentials that it has go on until they expire.

    Source: Amazon EC2 API Reference, DisassociateIamInstanceProfile.
    """

    def change(tx: Tx) -> tables.Instance:
        row = _associated(tx, call, request["AssociationId"])
        _put(tx, call, row.id, ("", ""), "")
        return row

    return {"IamInstanceProfileAssociation": _view(await call.doors.database.write(change), "disassociating")}


@operation("DescribeIamInstanceProfileAssociations", needs=needs.look("DescribeIamInstanceProfileAssociations"))
@takes("AssociationIds", "Filters", "MaxResults", "NextToken")
async def describe_iam_instance_profile_associations(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """List associations.

    Source: Amazon EC2 API Reference, DescribeIamInstanceProfileAssociations.
    """
    rows = [row for row in look(call).instances if row.profile_arn and row.state != "terminated"]
    for one in many(request, "AssociationIds"):
        if one not in {row.association_id for row in rows}:
            raise errors.InvalidAssociationIDNotFound(f"An invalid association-id of '{one}' was given")
    if request.get("AssociationIds"):
        rows = [row for row in rows if row.association_id in request["AssociationIds"]]
    chosen, token = page(
        select(rows, request.get("Filters"), {"instance-id": "InstanceId", "state": "State"}, _view),
        request,
        lambda row: row.association_id,
    )
    return with_token({"IamInstanceProfileAssociations": [_view(row) for row in chosen]}, token)
