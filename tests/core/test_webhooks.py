"""The outbox and the deliveries on both databases."""

import threading
import time

import pytest
from sqlalchemy import select, update

from core import clock, leases
from core.errors import LeaseLost
from core.leases import IngestResult, JobError
from core.models import Job, Webhook, WebhookDelivery, WebhookEvent
from core.principals import LOCAL_OWNER, SYSTEM
from core.queries.jobs import lock_job, request_cancel, requeue
from core.queries.numbers import count_numbers
from core.queries.owners import ensure_owner
from core.queries.webhooks import add_webhook, change_webhook, get_webhook
from core.settings import Settings
from core.states import DatasetState, DeliveryState
from core.webhooks.deliveries import (
    Outcome,
    claim_due,
    finish,
    has_work,
    prune_log,
    spread_events,
)
from core.webhooks.events import WebhookEventType
from tests.core.rows import add_dataset, add_job, count, expire_lease

ALL = [event.value for event in WebhookEventType]
INGESTED = IngestResult(1, 0, 0, 7, "report.json")


def register(database, owner=LOCAL_OWNER, events=ALL):
    with database.write() as session:
        ensure_owner(session, owner)
        return add_webhook(session, owner, "https://example.com/", events, None).id


def told(database):
    with database.read() as session:
        return [
            (row.type, row.data["id"], row.data.get("error")) for row in session.scalars(select(WebhookEvent))
        ]


def do(database, change):
    with database.write() as session:
        return change(session)


def test_every_move_of_a_job_is_told_once(database):
    register(database)
    ids = [add_job(database) for _ in range(6)]
    claims = [do(database, lambda s, each=each: leases.claim_job(s, each, "w", 30)) for each in ids[:5]]
    error = JobError("boom", "It broke.")
    do(database, lambda s: leases.succeed(s, claims[0], {}, []))
    do(database, lambda s: leases.fail(s, claims[1], error))
    do(database, lambda s: leases.cancelled(s, claims[2]))
    do(database, lambda s: leases.release(s, claims[3], "it crashed", True, max_attempts=1))
    do(database, lambda s: leases.release(s, claims[4], "it was told to stop", False))
    do(database, lambda s: request_cancel(s, ids[5], SYSTEM))
    do(database, lambda s: requeue(s, lock_job(s, ids[5], SYSTEM)))
    assert sorted(told(database)) == sorted(
        [
            *(("job.started", each, None) for each in ids[:5]),
            ("job.succeeded", ids[0], None),
            ("job.failed", ids[1], "boom"),
            ("job.cancelled", ids[2], None),
            ("job.failed", ids[3], "attempts_exhausted"),
            ("job.cancelled", ids[5], None),
        ]
    )


def test_every_end_of_an_ingest_is_told_with_the_jobs_that_fail_by_it(database):
    register(database)
    ready, failed, given_up = (add_dataset(database, DatasetState.INGESTING) for _ in range(3))
    job = add_job(database, failed)
    claims = {
        each: do(database, lambda s, each=each: leases.claim_dataset(s, each, "w", 30))
        for each in (ready, failed, given_up)
    }
    do(database, lambda s: leases.complete_ingest(s, claims[ready], INGESTED))
    do(database, lambda s: leases.fail_dataset(s, claims[failed], JobError("no_images", "None.")))
    do(database, lambda s: leases.release_dataset(s, claims[given_up], "it crashed", True, max_attempts=1))
    assert sorted(told(database)) == sorted(
        [
            ("dataset.ready", ready, None),
            ("dataset.failed", failed, "no_images"),
            ("dataset.failed", given_up, "attempts_exhausted"),
            ("job.failed", job, "dataset_failed"),
        ]
    )


def test_a_change_that_is_rolled_back_is_not_told(database):
    register(database)
    job = add_job(database)

    def break_off(session):
        request_cancel(session, job, SYSTEM)
        raise RuntimeError("the process ends here")

    with pytest.raises(RuntimeError):
        do(database, break_off)
    assert told(database) == []
    claim = do(database, lambda s: leases.claim_job(s, job, "w", 30))
    expire_lease(database, Job, job)
    do(database, lambda s: leases.reap_expired(s, 3))
    with pytest.raises(LeaseLost):
        do(database, lambda s: leases.succeed(s, claim, {}, []))
    assert told(database) == [("job.started", job, None)]


def test_nothing_is_stored_for_an_owner_without_an_active_endpoint(database):
    register(database, "somebody-else")
    mine = register(database)
    do(database, lambda s: change_webhook(s, get_webhook(s, mine, SYSTEM), {"active": False}))
    job = add_job(database)
    do(database, lambda s: request_cancel(s, job, SYSTEM))
    assert told(database) == []


