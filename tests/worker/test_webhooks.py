"""Webhooks over real sockets: a message is delivered, whatever the endpoint and the dispatcher do meanwhile."""

import contextlib
import json
import signal
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import trustme
from sqlalchemy import select, update
from standardwebhooks import Webhook as Verifier
from standardwebhooks.webhooks import WebhookVerificationError

from core import clock, leases
from core.models import AuditEntry, Webhook, WebhookDelivery, WebhookEvent
from core.principals import LOCAL_OWNER, SYSTEM
from core.queries.jobs import request_cancel
from core.queries.webhooks import add_test, add_webhook, get_webhook, rotate_secret, send_again
from core.settings import to_environment
from core.states import DeliveryState
from core.webhooks import egress
from core.webhooks.deliveries import Outcome, claim_due, finish
from core.webhooks.events import WebhookEventType
from tests.core.rows import add_job, get
from tests.receivers import Answer, Received, Receiver, run_receiver, run_talker
from tests.servers import wait_until
from worker.child import ROOT
from worker.runtime import Runtime
from worker.webhooks import deliver_until_stopped

ALL = [event.value for event in WebhookEventType]
QUICK = {
    "webhook_allow": ("127.0.0.0/8",),
    "webhook_retry_seconds": (0.2, 0.5),
    "webhook_timeout_seconds": 1.0,
}


@pytest.fixture
def sender(runtime: Runtime) -> Runtime:
    """A dispatcher's runtime that may reach this machine and waits not long."""
    changed = {**QUICK, "dispatcher_interval_seconds": 0.05}
    return replace(runtime, settings=runtime.settings.model_copy(update=changed))


@contextlib.contextmanager
def sending(runtime: Runtime, **changed: object) -> Iterator[None]:
    """Deliver in the background while the block runs."""
    stop = threading.Event()
    chosen = replace(runtime, settings=runtime.settings.model_copy(update=changed))
    thread = threading.Thread(target=deliver_until_stopped, args=(chosen, stop))
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def register(runtime: Runtime, url: str, events: list[str] = ALL) -> Webhook:
    return runtime.write(lambda s: add_webhook(s, LOCAL_OWNER, url, events, None))


def ask_for_test(runtime: Runtime, webhook: Webhook) -> str:
    return runtime.write(lambda s: add_test(s, get_webhook(s, webhook.id, SYSTEM)))


def cancel_a_job(runtime: Runtime) -> str:
    job = add_job(runtime.database)
    runtime.write(lambda s: request_cancel(s, job, SYSTEM))
    return job


def delivery_of(runtime: Runtime) -> WebhookDelivery:
    with runtime.database.read() as session:
        return session.scalars(select(WebhookDelivery)).one()


def wait_for_state(runtime: Runtime, state: DeliveryState) -> WebhookDelivery:
    wait_until(lambda: _has_state(runtime, state), seconds=30, pause=0.03)
    return delivery_of(runtime)


def _has_state(runtime: Runtime, state: DeliveryState) -> bool:
    with runtime.database.read() as session:
        return session.scalars(select(WebhookDelivery.state)).all() == [state]


def verified(secret: str, received: Received) -> dict[str, object]:
    return Verifier(secret).verify(received.body, dict(received.headers))


def lower(received: Received) -> dict[str, str]:
    return {name.lower(): value for name, value in received.headers.items()}


