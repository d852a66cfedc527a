"""Messages that the service sends to an endpoint of yours."""

from collections.abc import Mapping
from typing import Any

from standardwebhooks import Webhook
from standardwebhooks.webhooks import WebhookVerificationError

from wecolora_client.errors import InvalidWebhook


def verify_webhook(payload: bytes | str, headers: Mapping[str, str], secret: str) -> dict[str, Any]:
    """The message, if the service sent it.

    Args:
        payload: the body, as it came.
        headers: of the request; names in any case.
        secret: of the endpoint, `whsec_…`.

    Returns:
        ``{"type", "timestamp", "data"}``. Messages may come twice: drop those whose `webhook-id` you have seen.

    Raises:
        InvalidWebhook: it is not signed with the secret, its time is more than five minutes off, or it is no message.
    """
    try:
        message = Webhook(secret).verify(payload, dict(headers))
    except (WebhookVerificationError, ValueError) as error:
        # A malformed signature or body is a ValueError of what reads it.
        raise InvalidWebhook(str(error)) from error
    if not isinstance(message, dict):
        raise InvalidWebhook("the body is no JSON object")
    return message
