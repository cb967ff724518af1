# SPDX-License-Identifier: Apache-2.0
"""Commands for several accounts: make and list them, set their organization, keep the keys of token issuers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, cast

import click

from cloudchamber.base.errors import ChamberError
from cloudchamber.cli.group import chamber, json_option, main, say, state_option, table

FILE_OCTETS_MAX = 4 * 1024 * 1024


@main.group()
def account() -> None:
    """Further accounts, each with its own root user: for what happens across accounts."""


@account.command("add")
@click.argument("name")
@click.option("--email", default="", help="The root user's address.")
@state_option
@json_option
def account_add(name: str, email: str, state: str | None, as_json: bool) -> None:
    """Make an account; prints its number and the key pair of its root user, this once."""
    made = chamber(state).post("api/accounts", {"Name": name, "Email": email})
    if as_json:
        click.echo(json.dumps(made))
        return
    table([[word, made[word]] for word in ("Id", "Name", "CanonicalId", "AccessKeyId", "SecretAccessKey")])
    say("the secret is not shown again")


@account.command("list")
@state_option
@json_option
def account_list(state: str | None, as_json: bool) -> None:
    """The accounts; the chamber's first one stands first."""
    found = chamber(state).get("api/accounts")
    if as_json:
        click.echo(json.dumps(found))
        return
    table([("ID", "NAME", "CANONICAL ID"), *((one["Id"], one["Name"], one["CanonicalId"]) for one in found)])


@main.group()
def organization() -> None:
    """The organization: units of accounts, and the policies (SCPs, RCPs) that limit them."""


@organization.command("apply")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@state_option
@json_option
def organization_apply(file: Path, state: str | None, as_json: bool) -> None:
    """Put an organization file (YAML or JSON) in force; it holds from the next call on."""
    source = _read(file)
    if not isinstance(source, dict):
        raise ChamberError(f"{file} is no mapping", "docs/how-to/use-several-accounts.md shows such a file")
    given = cast("dict[str, Any]", source)
    for name, body in _bodies(given):
        if "File" in body:
            path = file.parent / str(body.pop("File"))
            if not path.is_file():
                raise ChamberError(f"policy {name}: there is no file {path}")
            body["Content"] = _read(path)
    _show(chamber(state).post("api/accounts/organization", given), as_json)


@organization.command("show")
@state_option
@json_option
def organization_show(state: str | None, as_json: bool) -> None:
    """The organization in force, with its ids."""
    found = chamber(state).get("api/accounts/organization")
    if found is None:
        raise ChamberError("there is no organization", "'cloudchamber organization apply FILE' makes one")
    _show(found, as_json)


@main.group()
def oidc() -> None:
    """Keys of those who issue web identity tokens."""


@oidc.command("add")
@click.argument("issuer")
@click.option(
    "--jwks", "file", required=True, type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Public keys (RFC 7517).",
)  # fmt: skip
@state_option
def oidc_add(issuer: str, file: Path, state: str | None) -> None:
    """Verify tokens of ISSUER by the keys in a file, instead of fetching them from ISSUER."""
    answer = chamber(state).post("api/accounts/keys", {"Issuer": issuer, "Keys": _read(file)})
    say(f"{answer['Keys']} keys of {issuer} are kept")


def _bodies(given: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    policies = given.get("Policies")
    if not isinstance(policies, dict):
        return []
    found = cast("dict[str, object]", policies).items()
    return [(name, cast("dict[str, Any]", body)) for name, body in found if isinstance(body, dict)]


def _read(file: Path) -> object:
    import yaml

    if file.stat().st_size > FILE_OCTETS_MAX:
        raise ChamberError(f"{file} is longer than {FILE_OCTETS_MAX} octets")
    try:
        # Why: JSON is YAML; BaseLoader leaves account numbers and dates the text that they are
        return yaml.load(file.read_text(encoding="utf-8"), Loader=yaml.BaseLoader)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ChamberError(f"{file} is neither YAML nor JSON: {error}") from error


def _show(found: Any, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(found))
        return
    click.echo(f"organization {found['Id']}, managed by {found['Management']}")
    _tree(found["Root"], "Root", 0)


def _tree(target: dict[str, Any], name: str, depth: int) -> None:
    limits = ", ".join((*target["ServiceControlPolicies"], *target["ResourceControlPolicies"]))
    click.echo(f"{'  ' * (depth + 1)}{name} ({target['Id']}): {limits}")
    for below in (*target.get("Accounts", ()), *target.get("OrganizationalUnits", ())):
        _tree(below, below["Name"], depth + 1)
