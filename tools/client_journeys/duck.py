# SPDX-License-Identifier: Apache-2.0
"""duckdb over s3fs (its own extension is fetched from the net): a table written in parts and queried where it lies."""

import os

import duckdb
import s3fs

BUCKET = os.environ["BUCKET"]
files = s3fs.S3FileSystem()
files.mkdir(BUCKET)
base = duckdb.connect()
base.register_filesystem(files)
base.execute("CREATE TABLE sales AS SELECT range AS n, range % 3 AS shop, range * 1.5 AS price FROM range(90000)")
for shop in range(3):
    base.execute(
        f"COPY (FROM sales WHERE shop = {shop}) TO 's3://{BUCKET}/sales/shop={shop}/all.parquet' (FORMAT parquet)"
    )
rows = base.execute(
    f"SELECT shop, count(*), sum(price) FROM read_parquet('s3://{BUCKET}/sales/*/*.parquet', hive_partitioning = true)"
    " GROUP BY shop ORDER BY shop"
).fetchall()
assert [(shop, count) for shop, count, _ in rows] == [(0, 30000), (1, 30000), (2, 30000)], rows
assert float(sum(price for _, _, price in rows)) == sum(n * 1.5 for n in range(90000))
base.close()
files.rm(BUCKET, recursive=True)
