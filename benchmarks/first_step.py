"""How long is it from ``POST /jobs`` to the first optimiser step?

Starts the embedded service twice, without and with a spare trainer, sends it the same job on the sample digits several
times, and prints a line of JSON for each: the seconds by the database's clock between the job's row and the event of
its first step. Jobs come one after the other, with a pause in which the next spare may load.

    ./run bench first_step
"""

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path

from benchmarks.machine import describe_machine
from samples.demo_service import embedded_service
from samples.digits import write_digits
from wecolora_client import Client

_PAUSE_SECONDS = 20.0


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    print(json.dumps(describe_machine()))  # noqa: T201
    with tempfile.TemporaryDirectory() as scratch:
        images = write_digits(Path(scratch) / "digits").unlabelled
        for spare in ("false", "true"):
            settings = {"WECOLORA_SPARE_TRAINER": spare}
            with (
                embedded_service(Path(scratch), None, False, settings) as service,
                Client(service.url) as client,
            ):
                dataset = client.upload(images)
                client.wait_for_dataset(dataset)
                seconds = [_first_step(client, dataset) for _ in range(options.repeats)]
            result = {
                "spare_trainer": spare == "true",
                "median_seconds": round(statistics.median(seconds), 2),
                "seconds": [round(each, 2) for each in seconds],
            }
            print(json.dumps(result), flush=True)  # noqa: T201


def _first_step(client: Client, dataset: str) -> float:
    """Seconds from the job's row to the event of its first step."""
    time.sleep(_PAUSE_SECONDS)
    job = client.create_job(teacher="sample-digits", dataset_id=dataset, r=2, k=16, recipe="paper", epochs=1)
    created, first = None, None
    for event in client.follow(job.id):
        created = created or event.created_at
        if event.type == "metric":
            first = first or event.created_at
    assert created is not None
    assert first is not None
    return (first - created).total_seconds()


if __name__ == "__main__":
    main()
