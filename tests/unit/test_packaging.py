# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import io
import zipfile
from pathlib import Path

import pytest
import yaml

from cloudchamber import packaging
from cloudchamber.base.errors import ChamberError

TEMPLATE = """
Transform: AWS::Serverless-2016-10-31
Metadata: {Assets: {App: {Path: app, BucketParameter: AppBucket, KeyParameter: AppKey}}}
Resources:
  Thumb: {Type: AWS::Serverless::Function, Properties: {CodeUri: thumb, Handler: a.b}}
  Same: {Type: AWS::Lambda::Function, Properties: {Code: thumb/, Role: !GetAtt R.Arn}}
  Inline: {Type: AWS::Lambda::Function, Properties: {Code: {ZipFile: x}}}
"""


def make(folder: Path) -> Path:
    for name in ("app/main.py", "app/tests/t.py", "app/.venv/x.py", "thumb/a.py", "thumb/__pycache__/a.pyc"):
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(name)
    (folder / "template.yaml").write_text(TEMPLATE)
    return folder / "template.yaml"


def test_archives_are_deterministic_and_shared(tmp_path: Path) -> None:
    template = make(tmp_path / "one")
    first = packaging.package(template, tmp_path / "cache")
    second = packaging.package(make(tmp_path / "two"), tmp_path / "cache")
    assert first.archives == second.archives and len(first.archives) == 2
    names = {n for path in first.archives.values() for n in zipfile.ZipFile(io.BytesIO(path.read_bytes())).namelist()}
    assert names == {"main.py", "a.py"}
    text, parameters = first.resolve("bucket")
    body = yaml.safe_load(text)
    assert parameters == {"AppBucket": "bucket", "AppKey": parameters["AppKey"]}
    assert parameters["AppKey"] in first.archives
    uri = body["Resources"]["Thumb"]["Properties"]["CodeUri"]
    assert uri["Bucket"] == "bucket" and uri["Key"] in first.archives
    assert body["Resources"]["Same"]["Properties"]["Code"] == {"S3Bucket": "bucket", "S3Key": uri["Key"]}
    assert body["Resources"]["Same"]["Properties"]["Role"] == {"Fn::GetAtt": ["R", "Arn"]}
    assert body["Resources"]["Inline"]["Properties"]["Code"] == {"ZipFile": "x"}


def test_packages_are_installed_once(tmp_path: Path) -> None:
    template = make(tmp_path / "one")
    wheel = tmp_path / "tiny-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as target:
        target.writestr("tiny.py", "x = 1\n")
        target.writestr("tiny-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: tiny\nVersion: 1.0\n")
        target.writestr("tiny-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        target.writestr("tiny-1.0.dist-info/RECORD", "tiny.py,,\n")
    (tmp_path / "one/thumb/requirements.txt").write_text(f"{wheel}\n")
    told: list[str] = []
    first = packaging.package(template, tmp_path / "cache", told.append)
    assert any("installing the packages" in line for line in told)
    told.clear()
    second = packaging.package(template, tmp_path / "cache", told.append)
    assert first.archives == second.archives and not any("installing" in line for line in told)
    names = [n for p in first.archives.values() for n in zipfile.ZipFile(p).namelist()]
    assert "tiny.py" in names and "a.py" in names


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    template = tmp_path / "template.yaml"
    template.write_text("Resources: {F: {Type: AWS::Lambda::Function, Properties: {Code: nowhere}}}")
    with pytest.raises(ChamberError, match="F names nowhere, which does not exist"):
        packaging.references(template)


def test_an_example_is_copied_to_new_folders_only(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("mine")
    with pytest.raises(ChamberError):
        packaging.copy_example(tmp_path)


def test_packages_are_for_the_python_that_the_function_runs_on(monkeypatch, tmp_path):
    monkeypatch.setattr(packaging.interpreters, "python", lambda minor: (f"/opt/python3.{minor}", f"3.{minor}.1"))
    (tmp_path / "code").mkdir()
    (tmp_path / "template.yaml").write_text(
        "Globals: {Function: {Runtime: python3.13}}\n"
        "Resources:\n"
        "  A: {Type: 'AWS::Serverless::Function', Properties: {CodeUri: code}}\n"
        "  B: {Type: 'AWS::Lambda::Function', Properties: {Code: code, Runtime: python3.12}}\n"
        "  C: {Type: 'AWS::Lambda::Function', Properties: {Code: code, Runtime: nodejs22.x}}\n"
    )
    found = {one.name: one.python for one in packaging.references(tmp_path / "template.yaml")}
    assert found == {"A": "/opt/python3.13", "B": "/opt/python3.12", "C": ""}


def test_links_lead_into_the_folder_or_nowhere(tmp_path: Path) -> None:
    folder, secret = tmp_path / "code", tmp_path / "secret"
    (folder / "lib").mkdir(parents=True)
    (folder / "real.py").write_text("x = 1\n")
    (folder / "lib" / "same.py").symlink_to("../real.py")
    (folder / "lib" / "gone.py").symlink_to("nowhere.py")
    (folder / "others").symlink_to("/etc", target_is_directory=True)
    made = packaging.archive(folder, tmp_path / "cache")
    assert sorted(zipfile.ZipFile(made).namelist()) == ["lib/same.py", "real.py"]
    secret.write_text("key")
    (folder / "lib" / "config").symlink_to(secret)
    with pytest.raises(ChamberError, match="is a link to"):
        packaging.archive(folder, tmp_path / "cache")
    (folder / "lib" / "config").unlink()
    # The folder itself may be a link: the user named it.
    (tmp_path / "named").symlink_to(folder)
    assert packaging.archive(tmp_path / "named", tmp_path / "cache") == made