def test_a_message_comes_again_with_the_same_id_until_it_is_taken(sender: Runtime) -> None:
    with run_receiver(Answer(500), Answer(500), Answer(200)) as receiver:
        webhook = register(sender, receiver.url)
        job = cancel_a_job(sender)
        with sending(sender):
            delivery = wait_for_state(sender, DeliveryState.DELIVERED)
        first, second, third = receiver.received
    assert {lower(each)["webhook-id"] for each in receiver.received} == {delivery.event_id}
    assert first.body == second.body == third.body
    message = verified(webhook.secret, third)
    assert message["type"] == "job.cancelled"
    assert message["data"] == {"id": job, "state": "cancelled", "attempt": 0, "error": None}
    assert third.path == "/hook?from=wecolora"
    assert lower(third)["host"] == f"127.0.0.1:{receiver.port}"
    # How much later depends on the machine; the pauses themselves are in tests/core/test_webhooks.py.
    assert second.at - first.at >= 0.2
    assert third.at - second.at >= 0.5
    assert [entry["status_code"] for entry in delivery.attempts] == [500, 500, 200]
    assert [entry["error"] for entry in delivery.attempts] == ["it answered 500"] * 2 + [None]
    assert delivery.next_attempt_at is None
    assert get(sender.database, Webhook, webhook.id).failing_since is None
    with pytest.raises(WebhookVerificationError):
        Verifier(webhook.secret).verify(third.body.replace(b"job", b"jab"), dict(third.headers))


def test_a_message_that_nobody_takes_has_failed_after_the_last_pause_and_can_be_sent_again(
    sender: Runtime,
) -> None:
    with run_receiver(Answer(500), Answer(500), Answer(500), Answer(200)) as receiver:
        webhook = register(sender, receiver.url)
        ask_for_test(sender, webhook)
        with sending(sender):
            failed = wait_for_state(sender, DeliveryState.FAILED)
            assert len(failed.attempts) == 3
            assert get(sender.database, Webhook, webhook.id).failing_since is not None
            time.sleep(0.3)
            assert len(receiver.received) == 3
            sender.write(lambda s: send_again(s, webhook.id, failed.id))
            wait_for_state(sender, DeliveryState.DELIVERED)
    assert len({lower(each)["webhook-id"] for each in receiver.received}) == 1


def test_only_what_an_endpoint_asks_for_is_sent_to_it(sender: Runtime) -> None:
    with run_receiver() as wanted, run_receiver() as other:
        register(sender, wanted.url, ["job.started", "job.cancelled"])
        register(sender, other.url, ["dataset.ready"])
        job = add_job(sender.database)
        sender.write(lambda s: leases.claim_job(s, job, "worker", 30))
        cancel_a_job(sender)
        with sending(sender):
            wait_until(lambda: len(wanted.received) == 2, seconds=30)
            time.sleep(0.2)
        kinds = [json.loads(each.body)["type"] for each in wanted.received]
    assert sorted(kinds) == ["job.cancelled", "job.started"]
    assert other.received == []


def test_an_endpoint_that_hangs_delays_no_other(sender: Runtime) -> None:
    with run_receiver(Answer(hangs=True)) as slow, run_receiver() as quick:
        slow_one, quick_one = register(sender, slow.url), register(sender, quick.url)
        for _ in range(5):
            ask_for_test(sender, slow_one)
        with sending(sender, webhook_timeout_seconds=6.0):
            wait_until(lambda: slow.received, seconds=30)
            asked = time.monotonic()
            ask_for_test(sender, quick_one)
            wait_until(lambda: quick.received, seconds=30)
            assert quick.received[0].at - asked < 5, "it did not wait for the slow one's time to end"
            assert len(slow.received) == 1, "one message at a time"

            def said() -> list[str]:
                with sender.database.read() as session:
                    logs = session.scalars(select(WebhookDelivery.attempts)).all()
                return [entry["error"] for log in logs for entry in log if entry["error"]]

            wait_until(said, seconds=30, pause=0.05)
            assert said()[0] == "no answer within 6 seconds"


def test_the_endpoint_says_when_to_come_again(sender: Runtime) -> None:
    with run_receiver(Answer(429, {"Retry-After": "1"}), Answer(200)) as receiver:
        ask_for_test(sender, register(sender, receiver.url))
        with sending(sender):
            wait_for_state(sender, DeliveryState.DELIVERED)
        first, second = receiver.received
    assert second.at - first.at >= 1


