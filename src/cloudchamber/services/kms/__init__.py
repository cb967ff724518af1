# SPDX-License-Identifier: Apache-2.0
"""AWS KMS: symmetric keys of the chamber's own, with key policies and aliases."""

from __future__ import annotations

from cloudchamber.contract.service import service
from cloudchamber.services.kms import aliases, crypto, keys
from cloudchamber.services.kms.facts import facts
from cloudchamber.services.kms.part import KeyStore, new_key

SERVICE = service(
    "kms", keys, aliases, crypto, part=KeyStore, facts=facts, policies=(("kms_keys", "policy"),),
    shared={"kms/key": new_key},
)  # fmt: skip
