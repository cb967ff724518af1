# SPDX-License-Identifier: Apache-2.0
"""s3fs with pandas, and pyarrow's own S3 file system: the same table by each, read by each other."""

import os
from urllib.parse import urlsplit

import pandas
import pyarrow.dataset
import pyarrow.fs
import pyarrow.parquet
import s3fs

BUCKET = os.environ["BUCKET"]
endpoint = urlsplit(os.environ["AWS_ENDPOINT_URL"])
files = s3fs.S3FileSystem()
files.mkdir(BUCKET)
with files.open(f"{BUCKET}/big", "wb") as sink:
    sink.write(b"x" * (12 << 20))
assert files.info(f"{BUCKET}/big")["size"] == 12 << 20
files.mv(f"{BUCKET}/big", f"{BUCKET}/moved")
assert not files.exists(f"{BUCKET}/big")

table = pandas.DataFrame({"n": range(100_000), "name": [f"row {n}" for n in range(100_000)]})
table.to_parquet(f"s3://{BUCKET}/table.parquet")
table.to_csv(f"s3://{BUCKET}/table.csv", index=False)
assert pandas.read_csv(f"s3://{BUCKET}/table.csv").equals(pandas.read_parquet(f"s3://{BUCKET}/table.parquet"))

arrow = pyarrow.fs.S3FileSystem(endpoint_override=endpoint.netloc, scheme=endpoint.scheme, region="us-east-1")
seen = pyarrow.parquet.read_table(f"{BUCKET}/table.parquet", filesystem=arrow)
assert seen.num_rows == 100_000
pyarrow.dataset.write_dataset(
    seen, f"{BUCKET}/parts", filesystem=arrow, format="parquet", max_rows_per_file=30_000, max_rows_per_group=30_000
)
assert pyarrow.dataset.dataset(f"{BUCKET}/parts", filesystem=arrow).count_rows() == 100_000
assert len(files.glob(f"{BUCKET}/parts/*.parquet")) == 4
files.rm(BUCKET, recursive=True)
assert not files.exists(BUCKET)
