# SPDX-License-Identifier: Apache-2.0
"""Whatever somebody calls SAML metadata: it is read, or a ValueError; nothing else, and soon."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloudchamber.services.iam import metadata

GOOD = (
    '<EntityDescriptor xmlns="urn:oasis:names:tc:SAML:2.0:metadata" entityID="https://idp.example.com" '
    'validUntil="2030-01-02T03:04:05Z"><IDPSSODescriptor/></EntityDescriptor>'
)


def test_metadata_of_an_identity_provider():
    read = metadata.read(GOOD)
    assert read.issuer == "https://idp.example.com"
    assert read.valid_until is not None
    assert read.valid_until.isoformat() == "2030-01-02T03:04:05+00:00"


@given(st.text(), st.integers(0, len(GOOD)), st.integers(0, 20))
def test_no_text_breaks_the_reader(text, at, length):
    for document in (text, GOOD[:at] + text + GOOD[at + length :]):
        try:
            metadata.read(document)
        except ValueError:
            continue


@pytest.mark.parametrize(
    "head",
    [
        '<!DOCTYPE x [<!ENTITY a "b">]>',
        '<!DOCTYPE x SYSTEM "file:///etc/passwd">',
        '<!DOCTYPE x [<!ENTITY % a SYSTEM "http://127.0.0.1/"> %a;]>',
        "<!DOCTYPE x>",
    ],
)
def test_a_document_type_is_refused(head):
    with pytest.raises(ValueError, match="document type"):
        metadata.read(head + GOOD)
