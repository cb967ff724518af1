# SPDX-License-Identifier: Apache-2.0
"""Debian's Chromium, headless, trusting one chamber's certificate authority and nothing else of ours."""

from __future__ import annotations

import base64
import hashlib
import os
import tempfile
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from selenium import webdriver
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

WITHIN_S = 30


def open_browser(ca_path: Path) -> Any:
    """A browser with an empty profile. `ca_path` is the chamber's `ca.pem`."""
    options = Options()
    options.binary_location = "/usr/bin/chromium"
    for argument in (
        "--headless=new", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
        "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage", "--window-size=1100,1400",
        f"--user-data-dir={tempfile.mkdtemp(prefix='chromium-')}",
        f"--ignore-certificate-errors-spki-list={_public_key_hash(ca_path)}",
    ):  # fmt: skip
        options.add_argument(argument)
    if os.geteuid() == 0:
        options.add_argument("--no-sandbox")
    return webdriver.Chrome(options=options, service=Service("/usr/bin/chromedriver"))


def _public_key_hash(ca_path: Path) -> str:
    key = x509.load_pem_x509_certificate(ca_path.read_bytes()).public_key()
    spki = key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return base64.b64encode(hashlib.sha256(spki).digest()).decode()


class Member:
    """A person at the app's page."""

    def __init__(self, driver: Any, url: str) -> None:
        self.driver = driver
        self.url = url

    def open(self) -> None:
        self.driver.get(self.url)

    def find(self, selector: str) -> Any:
        return WebDriverWait(self.driver, WITHIN_S).until(lambda d: d.find_element(By.CSS_SELECTOR, selector))

    def wait(self, seen: Any) -> Any:
        return WebDriverWait(self.driver, WITHIN_S, poll_frequency=0.02).until(seen)

    def shot(self, name: str) -> None:
        """Keep a picture of the page, where CI and people can look at it."""
        folder = Path(os.environ.get("CLOUDCHAMBER_SHOTS", tempfile.gettempdir()))
        folder.mkdir(parents=True, exist_ok=True)
        self.driver.save_screenshot(str(folder / f"{name}.png"))

    def text(self) -> str:
        return self.find("body").text

    def submit(self, form: str, **fields: str) -> None:
        """Fill a form, send it, and wait for the next page."""
        old = self.find("html")
        for name, value in fields.items():
            self.find(f'{form} [name="{name}"]').send_keys(value)
        self.find(f"{form} button").click()
        self.wait(lambda _: _gone(old))

    def sign_up(self, name: str, password: str) -> None:
        self.submit('form[action="/sign-up"]', name=name, password=password)

    def sign_in(self, name: str, password: str) -> None:
        self.submit('form[action="/sign-in"]', name=name, password=password)

    def write(self, body: str) -> None:
        self.submit('form[action="/posts"]', body=body)

    def upload(self, path: Path) -> None:
        self.submit('form[action="/avatar"]', picture=str(path))


def _gone(element: Any) -> bool:
    from selenium.common.exceptions import StaleElementReferenceException, WebDriverException

    try:
        element.is_enabled()
    except StaleElementReferenceException:
        return True
    except WebDriverException as error:
        # Why: while the next document loads, the driver may say that the node belongs to another document.
        return "does not belong to the document" in str(error)
    return False
