# SPDX-License-Identifier: Apache-2.0
"""The module `cfn-response`, which functions get whose code stands in a template and asks for it.

Source: AWS CloudFormation User Guide, "cfn-response module": its interface; the code is ours.
"""

from __future__ import annotations

PYTHON = """
import json
import urllib.request

SUCCESS = "SUCCESS"
FAILED = "FAILED"


def send(event, context, responseStatus, responseData, physicalResourceId=None, noEcho=False, reason=None):
    answer = {
        "Status": responseStatus,
        "Reason": reason or f"See the details in CloudWatch Log Stream: {context.log_stream_name}",
        "PhysicalResourceId": physicalResourceId or context.log_stream_name,
        "StackId": event["StackId"],
        "RequestId": event["RequestId"],
        "LogicalResourceId": event["LogicalResourceId"],
        "NoEcho": noEcho,
        "Data": responseData,
    }
    data = json.dumps(answer).encode()
    request = urllib.request.Request(event["ResponseURL"], data, {"Content-Type": ""}, method="PUT")
    try:
        with urllib.request.urlopen(request) as reply:
            print("Status code:", reply.status)
    except Exception as error:
        print("send(..) failed executing http.request(..):", error)
"""
NODE = """
const https = require('https');

exports.SUCCESS = 'SUCCESS';
exports.FAILED = 'FAILED';

exports.send = function (event, context, responseStatus, responseData, physicalResourceId, noEcho) {
  return new Promise((resolve) => {
    const body = JSON.stringify({
      Status: responseStatus,
      Reason: 'See the details in CloudWatch Log Stream: ' + context.logStreamName,
      PhysicalResourceId: physicalResourceId || context.logStreamName,
      StackId: event.StackId,
      RequestId: event.RequestId,
      LogicalResourceId: event.LogicalResourceId,
      NoEcho: noEcho || false,
      Data: responseData,
    });
    const headers = { 'content-type': '', 'content-length': Buffer.byteLength(body) };
    const ended = () => { context.done(); resolve(); };
    const request = https.request(event.ResponseURL, { method: 'PUT', headers }, (reply) => {
      console.log('Status code: ' + reply.statusCode);
      reply.resume();
      reply.on('end', ended);
    });
    request.on('error', (error) => { console.log('send(..) failed executing https.request(..): ' + error); ended(); });
    request.end(body);
  });
};
"""


def beside(text: str) -> dict[str, str]:
    """Further files of a package whose one file is `text`, by name."""
    files: dict[str, str] = {}
    if "cfnresponse" in text:
        files["cfnresponse.py"] = PYTHON
    if "cfn-response" in text:
        files["node_modules/cfn-response.js"] = NODE
    return files
