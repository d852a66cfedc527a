"""Which finished jobs an estimate of another one's time is made from."""

from core.queries.timings import latest_device, list_timings
from core.states import JobState
from core.workload import Timing
from tests.core.rows import add_dataset, add_job

SLOW = {"device": "cpu", "device_name": "Slow", "work_gmacs": 10.5, "seconds": 4.0}
FAST = {"device": "cuda", "device_name": "Fast", "work_gmacs": 20.0, "seconds": 1}


def test_only_whole_jobs_on_the_device_in_the_precision_count(database):
    dataset_id = add_dataset(database)

    def add(state=JobState.SUCCEEDED, precision="auto", devices=None, **result):
        options = {"precision": precision} | ({} if devices is None else {"devices": devices})
        add_job(database, dataset_id, state, result=result, options=options)

    with database.read() as session:
        assert latest_device(session, "auto") is None
    add(**SLOW)
    add(**FAST)
    add(**SLOW, precision="fp32")
    add(**SLOW, devices=2)
    add(**{**SLOW, "work_gmacs": None})
    add(**{**SLOW, "seconds": 0.0})
    add(state=JobState.CANCELLED, **SLOW)
    add(loss=1.0)  # of a release that did not measure
    with database.read() as session:
        assert [latest_device(session, kind) for kind in ("auto", "cpu", "cuda")] == ["Slow", "Slow", "Fast"]
        assert list_timings(session, "Slow", "auto", 1) == [Timing(10.5, 4.0)]
        assert list_timings(session, "Fast", "auto", 1) == [Timing(20.0, 1.0)]
        assert list_timings(session, "Fast", "fp32", 1) == []
        assert list_timings(session, "Slow", "auto", 2) == [Timing(10.5, 4.0)]
