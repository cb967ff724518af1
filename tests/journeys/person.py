# SPDX-License-Identifier: Apache-2.0
"""A member without a browser: for many uploads at once, while things are being killed."""

from __future__ import annotations

import http.client
import io
import re
import ssl
import uuid
from pathlib import Path
from urllib.parse import urlencode, urlsplit

from PIL import Image

PASSWORD = "correct horse battery"


def picture(number: int) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (320, 240), (number * 7 % 256, number * 31 % 256, number % 256)).save(out, "PNG")
    return out.getvalue()


class Person:
    """Speaks HTTPS to the app as a browser would, with cookies; every call may raise `OSError`."""

    def __init__(self, url: str, ca_path: Path, name: str) -> None:
        self.host = urlsplit(url).netloc
        self.name = name
        self._context = ssl.create_default_context(cafile=str(ca_path))
        self._cookies: dict[str, str] = {}

    def send(self, method: str, path: str, body: bytes = b"", kind: str = "") -> tuple[int, str]:
        port = int(self.host.rpartition(":")[2])
        connection = http.client.HTTPSConnection("127.0.0.1", port, timeout=60, context=self._context)
        try:
            headers = {"Host": self.host, "Cookie": "; ".join(f"{k}={v}" for k, v in self._cookies.items())}
            if kind:
                headers["Content-Type"] = kind
            connection.request(method, path, body, headers)
            reply = connection.getresponse()
            text = reply.read().decode("utf-8", "replace")
            for value in reply.headers.get_all("Set-Cookie") or []:
                name, _, rest = value.partition("=")
                self._cookies[name] = rest.partition(";")[0]
            return reply.status, text
        except http.client.HTTPException as error:
            raise ConnectionError(str(error)) from error
        finally:
            connection.close()

    def form(self, path: str, **fields: str) -> tuple[int, str]:
        body = urlencode({"token": self._cookies.get("form", ""), **fields}).encode()
        return self.send("POST", path, body, "application/x-www-form-urlencoded")

    def sign_up(self) -> None:
        self.send("GET", "/")
        status, text = self.form("/sign-up", name=self.name, password=PASSWORD)
        assert status == 303, text

    def upload(self, data: bytes) -> bool:
        """Whether the app said yes."""
        border = uuid.uuid4().hex
        token = self._cookies["form"]
        body = (
            (
                f'--{border}\r\nContent-Disposition: form-data; name="token"\r\n\r\n{token}\r\n'
                f'--{border}\r\nContent-Disposition: form-data; name="picture"; filename="me.png"\r\n'
                "Content-Type: image/png\r\n\r\n"
            ).encode()
            + data
            + f"\r\n--{border}--\r\n".encode()
        )
        status, _ = self.send("POST", "/avatar", body, f"multipart/form-data; boundary={border}")
        return status == 303

    def avatar_key(self) -> str:
        """The key that the page reads from the database."""
        found = re.search(r'id="avatar-key">([^<]+)<', self.send("GET", "/")[1])
        return found[1] if found else ""
