# SPDX-License-Identifier: Apache-2.0
"""A web page of another origin reads and writes a bucket: the browser asks, and CORS decides."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from functools import partial
from hashlib import md5
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from botocore.config import Config

from tests.conftest import RunningChamber
from tests.journeys.browser import open_browser

BUCKET = "pages-of-test-cors-page"
TRY = """
const [put, get, done] = arguments;
(async () => {
  const sent = await fetch(put, {method: 'PUT', body: 'from a page', headers: {'x-amz-meta-from': 'page'}});
  const got = await fetch(get);
  return [sent.status, sent.headers.get('etag'), await got.text(), got.headers.get('x-amz-meta-from')];
})().then(done, (error) => done(String(error)));
"""


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def origin(tmp_path: Path) -> Iterator[str]:
    (tmp_path / "index.html").write_text("<!doctype html><title>a page of somebody's</title>")
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(tmp_path)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_a_page_of_another_origin(chamber: RunningChamber, origin: str) -> None:
    s3 = chamber.client("s3")
    s3.create_bucket(Bucket=BUCKET)
    target = {"Bucket": BUCKET, "Key": "note.txt"}
    signing = chamber.client("s3", config=Config(signature_version="s3v4"))
    put = signing.generate_presigned_url("put_object", {**target, "Metadata": {"from": "page"}})
    get = signing.generate_presigned_url("get_object", target)
    rule = {
        "AllowedOrigins": [origin],
        "AllowedMethods": ["GET", "PUT"],
        "AllowedHeaders": ["x-amz-meta-*"],
        "ExposeHeaders": ["ETag"],
    }
    with open_browser(chamber.state / "ca" / "ca.pem") as driver:
        driver.get(f"{origin}/index.html")
        assert driver.execute_async_script(TRY, put, get) == "TypeError: Failed to fetch"
        assert "Contents" not in s3.list_objects_v2(Bucket=BUCKET)
        s3.put_bucket_cors(Bucket=BUCKET, CORSConfiguration={"CORSRules": [rule]})
        seen = driver.execute_async_script(TRY, put, get)
    # Why None: the header is sent, but the rule does not expose it to pages.
    assert seen == [200, f'"{md5(b"from a page").hexdigest()}"', "from a page", None]
    assert s3.head_object(**target)["Metadata"] == {"from": "page"}
