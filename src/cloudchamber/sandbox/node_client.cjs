// SPDX-License-Identifier: Apache-2.0
//
// What runs in a sandbox that is a Lambda environment for Node.js: gets events from the Runtime API, calls the
// handler, answers. It needs nothing but Node.js itself; the AWS SDK is not in it: bring it in the package.
//
// Source: Lambda Developer Guide, "Using the Lambda runtime API", "Define Lambda function handler in Node.js",
// "Response streaming for Lambda functions", "Log and monitor Node.js Lambda functions".
'use strict';

const fs = require('node:fs');
const http = require('node:http');
const path = require('node:path');
const util = require('node:util');
const { createRequire } = require('node:module');
const { pathToFileURL } = require('node:url');
const { Writable } = require('node:stream');

const env = process.env;
const [apiHost, apiPort] = env.AWS_LAMBDA_RUNTIME_API.split(':');
const prefix = '/2018-06-01/runtime/';
const agent = new http.Agent({ keepAlive: true, maxSockets: 2 });
const asJson = env.AWS_LAMBDA_LOG_FORMAT === 'JSON';
const levels = { TRACE: 0, DEBUG: 1, INFO: 2, WARN: 3, ERROR: 4, FATAL: 5 };
const least = levels[env.AWS_LAMBDA_LOG_LEVEL] ?? 0;
const streaming = Symbol.for('aws.lambda.runtime.handler.streaming');
let requestId = '';

// -- logs ---------------------------------------------------------------------------------------------------------

function write(line) {
  fs.writeSync(1, line.replace(/\n/g, '\r') + '\n');
}

function log(level, values) {
  if (asJson) {
    if (levels[level] < least) return;
    const record = { timestamp: new Date().toISOString(), level, requestId };
    if (values.length === 1 && typeof values[0] === 'object' && !(values[0] instanceof Error)) record.message = values[0];
    else record.message = util.format(...values);
    const error = values.find((v) => v instanceof Error);
    if (error) Object.assign(record, described(error), { stackTrace: String(error.stack || '').split('\n') });
    try {
      write(JSON.stringify(record));
    } catch {
      write(JSON.stringify({ ...record, message: util.format(...values) }));
    }
    return;
  }
  write(`${new Date().toISOString()}\t${requestId || 'undefined'}\t${level}\t${util.format(...values)}`);
}

for (const [name, level] of Object.entries({ log: 'INFO', info: 'INFO', warn: 'WARN', error: 'ERROR', debug: 'DEBUG', trace: 'TRACE' })) {
  console[name] = (...values) => log(level, values);
}
console.fatal = (...values) => log('FATAL', values);

function described(error) {
  if (error instanceof Error || (error && typeof error === 'object' && 'message' in error && 'stack' in error)) {
    return { errorType: error.name || 'Error', errorMessage: String(error.message) };
  }
  return { errorType: typeof error, errorMessage: typeof error === 'string' ? error : util.inspect(error) };
}

function document(error) {
  const trace = error && error.stack ? String(error.stack).split('\n') : [];
  return { ...described(error), trace };
}

// -- the Runtime API ------------------------------------------------------------------------------------------------

function used() {
  return `maxrss-kb=${process.resourceUsage().maxRSS}`;
}

function call(method, where, body, headers = {}) {
  return new Promise((resolve, reject) => {
    const options = { host: apiHost, port: apiPort, method, path: prefix + where, agent, headers };
    if (body !== undefined) headers['Content-Length'] = Buffer.byteLength(body);
    const request = http.request(options, (answer) => {
      const pieces = [];
      answer.on('data', (piece) => pieces.push(piece));
      answer.on('end', () => resolve({ status: answer.statusCode, headers: answer.headers, body: Buffer.concat(pieces) }));
      answer.on('error', reject);
    });
    request.setTimeout(0);
    request.on('error', reject);
    request.end(body);
  });
}

async function fail(where, error, kind) {
  const told = document(error);
  if (kind) told.errorType = kind;
  await call('POST', where, JSON.stringify(told), {
    'Content-Type': `application/json; ${used()}`,
    'Lambda-Runtime-Function-Error-Type': told.errorType,
  });
  return told;
}

// -- the handler ----------------------------------------------------------------------------------------------------

class Named extends Error {
  constructor(kind, message) {
    super(message);
    this.name = kind;
  }
}

