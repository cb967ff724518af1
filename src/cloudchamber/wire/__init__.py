# SPDX-License-Identifier: Apache-2.0
"""AWS's protocols, pure: bytes and values in, values and bytes out.

One request, step by step (`front/pipeline.py` does this)::

    offered = Offered({name: s.signing_names for name, s in services.items()})     # wire.route, once
    form = await read_all(raw, FORM_MAX) if is_form(request) else None             # wire.route
    routed = route(request, form, offered)                                         # never raises; see routed.error
    first = form if form is not None else (await read_all(raw, limit) if body_first(request, routed) else None)
    try:
        auth = authenticate(request, routed, first, identities, region, now)       # front.authenticate
        if routed.error:                                                           # unknown or not offered operation
            raise routed.error
        body = Held(first) if first is not None else wrap(raw, auth.payload)       # checks itself while iterated
        values = parse(routed, request, body if streams(routed) else await read_all(body, limit))      # wire.codec
        ...authorize; answer = await operation.run(call, values)...
        reply = serialize(routed, request, answer, request_id)                     # wire.codec
    except ServiceError as error:
        reply = fault(error, routed, request, request_id)                          # wire.faults

`routed.operation` is AWS's name; `routed.model` is None where `routed.error` is set. `streams(routed)`: the operation
takes its payload as a `Body` (PutObject, UploadPart, Invoke), which `parse` puts into the request dict untouched.
"""
