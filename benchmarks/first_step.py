"""How long is it from ``POST /jobs`` to the first optimiser step?

Starts the embedded service twice, without and with a spare trainer, sends it the same job several times, and prints a
line of JSON for each: the seconds by the database's clock between the job's row and the event of its first step. Jobs
come one after the other, with a pause in which the next spare may load. The job is one on the sample digits, or on a
teacher and images of one's own.

    ./run bench first_step
    ./run bench first_step --teacher own.safetensors --architecture vit_small_patch14_dinov2 --image-size 98 \
        --images unlabelled
"""

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import httpx2

from benchmarks.machine import describe_machine
from samples.demo_service import embedded_service
from samples.digits import write_digits
from wecolora_client import Client

_SAMPLE = "sample-digits"
_PAUSE_SECONDS = 20.0


def main() -> None:
    """Measure and print."""
    options = _parse()
    print(json.dumps(describe_machine()))  # noqa: T201
    with tempfile.TemporaryDirectory() as scratch:
        images = options.images or write_digits(Path(scratch) / "digits").unlabelled
        for spare in ("false", "true"):
            settings = {"WECOLORA_SPARE_TRAINER": spare}
            with (
                embedded_service(Path(scratch), None, False, settings) as service,
                Client(service.url) as client,
            ):
                dataset = client.upload(images)
                client.wait_for_dataset(dataset)
                job = {"dataset_id": dataset, **_job(options, service.url)}
                seconds = [_first_step(client, job) for _ in range(options.repeats)]
            result = {
                "teacher": options.architecture or _SAMPLE,
                "recipe": options.recipe,
                "spare_trainer": spare == "true",
                "median_seconds": round(statistics.median(seconds), 2),
                "seconds": [round(each, 2) for each in seconds],
            }
            print(json.dumps(result), flush=True)  # noqa: T201


def _job(options: argparse.Namespace, url: str) -> dict[str, Any]:
    """What is asked for; a teacher of one's own is uploaded first."""
    job = {"teacher": _SAMPLE, "r": 2, "k": 16, "recipe": options.recipe}
    if options.teacher:
        with options.teacher.open("rb") as weights:
            sent = httpx2.post(
                f"{url}/teachers",
                data={"architecture": options.architecture},
                files={"file": weights},
                timeout=300,
            )
        job |= {"teacher": sent.raise_for_status().json()["id"], "k": 128, "image_size": options.image_size}
    return job


def _first_step(client: Client, asked: dict[str, Any]) -> float:
    """Seconds from the job's row to the event of its first step."""
    time.sleep(_PAUSE_SECONDS)
    job = client.create_job(**asked, epochs=1)
    created, first = None, None
    for event in client.follow(job.id):
        created = created or event.created_at
        if event.type == "metric":
            first = first or event.created_at
    assert created is not None
    assert first is not None
    return (first - created).total_seconds()


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--recipe", default="paper")
    parser.add_argument("--teacher", type=Path, help="a .safetensors file, instead of the sample")
    parser.add_argument("--architecture")
    parser.add_argument("--image-size", type=int)
    parser.add_argument("--images", type=Path, help="a folder")
    return parser.parse_args()


if __name__ == "__main__":
    main()
