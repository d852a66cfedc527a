"""Client of a WeCoLoRA service: upload a folder, start a job, follow it, download the student.

from wecolora_client import Client

with Client("http://127.0.0.1:8000") as client:
    images = client.upload("photos/", name="holiday")
    job = client.create_job(teacher="vit_base_patch16_224", dataset_id=images, r=2, k=128)
    job = client.wait_for_job(job.id)
    client.download_student(job.id, "student")
"""

from wecolora_client.client import Client
from wecolora_client.errors import (
    ClientError,
    DamagedDownload,
    DatasetFailed,
    InvalidWebhook,
    JobFailed,
    NothingToUpload,
    ServiceError,
    Unreachable,
)
from wecolora_client.models import Artifact, Dataset, DryRun, Event, Failure, Job, Network, Part
from wecolora_client.uploads import UploadProgress
from wecolora_client.webhooks import verify_webhook

__all__ = [
    "Artifact",
    "Client",
    "ClientError",
    "DamagedDownload",
    "Dataset",
    "DatasetFailed",
    "DryRun",
    "Event",
    "Failure",
    "InvalidWebhook",
    "Job",
    "JobFailed",
    "Network",
    "NothingToUpload",
    "Part",
    "ServiceError",
    "Unreachable",
    "UploadProgress",
    "verify_webhook",
]