globalThis.awslambda = {
  streamifyResponse(handler, options) {
    handler[streaming] = 'response';
    handler.highWaterMark = options && options.highWaterMark;
    return handler;
  },
  HttpResponseStream: {
    from(stream, metadata) {
      stream.setContentType('application/vnd.awslambda.http-integration-response');
      stream._begin = JSON.stringify(metadata) + '\0'.repeat(8);
      return stream;
    },
  },
};

function isModule(file) {
  if (file.endsWith('.mjs')) return true;
  if (file.endsWith('.cjs')) return false;
  for (let folder = path.dirname(file); ; folder = path.dirname(folder)) {
    const about = path.join(folder, 'package.json');
    if (fs.existsSync(about)) return JSON.parse(fs.readFileSync(about, 'utf8')).type === 'module';
    if (folder === path.dirname(folder)) return false;
  }
}

async function load() {
  const root = env.LAMBDA_TASK_ROOT;
  const named = env._HANDLER;
  const base = path.basename(named);
  const dot = base.indexOf('.');
  if (dot < 0 || named.includes('..')) throw new Named('Runtime.MalformedHandlerName', 'Bad handler');
  const stem = path.resolve(root, path.dirname(named), base.slice(0, dot));
  const file = ['', '.js', '.mjs', '.cjs'].map((ending) => stem + ending).find((f) => fs.existsSync(f) && fs.statSync(f).isFile());
  if (!file) throw new Named('Runtime.ImportModuleError', `Error: Cannot find module '${path.basename(stem)}'`);
  let loaded;
  try {
    loaded = isModule(file) ? await import(pathToFileURL(file)) : createRequire(file)(file);
  } catch (error) {
    if (error instanceof SyntaxError) throw Object.assign(new Named('Runtime.UserCodeSyntaxError', String(error)), { stack: error.stack });
    if (error && (error.code === 'MODULE_NOT_FOUND' || error.code === 'ERR_MODULE_NOT_FOUND')) {
      throw Object.assign(new Named('Runtime.ImportModuleError', `Error: ${explained(String(error.message))}`), { stack: error.stack });
    }
    throw error;
  }
  let found = loaded;
  for (const name of base.slice(dot + 1).split('.')) found = found && found[name];
  if (found === undefined) throw new Named('Runtime.HandlerNotFound', `${named} is undefined or not exported`);
  if (typeof found !== 'function') throw new Named('Runtime.HandlerNotFound', `${named} is not a function`);
  return found;
}

