# SPDX-License-Identifier: Apache-2.0
"""Sign up, upload a picture, see its thumbnail: through real EC2, RDS, S3, Lambda and IAM, in a real browser."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from PIL import Image

from tests.journeys.conftest import EXAMPLE

PASSWORD = "correct horse battery"


@pytest.fixture
def picture(tmp_path):
    path = tmp_path / "me.jpg"
    Image.effect_mandelbrot((900, 700), (-2.2, -1.2, 0.8, 1.2), 60).convert("RGB").save(path, "JPEG")
    return path


def upload_track(flagship):
    """The newest track of an upload."""
    found = [t for t in flagship.tracks() if t["title"] == "ec2 POST /avatar"]
    assert found, [t["title"] for t in flagship.tracks()]
    return max(found, key=lambda t: t["started"])


def test_the_journey(flagship, member, picture):
    assert member.url.startswith("https://")
    member.sign_up("ada", PASSWORD)
    assert member.find("#me").text == "ada"
    member.write("The first post.")
    assert "The first post." in member.text()
    member.upload(picture)
    key = member.find("#avatar-key").text
    assert re.fullmatch(r"users/\d+/avatar\.png", key)
    shown = member.wait(lambda d: member.find('img.large[data-shown="thumbnail"]'))
    member.wait(lambda d: d.execute_script("return arguments[0].naturalWidth", shown) == 256)
    member.shot("profile-app")

    chamber = flagship.chamber
    files = chamber.client("s3")
    bucket = flagship.outputs["FilesBucket"]
    stored = files.get_object(Bucket=bucket, Key=key)
    assert stored["Body"].read(8) == b"\x89PNG\r\n\x1a\n"
    small = files.head_object(Bucket=bucket, Key=f"thumbnails/{key}")
    assert small["Metadata"]["source-etag"] == stored["ETag"].strip('"')

    member.driver.delete_all_cookies()
    member.open()
    member.sign_in("ada", PASSWORD)
    assert "The first post." in member.text()


def steps_of(track):
    return [(s["service"], s["name"], s["resource"]) for s in track["segments"]]


def test_the_upload_is_one_track(flagship, member, picture):
    member.sign_up("grace", PASSWORD)
    member.upload(picture)
    member.wait(lambda d: member.find('img.large[data-shown="thumbnail"]'))
    track = upload_track(flagship)
    assert json.loads(flagship.chamber.cli("track", track["id"], "--json").stdout)["id"] == track["id"]
    segments = track["segments"]
    first = segments[0]
    assert (first["service"], first["name"], first["depth"]) == ("ec2", "POST /avatar", 0)
    assert first["resource"].endswith(f"instance/{flagship.instance}")

    put = next(s for s in segments if s["name"] == "PutObject" and "/users/" in s["resource"])
    assert put["parent_id"] == first["id"]
    assert f"assumed-role/{flagship.outputs['WebRole']}/{flagship.instance}" in put["principal"]
    (reason,) = put["decisions"][0]["because"]
    assert put["decisions"][0]["allowed"] and reason["sid"] == "Pictures"

    update = next(s for s in segments if s["service"] == "rds" and s["name"].startswith("UPDATE users SET avatar_key"))
    assert "traceparent" not in update["name"]
    assert flagship.outputs["WebRole"] in update["principal"]

    run = next(s for s in segments if s["service"] == "lambda" and s["name"].startswith("Run "))
    names = [(s["service"], s["name"]) for s in segments if s["started"] >= run["started"]]
    assert ("s3", "GetObject") in names and ("s3", "PutObject") in names
    written = next(s for s in segments if s["name"] == "PutObject" and "/thumbnails/" in s["resource"])
    assert written["decisions"][0]["because"][0]["sid"] == "WriteThumbnails"
    assert put["started"] <= update["started"] and put["started"] <= run["started"] <= written["started"]

    text = flagship.chamber.cli("track", track["id"]).stdout
    assert "allowed s3:PutObject by statement Pictures" in text


def test_the_console_shows_the_track(flagship, driver, member, picture):
    member.sign_up("katherine", PASSWORD)
    member.upload(picture)
    member.wait(lambda d: member.find('img.large[data-shown="thumbnail"]'))
    track = upload_track(flagship)
    console = json.loads(flagship.chamber.cli("status", "--json").stdout)["console"]
    driver.get(console)
    member.find("#tracks button")
    driver.get(f"{flagship.chamber.endpoint}/_cloudchamber/#{track['id']}")
    driver.refresh()
    member.wait(lambda d: "allowed s3:PutObject by statement Pictures" in member.find("#track").text)
    shown = member.find("#track").text
    assert "UPDATE users SET avatar_key" in shown and "statement WriteThumbnails" in shown
    member.shot("console")


def test_the_console_needs_its_token(flagship):
    import urllib.error
    import urllib.request

    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(f"{flagship.chamber.endpoint}/_cloudchamber/api/status")
    assert refused.value.code == 401


def test_the_role_is_the_wiring(flagship, member, picture):
    iam = flagship.chamber.client("iam")
    role = flagship.outputs["WebRole"]
    work = iam.get_role_policy(RoleName=role, PolicyName="Work")["PolicyDocument"]
    member.sign_up("edith", PASSWORD)
    without = {**work, "Statement": [s for s in work["Statement"] if s["Sid"] != "Pictures"]}
    iam.put_role_policy(RoleName=role, PolicyName="Work", PolicyDocument=json.dumps(without))
    try:
        member.upload(picture)
        notice = member.find(".notice").text
        assert "PutObject was refused: AccessDenied" in notice
        member.shot("denied")
        request_id = notice.rpartition("Request id: ")[2].strip()
        told = flagship.chamber.cli("why", request_id).stdout
        assert "DENIED s3:PutObject" in told and '"Action": "s3:PutObject"' in told
        assert "avatar-key" not in member.driver.page_source
    finally:
        iam.put_role_policy(RoleName=role, PolicyName="Work", PolicyDocument=json.dumps(work))
    member.open()
    member.upload(picture)
    assert member.find("#avatar-key").text


def test_no_key_stands_anywhere(flagship):
    key = re.compile(r"\b(AKIA|ASIA)[A-Z0-9]{16}\b|aws_secret|AWS_SECRET_ACCESS_KEY", re.IGNORECASE)
    texts = {
        p: p.read_text() for p in EXAMPLE.rglob("*") if p.is_file() and p.suffix in (".py", ".yaml", ".sh", ".txt")
    }
    assert Path(EXAMPLE / "template.yaml") in texts
    assert not [p for p, text in texts.items() if key.search(text)]
    ec2 = flagship.chamber.client("ec2")
    import base64

    data = ec2.describe_instance_attribute(InstanceId=flagship.instance, Attribute="userData")["UserData"]["Value"]
    assert not key.search(base64.b64decode(data).decode())