def test_an_endpoint_that_is_gone_is_disabled_with_the_reason_in_sight(sender: Runtime) -> None:
    with run_receiver(Answer(410)) as receiver:
        webhook = register(sender, receiver.url)
        ask_for_test(sender, webhook)
        with sending(sender):
            wait_for_state(sender, DeliveryState.FAILED)
            cancel_a_job(sender)
            time.sleep(0.3)
    assert len(receiver.received) == 1
    row = get(sender.database, Webhook, webhook.id)
    assert (row.active, row.disabled_reason) == (False, "It answered 410 Gone.")
    with sender.database.read() as session:
        entry = session.scalars(select(AuditEntry).where(AuditEntry.action == "webhook.disable")).one()
        assert session.scalars(select(WebhookEvent.type)).all() == ["webhook.test"]
    assert (entry.target, entry.detail["reason"]) == (webhook.id, "It answered 410 Gone.")


def test_an_endpoint_that_failed_for_days_is_disabled_and_one_that_took_something_meanwhile_is_not(
    sender: Runtime,
) -> None:
    with run_receiver(Answer(500), Answer(200), Answer(500)) as receiver:
        webhook = register(sender, receiver.url)
        ask_for_test(sender, webhook)
        with sending(sender):
            wait_for_state(sender, DeliveryState.DELIVERED)
            assert get(sender.database, Webhook, webhook.id).active
            long_ago = {"failing_since": clock.now_plus(-6 * clock.SECONDS_A_DAY)}
            sender.write(lambda s: s.execute(update(Webhook).values(**long_ago)))
            sender.write(lambda s: send_again(s, webhook.id, delivery_of(sender).id))
            wait_until(lambda: not get(sender.database, Webhook, webhook.id).active, seconds=30)
    reason = get(sender.database, Webhook, webhook.id).disabled_reason
    assert reason == "Every try failed for 5 days; the last one so: it answered 500"
    assert len(receiver.received) == 3


def test_a_redirect_is_not_followed(sender: Runtime) -> None:
    with run_receiver() as inside, run_receiver(Answer(307, {"Location": inside.url})) as receiver:
        ask_for_test(sender, register(sender, receiver.url))
        with sending(sender):
            delivery = wait_for_state(sender, DeliveryState.FAILED)
    assert inside.received == []
    assert "redirects are not followed" in delivery.attempts[0]["error"]


@pytest.mark.parametrize("resolved", [["127.0.0.1"], ["93.184.216.34", "127.0.0.1"]])
def test_a_name_that_came_to_stand_for_this_machine_is_not_connected_to(
    sender: Runtime, monkeypatch: pytest.MonkeyPatch, resolved: list[str]
) -> None:
    """DNS rebinding: the name was public when it was registered."""
    monkeypatch.setattr(egress, "look_up", lambda host, port: ["93.184.216.34"])
    with run_receiver() as receiver:
        url = f"http://rebinding.example:{receiver.port}/"
        strict = replace(sender, settings=sender.settings.model_copy(update={"webhook_allow": ()}))
        egress.Egress.from_settings(strict.settings).check_url(url)
        webhook = register(sender, url)
        monkeypatch.setattr(egress, "look_up", lambda host, port: resolved)
        ask_for_test(sender, webhook)
        with sending(strict):
            delivery = wait_for_state(sender, DeliveryState.FAILED)
        assert receiver.received == []
        assert "not on the public internet" in delivery.attempts[0]["error"]