function explained(message) {
  if (!/'(@aws-sdk|@smithy|aws-sdk)/.test(message)) return message;
  return `${message} (this chamber's Node.js has no AWS SDK of its own: put it into the package or a layer, or install it for all functions into lambda/node of the state folder)`;
}

class ResponseStream extends Writable {
  constructor(id, highWaterMark) {
    super(highWaterMark ? { highWaterMark } : {});
    this._id = id;
    this._type = 'application/octet-stream';
    this._begin = '';
    this._request = null;
    this.answered = new Promise((resolve) => (this._resolve = resolve));
  }

  setContentType(type) {
    this._type = type;
  }

  _open() {
    if (this._request) return this._request;
    const headers = {
      'Content-Type': this._type,
      'Lambda-Runtime-Function-Response-Mode': 'streaming',
      'Transfer-Encoding': 'chunked',
      Trailer: 'Lambda-Runtime-Function-Error-Type, Lambda-Runtime-Function-Error-Body',
    };
    const where = `${prefix}invocation/${this._id}/response`;
    this._request = http.request({ host: apiHost, port: apiPort, method: 'POST', path: where, agent, headers }, (answer) => {
      answer.resume();
      answer.on('end', () => this._resolve());
    });
    this._request.on('error', () => this._resolve());
    this._request.flushHeaders();
    if (this._begin) this._request.write(this._begin);
    return this._request;
  }

  _write(piece, encoding, done) {
    const data = Buffer.isBuffer(piece) ? piece : Buffer.from(piece, encoding);
    if (this._open().write(data)) done();
    else this._request.once('drain', () => done());
  }

  _final(done) {
    this._open().end();
    done();
  }

  get begun() {
    return this._request !== null;
  }

  failWith(error) {
    const told = document(error);
    this._open().addTrailers({
      'Lambda-Runtime-Function-Error-Type': told.errorType,
      'Lambda-Runtime-Function-Error-Body': Buffer.from(JSON.stringify(told)).toString('base64'),
    });
    this._request.end();
    return this.answered;
  }
}

function contextOf(headers) {
  const deadline = Number(headers['lambda-runtime-deadline-ms']);
  const context = {
    callbackWaitsForEmptyEventLoop: true,
    functionName: env.AWS_LAMBDA_FUNCTION_NAME,
    functionVersion: env.AWS_LAMBDA_FUNCTION_VERSION,
    memoryLimitInMB: env.AWS_LAMBDA_FUNCTION_MEMORY_SIZE,
    logGroupName: env.AWS_LAMBDA_LOG_GROUP_NAME,
    logStreamName: env.AWS_LAMBDA_LOG_STREAM_NAME,
    awsRequestId: requestId,
    invokedFunctionArn: headers['lambda-runtime-invoked-function-arn'],
    getRemainingTimeInMillis: () => deadline - Date.now(),
  };
  if (headers['lambda-runtime-client-context']) context.clientContext = JSON.parse(headers['lambda-runtime-client-context']);
  return context;
}

/** Run a handler that returns, calls back, or promises; what it gives. */
function run(handler, event, context) {
  return new Promise((resolve, reject) => {
    const over = (settle) => (value) => {
      if (context.callbackWaitsForEmptyEventLoop) process.once('beforeExit', () => settle(value));
      else setImmediate(() => settle(value));
    };
    const succeed = over(resolve);
    const fail = over(reject);
    let called = false;
    const callback = (error, value) => {
      called = true;
      return error ? fail(error) : succeed(value);
    };
    const idle = () => process.once('beforeExit', () => (called ? undefined : resolve(null)));
    context.done = callback;
    context.succeed = (value) => resolve(value);
    context.fail = (error) => reject(error);
    const given = handler(event, context, callback);
    if (given && typeof given.then === 'function') given.then(resolve, reject);
    else if (given !== undefined && handler.length < 3) resolve(given);
    else idle();
  });
}

async function stream(handler, event, context) {
  const out = new ResponseStream(requestId, handler.highWaterMark);
  try {
    await handler(event, out, context);
    if (!out.writableEnded) out.end();
    await out.answered;
  } catch (error) {
    log('ERROR', ['Invoke Error', JSON.stringify(document(error))]);
    if (out.begun) await out.failWith(error);
    else await fail(`invocation/${requestId}/error`, error);
  }
}

async function once(handler) {
  const next = await call('GET', 'invocation/next');
  const { headers } = next;
  requestId = headers['lambda-runtime-aws-request-id'];
  env._X_AMZN_TRACE_ID = headers['lambda-runtime-trace-id'] || '';
  const context = contextOf(headers);
  const event = JSON.parse(next.body.toString() || 'null');
  if (handler[streaming]) return stream(handler, event, context);
  try {
    const value = await run(handler, event, context);
    const body = value === undefined ? 'null' : JSON.stringify(value);
    await call('POST', `invocation/${requestId}/response`, body === undefined ? 'null' : body, {
      'Content-Type': `application/json; ${used()}`,
    });
  } catch (error) {
    log('ERROR', ['Invoke Error', JSON.stringify(document(error))]);
    await fail(`invocation/${requestId}/error`, error);
  }
}

function last(kind, error) {
  const told = document(error);
  log('ERROR', [kind, JSON.stringify({ ...told, errorType: kind })]);
  const where = requestId ? `invocation/${requestId}/error` : 'init/error';
  fail(where, error, kind).finally(() => process.exit(128 + 1));
}

async function main() {
  process.chdir(env.LAMBDA_TASK_ROOT);
  process.on('uncaughtException', (error) => last('Runtime.UncaughtException', error));
  process.on('unhandledRejection', (error) => last('Runtime.UnhandledPromiseRejection', error));
  let handler;
  try {
    handler = await load();
  } catch (error) {
    const told = document(error);
    log('ERROR', [told.errorType.startsWith('Runtime.') ? 'Uncaught Exception' : 'Init Error', JSON.stringify(told)]);
    await fail('init/error', error);
    process.exit(1);
  }
  for (;;) await once(handler);
}

main();
