// SPDX-License-Identifier: Apache-2.0
// The JavaScript SDK, version 3, in Node: streams with trailing checksums, uploads in parts, signed addresses, pages.
import assert from 'node:assert/strict';
import { Readable } from 'node:stream';
import {
  CreateBucketCommand, DeleteBucketCommand, DeleteObjectsCommand, GetObjectCommand, HeadObjectCommand, PutObjectCommand,
  S3Client, paginateListObjectsV2, waitUntilBucketExists,
} from '@aws-sdk/client-s3';
import { Upload } from '@aws-sdk/lib-storage';
import { getSignedUrl } from '@aws-sdk/s3-request-presigner';

const s3 = new S3Client({});
const Bucket = process.env.BUCKET;
await s3.send(new CreateBucketCommand({ Bucket }));
await waitUntilBucketExists({ client: s3, maxWaitTime: 10 }, { Bucket });
const big = Buffer.alloc(3 * 1024 * 1024, 'x');
await s3.send(new PutObjectCommand({
  Bucket, Key: 'stream', Body: Readable.from([big.subarray(0, 1000000), big.subarray(1000000)]), ContentLength: big.length,
  ChecksumAlgorithm: 'SHA256',
}));
const head = await s3.send(new HeadObjectCommand({ Bucket, Key: 'stream', ChecksumMode: 'ENABLED' }));
assert.equal(head.ContentLength, big.length);
assert.ok(head.ChecksumSHA256);
await new Upload({ client: s3, params: { Bucket, Key: 'parts', Body: Buffer.alloc(11 * 1024 * 1024) } }).done();
const put = await getSignedUrl(s3, new PutObjectCommand({ Bucket, Key: 'signed' }));
assert.equal((await fetch(put, { method: 'PUT', body: 'hello' })).status, 200);
const get = await getSignedUrl(s3, new GetObjectCommand({ Bucket, Key: 'signed' }));
const piece = await fetch(get, { headers: { Range: 'bytes=0-3' } });
assert.deepEqual([piece.status, await piece.text()], [206, 'hell']);
await assert.rejects(s3.send(new GetObjectCommand({ Bucket, Key: 'none' })), { name: 'NoSuchKey' });
const keys = [];
for await (const page of paginateListObjectsV2({ client: s3, pageSize: 2 }, { Bucket })) keys.push(...page.Contents.map((o) => o.Key));
assert.deepEqual(keys, ['parts', 'signed', 'stream']);
await s3.send(new DeleteObjectsCommand({ Bucket, Delete: { Objects: keys.map((Key) => ({ Key })) } }));
await s3.send(new DeleteBucketCommand({ Bucket }));