def test_each_endpoint_of_the_owner_that_wants_it_gets_an_event_once(database):
    mine, second = register(database), register(database, events=["job.cancelled", "dataset.ready"])
    register(database, events=["job.failed"])
    register(database, "somebody-else")
    job = add_job(database)
    do(database, lambda s: request_cancel(s, job, SYSTEM))
    time.sleep(0.02)  # SQLite's clock counts milliseconds
    late = register(database)
    threads = [threading.Thread(target=do, args=(database, spread_events)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    do(database, spread_events)
    with database.read() as session:
        assert sorted(session.scalars(select(WebhookDelivery.webhook_id))) == sorted([mine, second])
    assert late not in (mine, second)


def test_of_dispatchers_that_claim_at_once_each_delivery_goes_to_one(database):
    for _ in range(12):
        register(database)
    job = add_job(database)
    do(database, lambda s: request_cancel(s, job, SYSTEM))
    do(database, spread_events)
    claimed, gate = [], threading.Barrier(4)

    def claim():
        gate.wait()
        for _ in range(4):
            claimed.extend(do(database, lambda s: claim_due(s, 30, 5)))

    threads = [threading.Thread(target=claim) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(claimed) == len({sending.delivery_id for sending in claimed}) == 12
    assert len({sending.event_id for sending in claimed}) == 1
    with database.read() as session:
        assert not has_work(session)


def test_the_pauses_follow_the_schedule_with_a_little_jitter_and_what_the_endpoint_asks_for(database):
    register(database)
    job = add_job(database)
    do(database, lambda s: request_cancel(s, job, SYSTEM))
    do(database, spread_events)
    settings = Settings(webhook_retry_seconds="10,100")

    def fail(outcome):
        (sending,) = do(database, lambda s: claim_due(s, 30, 5))
        assert do(database, lambda s: finish(s, settings, sending, outcome))
        with database.read() as session:
            pause = clock.seconds_between(clock.now(), WebhookDelivery.next_attempt_at)
            left = session.scalar(select(pause))
        do(database, lambda s: s.execute(update(WebhookDelivery).values(next_attempt_at=clock.now_plus(-1))))
        return left

    assert 9 < fail(Outcome(None, "no answer", 1.0)) <= 12
    assert 999 < fail(Outcome(503, "it answered 503", 1.0, retry_after_seconds=1000.0)) <= 1200
    (sending,) = do(database, lambda s: claim_due(s, 30, 5))
    do(database, lambda s: finish(s, settings, sending, Outcome(500, "it answered 500", 1.0)))
    with database.read() as session:
        last = session.scalars(select(WebhookDelivery)).one()
    assert (last.state, last.next_attempt_at, len(last.attempts)) == (DeliveryState.FAILED, None, 3)


def test_what_waits_for_an_inactive_endpoint_is_sent_when_it_is_active_again(database):
    webhook = register(database)
    job = add_job(database)
    do(database, lambda s: request_cancel(s, job, SYSTEM))
    do(database, spread_events)
    do(database, lambda s: change_webhook(s, get_webhook(s, webhook, SYSTEM), {"active": False}))
    assert do(database, lambda s: claim_due(s, 30, 5)) == []
    do(database, lambda s: change_webhook(s, get_webhook(s, webhook, SYSTEM), {"active": True}))
    assert len(do(database, lambda s: claim_due(s, 30, 5))) == 1


def test_old_events_go_with_their_deliveries(database):
    register(database)
    job = add_job(database)
    do(database, lambda s: request_cancel(s, job, SYSTEM))
    do(database, spread_events)
    assert do(database, lambda s: prune_log(s, 1)) == 0
    do(database, lambda s: s.execute(update(WebhookEvent).values(created_at=clock.now_plus(-2 * 86_400))))
    assert do(database, lambda s: prune_log(s, 1)) == 1
    assert (count(database, WebhookEvent), count(database, WebhookDelivery), count(database, Webhook)) == (
        0,
        0,
        1,
    )


def test_the_numbers_of_the_metrics_are_the_rows(database):
    for _ in range(2):
        register(database)
    off, broken = register(database), register(database)
    job = add_job(database)
    do(database, lambda s: request_cancel(s, job, SYSTEM))
    do(database, spread_events)
    do(database, lambda s: change_webhook(s, get_webhook(s, off, SYSTEM), {"active": False}))
    values = {"active": False, "disabled_reason": "It answered 410 Gone."}
    do(database, lambda s: s.execute(update(Webhook).where(Webhook.id == broken).values(**values)))
    do(database, lambda s: s.execute(update(WebhookDelivery).values(next_attempt_at=clock.now_plus(-100))))
    (sending, _) = do(database, lambda s: claim_due(s, 30, 5))
    do(database, lambda s: finish(s, Settings(), sending, Outcome(200, None, 0.1)))
    with database.read() as session:
        numbers = count_numbers(session)
    assert numbers.webhooks == {"active": 2, "inactive": 1, "disabled": 1}
    assert numbers.deliveries == {"pending": 3, "delivered": 1, "failed": 0}
    assert 99 < numbers.oldest_due_delivery_seconds < 160
