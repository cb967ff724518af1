# SPDX-License-Identifier: Apache-2.0
"""aioboto3: many requests at once, a transfer in parts, a paginator."""

import asyncio
import io
import os

import aioboto3

BUCKET = os.environ["BUCKET"]


async def main() -> None:
    async with aioboto3.Session().client("s3") as s3:
        await s3.create_bucket(Bucket=BUCKET)
        await asyncio.gather(*(s3.put_object(Bucket=BUCKET, Key=f"{n:03d}", Body=b"%d" % n) for n in range(100)))
        data = os.urandom(17 << 20)
        await s3.upload_fileobj(io.BytesIO(data), BUCKET, "big")
        got = await s3.get_object(Bucket=BUCKET, Key="big")
        assert await got["Body"].read() == data
        keys = []
        async for page in s3.get_paginator("list_objects_v2").paginate(Bucket=BUCKET, PaginationConfig={"PageSize": 7}):
            keys += [one["Key"] for one in page["Contents"]]
        assert keys == [*(f"{n:03d}" for n in range(100)), "big"]
        await s3.delete_objects(Bucket=BUCKET, Delete={"Objects": [{"Key": key} for key in keys]})
        await s3.delete_bucket(Bucket=BUCKET)


asyncio.run(main())