def test_the_name_is_looked_up_once_and_the_connection_goes_to_what_was_checked(
    sender: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked_up = []

    def look_up(host: str, port: int) -> list[str]:
        looked_up.append(host)
        return ["127.0.0.1"]

    monkeypatch.setattr(egress, "look_up", look_up)
    with run_receiver() as receiver:
        ask_for_test(sender, register(sender, f"http://nowhere.invalid:{receiver.port}/x"))
        with sending(sender):
            wait_for_state(sender, DeliveryState.DELIVERED)
        assert lower(receiver.received[0])["host"] == f"nowhere.invalid:{receiver.port}"
    assert looked_up == ["nowhere.invalid"]


def test_no_proxy_of_the_environment_is_used(sender: Runtime, monkeypatch: pytest.MonkeyPatch) -> None:
    with run_receiver() as proxy, run_receiver() as receiver:
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
        ask_for_test(sender, register(sender, receiver.url))
        with sending(sender):
            wait_for_state(sender, DeliveryState.DELIVERED)
    assert (len(proxy.received), len(receiver.received)) == (0, 1)


@pytest.mark.parametrize(
    ("certified", "trusted", "error"),
    [
        ("hooks.lab", True, None),
        ("other.lab", True, "certificate verify failed"),
        ("hooks.lab", False, "certificate verify failed"),
    ],
)
def test_over_tls_the_certificate_must_be_the_names_although_the_connection_goes_to_an_address(
    sender: Runtime,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    certified: str,
    trusted: bool,
    error: str | None,
) -> None:
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(certified).configure_cert(context)
    (authority if trusted else trustme.CA()).cert_pem.write_to_path(tmp_path / "ca.pem")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    monkeypatch.setattr(egress, "look_up", lambda host, port: ["127.0.0.1"])
    with run_receiver(tls=context) as receiver:
        ask_for_test(sender, register(sender, f"https://hooks.lab:{receiver.port}/"))
        with sending(sender, webhook_retry_seconds=()):
            delivery = wait_for_state(sender, DeliveryState.FAILED if error else DeliveryState.DELIVERED)
        assert len(receiver.received) == (0 if error else 1)
    assert (error or "") in (delivery.attempts[0]["error"] or "")


@pytest.mark.parametrize(
    ("first", "then", "taken"),
    [
        (b"HTTP/1.1 200 OK\r\n", b"x-drip: 1\r\n", False),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 1000000000\r\n\r\n", b"x" * 1000, True),
        (b"nonsense\r\n\r\n", b"", False),
        (b"HTTP/1.1 200 OK\r\nx-long: " + b"x" * 200_000, b"", False),
    ],
)
def test_an_endpoint_that_drips_or_floods_or_talks_nonsense_gets_no_more_than_its_time(
    sender: Runtime, first: bytes, then: bytes, taken: bool
) -> None:
    with run_talker(first, then) as port:
        ask_for_test(sender, register(sender, f"http://127.0.0.1:{port}/"))
        began = time.monotonic()
        with sending(sender, webhook_retry_seconds=()):
            delivery = wait_for_state(sender, DeliveryState.DELIVERED if taken else DeliveryState.FAILED)
        assert time.monotonic() - began < 20, "they go on for longer"
    assert (delivery.attempts[0]["error"] is None) is taken


def test_a_dispatcher_that_is_told_to_stop_does_not_wait_for_an_endpoint_that_hangs(sender: Runtime) -> None:
    with run_receiver(Answer(hangs=True)) as receiver:
        ask_for_test(sender, register(sender, receiver.url))
        stop = threading.Event()
        patient = replace(
            sender, settings=sender.settings.model_copy(update={"webhook_timeout_seconds": 30.0})
        )
        thread = threading.Thread(target=deliver_until_stopped, args=(patient, stop))
        thread.start()
        wait_until(lambda: receiver.received, seconds=30)
        stop.set()
        thread.join(20)
        assert not thread.is_alive()
    assert delivery_of(sender).state is DeliveryState.PENDING


def test_a_message_that_trips_the_dispatcher_fails_alone(
    sender: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    def look_up(host: str, port: int) -> list[str]:
        if host == "trips.lab":
            raise ZeroDivisionError
        return ["127.0.0.1"]

    monkeypatch.setattr(egress, "look_up", look_up)
    with run_receiver() as receiver:
        bad = register(sender, f"http://trips.lab:{receiver.port}/")
        ask_for_test(sender, bad)
        with sending(sender, webhook_retry_seconds=()):
            delivery = wait_for_state(sender, DeliveryState.FAILED)
            ask_for_test(sender, register(sender, f"http://hooks.lab:{receiver.port}/"))
            wait_until(lambda: receiver.received, seconds=30)
    assert delivery.attempts[0]["error"] == "a fault of the service, whose log says more"


def test_during_a_rotation_the_old_and_the_new_secret_verify_and_afterwards_only_the_new(
    sender: Runtime,
) -> None:
    with run_receiver() as receiver:
        webhook = register(sender, receiver.url)
        old = webhook.secret
        sender.write(lambda s: rotate_secret(s, get_webhook(s, webhook.id, SYSTEM, locked=True), 24))
        new = get(sender.database, Webhook, webhook.id).secret
        ask_for_test(sender, webhook)
        with sending(sender):
            wait_for_state(sender, DeliveryState.DELIVERED)
            over = {"previous_secret_expires_at": clock.now_plus(-1)}
            sender.write(lambda s: s.execute(update(Webhook).values(**over)))
            sender.write(lambda s: send_again(s, webhook.id, delivery_of(sender).id))
            wait_until(lambda: len(receiver.received) == 2, seconds=30)
        during, after = receiver.received
    assert verified(old, during) == verified(new, during) == verified(new, after)
    with pytest.raises(WebhookVerificationError):
        verified(old, after)


def test_a_message_of_a_dispatcher_that_died_in_the_middle_comes_again_with_the_same_id(
    sender: Runtime,
) -> None:
    with run_receiver(Answer(hangs=True), Answer(200)) as receiver:
        webhook = register(sender, receiver.url)
        ask_for_test(sender, webhook)
        settings = sender.settings.model_copy(update={"webhook_timeout_seconds": 20.0})
        command = [sys.executable, "-m", "worker.dispatcher"]
        process = subprocess.Popen(command, cwd=ROOT, env=to_environment(settings))
        try:
            wait_until(lambda: receiver.received, seconds=30)
        finally:
            process.send_signal(signal.SIGKILL)
            process.wait()
        assert delivery_of(sender).state is DeliveryState.PENDING
        with sending(sender):
            time.sleep(0.3)
            assert len(receiver.received) == 1, "its lease is still good"
            over = {"lease_expires_at": clock.now_plus(-1)}
            sender.write(lambda s: s.execute(update(WebhookDelivery).values(**over)))
            delivery = wait_for_state(sender, DeliveryState.DELIVERED)
        first, second = receiver.received
    assert lower(first)["webhook-id"] == lower(second)["webhook-id"] == delivery.event_id
    assert delivery.attempt == 2


def test_two_dispatchers_never_send_the_same_delivery(sender: Runtime) -> None:
    with run_receiver() as receiver:
        for _ in range(6):
            webhook = register(sender, receiver.url)
            for _ in range(5):
                ask_for_test(sender, webhook)
        with sending(sender), sending(sender):
            wait_until(lambda: len(receiver.received) >= 30, seconds=30)
            time.sleep(0.3)
        ids = [lower(each)["webhook-id"] for each in receiver.received]
    assert len(ids) == len(set(ids)) == 30


def test_what_comes_from_an_attempt_whose_lease_ran_out_changes_nothing(sender: Runtime) -> None:
    receiver = Receiver()
    ask_for_test(sender, register(sender, receiver.url))
    (stale,) = sender.write(lambda s: claim_due(s, -1, 10))
    (current,) = sender.write(lambda s: claim_due(s, 30, 10))
    assert (stale.attempt, current.attempt) == (1, 2)
    assert not sender.write(lambda s: finish(s, sender.settings, stale, Outcome(200, None, 0.1)))
    assert delivery_of(sender).state is DeliveryState.PENDING
    assert sender.write(lambda s: finish(s, sender.settings, current, Outcome(200, None, 0.1)))
    assert delivery_of(sender).state is DeliveryState.DELIVERED
