# SPDX-License-Identifier: Apache-2.0
"""Serve `page.mjs`, bundled, from an origin of its own, and open it in Chromium: first without CORS, then with it."""

import os
import subprocess
import sys
import threading
from functools import partial
from html import escape
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from json import dumps
from pathlib import Path

import boto3
from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.support.ui import WebDriverWait

BUCKET = os.environ["BUCKET"]
bundler, script = sys.argv[1:]
page = Path("page")
page.mkdir()
subprocess.run([bundler, script, "--bundle", f"--outfile={page}/bundle.js", "--log-level=error"], check=True)
told = {
    "endpoint": os.environ["AWS_ENDPOINT_URL"],
    "accessKeyId": os.environ["AWS_ACCESS_KEY_ID"],
    "secretAccessKey": os.environ["AWS_SECRET_ACCESS_KEY"],
    "Bucket": BUCKET,
}
(page / "index.html").write_text(
    f'<!doctype html><meta charset="utf-8"><title>{escape("running")}</title>'
    f'<script>window.chamber = {dumps(told)}</script><script src="bundle.js"></script>'
)
server = ThreadingHTTPServer(("127.0.0.1", 0), partial(SimpleHTTPRequestHandler, directory=str(page)))
threading.Thread(target=server.serve_forever, daemon=True).start()
origin = f"http://127.0.0.1:{server.server_port}"

s3 = boto3.client("s3")
s3.create_bucket(Bucket=BUCKET)
options = webdriver.ChromeOptions()
options.binary_location = "/usr/bin/chromium"
for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"):
    options.add_argument(argument)


def seen() -> str:
    """What the page's title says in the end."""
    with webdriver.Chrome(options=options, service=Service("/usr/bin/chromedriver")) as driver:
        driver.get(f"{origin}/index.html")
        WebDriverWait(driver, 60).until(lambda d: d.title != "running")
        return driver.title


assert seen().startswith("failed: TypeError: Failed to fetch"), "a page of another origin got in without CORS"
rule = {
    "AllowedOrigins": [origin],
    "AllowedMethods": ["GET", "PUT", "POST", "DELETE", "HEAD"],
    "AllowedHeaders": ["*"],
    # Why the checksum: the SDK must read those of the parts to name them when it completes an upload
    "ExposeHeaders": ["ETag", "x-amz-meta-from", "x-amz-checksum-crc32"],
}
s3.put_bucket_cors(Bucket=BUCKET, CORSConfiguration={"CORSRules": [rule]})
assert (title := seen()) == "done", title
s3.delete_bucket(Bucket=BUCKET)
server.shutdown()
