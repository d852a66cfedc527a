"""The client's check of messages, on what the service signs."""

import json

import pytest

from wecolora_client import InvalidWebhook, verify_webhook
from worker.webhooks import Sending, signed_headers

SECRET, OTHER = "whsec_" + "A" * 43 + "=", "whsec_" + "B" * 43 + "="
BODY = '{"type":"job.succeeded","timestamp":"2026-01-01T00:00:00.000Z","data":{"id":"job_1"}}'


def signed(body=BODY, secrets=(SECRET,)):
    return signed_headers(Sending("dlv_1", 1, "wh_1", "evt_1", "https://example.com/", secrets, body))


@pytest.mark.parametrize("body", [BODY, BODY.encode()])
def test_what_the_service_signed_is_given_back(body):
    assert verify_webhook(body, signed(), SECRET) == json.loads(BODY)
    assert verify_webhook(body, {name.title(): value for name, value in signed().items()}, SECRET)
    assert verify_webhook(body, signed(secrets=(OTHER, SECRET)), SECRET), "during a rotation"


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        (BODY + " ", signed()),
        (BODY, signed(secrets=(OTHER,))),
        (BODY, {}),
        (BODY, signed() | {"webhook-id": "evt_2"}),
        (BODY, signed() | {"webhook-timestamp": "1600000000"}),
        (BODY, signed() | {"webhook-timestamp": "soon"}),
        (BODY, signed() | {"webhook-signature": "v1"}),
        (BODY, signed() | {"webhook-signature": "v1,?"}),
        (BODY, signed() | {"webhook-signature": "v2,AAAA"}),
        (b"\xff\xfe", signed()),
        ("[1]", signed("[1]")),
        ("no json", signed("no json")),
    ],
)
def test_what_it_did_not_is_refused(body, headers):
    with pytest.raises(InvalidWebhook):
        verify_webhook(body, headers, SECRET)
