// SPDX-License-Identifier: Apache-2.0
// The same SDK inside a web page of another origin: everything it does passes CORS. Bundled before it is served.
import {
  DeleteObjectsCommand, GetObjectCommand, HeadObjectCommand, ListObjectsV2Command, PutObjectCommand, S3Client,
} from '@aws-sdk/client-s3';
import { Upload } from '@aws-sdk/lib-storage';

const { endpoint, accessKeyId, secretAccessKey, Bucket } = window.chamber;
const s3 = new S3Client({ endpoint, region: 'us-east-1', forcePathStyle: true, credentials: { accessKeyId, secretAccessKey } });
const expect = (what, found, wanted) => {
  if (JSON.stringify(found) !== JSON.stringify(wanted)) throw new Error(`${what}: ${JSON.stringify(found)}`);
};

async function run() {
  await s3.send(new PutObjectCommand({ Bucket, Key: 'a b/ä.txt', Body: 'hello', Metadata: { from: 'page' } }));
  const got = await s3.send(new GetObjectCommand({ Bucket, Key: 'a b/ä.txt' }));
  expect('body', await got.Body.transformToString(), 'hello');
  expect('metadata', got.Metadata, { from: 'page' });
  const file = new File([new Uint8Array(11 * 1024 * 1024).fill(7)], 'big.bin');
  await new Upload({ client: s3, params: { Bucket, Key: 'big', Body: file } }).done();
  expect('size', (await s3.send(new HeadObjectCommand({ Bucket, Key: 'big' }))).ContentLength, file.size);
  const keys = (await s3.send(new ListObjectsV2Command({ Bucket }))).Contents.map((o) => o.Key);
  expect('keys', keys, ['a b/ä.txt', 'big']);
  await s3.send(new DeleteObjectsCommand({ Bucket, Delete: { Objects: keys.map((Key) => ({ Key })) } }));
  let refused = '';
  try { await s3.send(new GetObjectCommand({ Bucket, Key: 'big' })); } catch (error) { refused = error.name; }
  expect('refused', refused, 'NoSuchKey');
}
run().then(() => { document.title = 'done'; }, (error) => { document.title = `failed: ${error.stack ?? error}`; });
