# SPDX-License-Identifier: Apache-2.0
"""A page of somebody's own, in a real browser, sends a file straight to a bucket."""

from __future__ import annotations

from html import escape
from pathlib import Path

from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

from tests.conftest import RunningChamber
from tests.journeys.browser import WITHIN_S, open_browser

BUCKET = "uploads-of-test-form"


def test_a_browser_sends_a_file(chamber: RunningChamber, tmp_path: Path) -> None:
    s3 = chamber.client("s3")
    s3.create_bucket(Bucket=BUCKET)
    more = {"success_action_status": "201", "x-amz-meta-from": "a page", "Content-Type": "image/png"}
    form = s3.generate_presigned_post(
        BUCKET,
        "photos/${filename}",
        Fields=more,
        Conditions=[*({n: v} for n, v in more.items()), ["content-length-range", 1, 10_000_000]],
    )
    hidden = "".join(f'<input type="hidden" name="{escape(n)}" value="{escape(v)}">' for n, v in form["fields"].items())
    page = tmp_path / "upload.html"
    page.write_text(
        '<!doctype html><meta charset="utf-8">'
        f'<form method="post" enctype="multipart/form-data" action="{form["url"]}">{hidden}'
        '<input id="file" type="file" name="file"><button id="send">Send</button></form>'
    )
    picture = tmp_path / "my “first” photo é.png"
    picture.write_bytes(bytes(range(256)) * 1000)
    chamber.client("sts").get_caller_identity()
    with open_browser(chamber.state / "ca" / "ca.pem") as driver:
        driver.get(page.as_uri())
        driver.find_element(By.ID, "file").send_keys(str(picture))
        driver.find_element(By.ID, "send").click()
        WebDriverWait(driver, WITHIN_S).until(lambda d: "PostResponse" in d.page_source or "Error" in d.page_source)
        assert "PostResponse" in driver.page_source, driver.page_source
    found = s3.get_object(Bucket=BUCKET, Key=f"photos/{picture.name}")
    assert found["Body"].read() == picture.read_bytes()
    assert (found["ContentType"], found["Metadata"]) == ("image/png", {"from": "a page"})
