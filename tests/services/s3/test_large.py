# SPDX-License-Identifier: Apache-2.0
"""Large bodies: past the parser into buffers, hashed and written while more come."""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import http.client
import os
import socket
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from botocore.exceptions import ClientError

from tests.conftest import ROOT_KEY

SIZE = 3 * 1024 * 1024 + 77


def presigned(s3, operation: str, bucket: str, key: str) -> tuple[str, int, str]:
    """Host, port and target of a request that anybody may send."""
    url = urlsplit(s3.generate_presigned_url(operation, {"Bucket": bucket, "Key": key}))
    return url.hostname or "", url.port or 80, f"{url.path}?{url.query}"


def put_head(target: str, host: str, port: int, size: int, more: str = "") -> bytes:
    return f"PUT {target} HTTP/1.1\r\nHost: {host}:{port}\r\nContent-Length: {size}\r\n{more}\r\n".encode()


def answers(sock: socket.socket, count: int) -> list[tuple[int, bytes]]:
    """Status and body of the next answers."""
    told, data = [], b""
    while len(told) < count:
        while b"\r\n\r\n" not in data:
            data += sock.recv(65536)
        head, _, data = data.partition(b"\r\n\r\n")
        length = next(int(line[15:]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:"))
        while len(data) < length:
            data += sock.recv(65536)
        told.append((int(head[9:12]), data[:length]))
        data = data[length:]
    return told


def test_what_follows_a_large_body_in_the_same_breath_is_the_next_request(s3, bucket):
    body, small = os.urandom(SIZE), b"small"
    host, port, large = presigned(s3, "put_object", bucket, "large")
    second = presigned(s3, "put_object", bucket, "second")[2]
    fetch = presigned(s3, "get_object", bucket, "large")[2]
    said = put_head(large, host, port, SIZE) + body + put_head(second, host, port, 5) + small
    said += put_head(large, host, port, SIZE) + body
    said += f"GET {fetch} HTTP/1.1\r\nHost: {host}:{port}\r\n\r\n".encode()
    with socket.create_connection((host, port)) as sock:
        sock.sendall(said)
        told = answers(sock, 4)
    assert [status for status, _ in told] == [200] * 4
    assert told[3][1] == body


@pytest.mark.parametrize("step", [SIZE // 3, 65_536])
def test_a_body_that_waits_for_100_continue_and_comes_in_pieces(s3, bucket, step):
    body = os.urandom(SIZE)
    host, port, target = presigned(s3, "put_object", bucket, "waited")
    with socket.create_connection((host, port)) as sock:
        sock.sendall(put_head(target, host, port, SIZE, "Expect: 100-continue\r\n"))
        assert sock.recv(1024).startswith(b"HTTP/1.1 100")
        for at in range(0, SIZE, step):
            sock.sendall(body[at : at + step])
        assert answers(sock, 1)[0][0] == 200
    assert s3.get_object(Bucket=bucket, Key="waited")["Body"].read() == body


def test_a_large_body_with_another_hash_or_checksum_is_refused_and_the_connection_goes_on(s3, bucket):
    for more in ({"ChecksumSHA256": "A" * 43 + "="}, {"ChecksumCRC32": "AAAAAA=="}, {"ContentMD5": "A" * 22 + "=="}):
        with pytest.raises(ClientError) as refused:
            s3.put_object(Bucket=bucket, Key="other", Body=bytes(SIZE), **more)
        assert refused.value.response["Error"]["Code"] == "BadDigest"
    with pytest.raises(s3.exceptions.NoSuchKey):
        s3.get_object(Bucket=bucket, Key="other")
    told = s3.put_object(Bucket=bucket, Key="other", Body=bytes(SIZE))
    assert told["ETag"].strip('"') == hashlib.md5(bytes(SIZE)).hexdigest()


@pytest.mark.parametrize("sent", [10, 200_000, SIZE - 1])
def test_a_client_that_goes_away_in_a_large_body_leaves_nothing(chamber, s3, bucket, sent):
    host, port, target = presigned(s3, "put_object", bucket, "cut")
    with socket.create_connection((host, port)) as sock:
        sock.sendall(put_head(target, host, port, SIZE) + bytes(sent))
        sock.shutdown(socket.SHUT_WR)
        while sock.recv(65536):
            pass
    assert not list((chamber.state / "s3/blobs/incoming").iterdir())
    with pytest.raises(s3.exceptions.NoSuchKey):
        s3.get_object(Bucket=bucket, Key="cut")


def test_an_encrypted_object_comes_back_whole_in_ranges_and_to_clients_that_wait(s3, bucket):
    body = os.urandom(SIZE)
    s3.put_object(Bucket=bucket, Key="sealed", Body=body)
    assert s3.get_object(Bucket=bucket, Key="sealed")["Body"].read() == body
    for first, last in ((0, 0), (15, 300_000), (SIZE - 5, SIZE - 1)):
        got = s3.get_object(Bucket=bucket, Key="sealed", Range=f"bytes={first}-{last}")
        assert got["Body"].read() == body[first : last + 1]
    host, port, target = presigned(s3, "get_object", bucket, "sealed")
    with socket.create_connection((host, port)) as slow:
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 32768)  # a smaller one costs 40 ms for each 1.5 KB
        slow.sendall(f"GET {target} HTTP/1.1\r\nHost: {host}:{port}\r\n\r\n".encode())
        for _ in range(3):  # Why: others are served while it takes nothing
            assert s3.get_object(Bucket=bucket, Key="sealed")["Body"].read() == body
        assert answers(slow, 1) == [(200, body)]


def resident_mib(pid: int) -> float:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS:")) / 1024


def test_many_uploads_of_a_gib_at_once_hold_little(chamber, s3, bucket):
    before = resident_mib(chamber.about["pid"])
    with contextlib.ExitStack() as stack:
        for number in range(80):
            host, port, target = presigned(s3, "put_object", bucket, f"many/{number}")
            sock = stack.enter_context(socket.create_connection((host, port)))
            sock.sendall(put_head(target, host, port, 1024**3) + bytes(1024**2))
        held = resident_mib(chamber.about["pid"]) - before
        s3.put_object(Bucket=bucket, Key="other", Body=bytes(SIZE))  # others are served meanwhile
    assert held < 45


def chunked(s3, bucket: str, body: bytes, spoil: int = -1) -> tuple[int, bytes]:
    """Upload in signed chunks, as minio's clients do; `spoil`: the chunk whose signature is wrong."""
    url = urlsplit(s3.meta.endpoint_url)
    access, _, secret = ROOT_KEY.partition(":")
    host, step = f"{url.hostname}:{url.port}", 65_536
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    scope = f"{stamp[:8]}/us-east-1/s3/aws4_request"
    key = f"AWS4{secret}".encode()
    for part in scope.split("/"):
        key = hmac.digest(key, part.encode(), "sha256")

    def sign(*lines: str) -> str:
        return hmac.digest(key, "\n".join(lines).encode(), "sha256").hex()

    told = {
        "host": host,
        "x-amz-content-sha256": "STREAMING-AWS4-HMAC-SHA256-PAYLOAD",
        "x-amz-date": stamp,
        "x-amz-decoded-content-length": str(len(body)),
    }
    names, lines = ";".join(told), "".join(f"{name}:{value}\n" for name, value in told.items())
    request = "\n".join(("PUT", f"/{bucket}/chunks", "", lines, names, told["x-amz-content-sha256"]))
    last = sign("AWS4-HMAC-SHA256", stamp, scope, hashlib.sha256(request.encode()).hexdigest())
    told["authorization"] = f"AWS4-HMAC-SHA256 Credential={access}/{scope},SignedHeaders={names},Signature={last}"
    framed, empty = b"", hashlib.sha256().hexdigest()
    for number, at in enumerate(range(0, len(body) + step, step)):
        chunk = body[at : at + step] if at < len(body) else b""
        last = sign("AWS4-HMAC-SHA256-PAYLOAD", stamp, scope, last, empty, hashlib.sha256(chunk).hexdigest())
        shown = "0" * 64 if number == spoil else last
        framed += b"%x;chunk-signature=%b\r\n%b\r\n" % (len(chunk), shown.encode(), chunk)
        if not chunk:
            break
    with contextlib.closing(http.client.HTTPConnection(host)) as connection:
        connection.request("PUT", f"/{bucket}/chunks", framed, told)
        answer = connection.getresponse()
        return answer.status, answer.read()


def test_signed_chunks_are_checked_one_by_one(s3, bucket):
    body = os.urandom(SIZE)
    assert chunked(s3, bucket, body)[0] == 200
    assert s3.get_object(Bucket=bucket, Key="chunks")["Body"].read() == body
    for spoil in (0, 30, SIZE // 65_536 + 1):
        status, told = chunked(s3, bucket, bytes(SIZE), spoil)
        assert (status, b"SignatureDoesNotMatch" in told) == (403, True)
    assert s3.get_object(Bucket=bucket, Key="chunks")["Body"].read() == body
