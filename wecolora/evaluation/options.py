"""What can be chosen in an evaluation. Needs no torch, so that a bad option is refused at once."""

from enum import StrEnum
from typing import TypeVar

from wecolora.errors import OutOfRange


class ProbeProtocol(StrEnum):
    """How frozen features are judged."""

    LOGISTIC = "logistic"
    LARS = "lars"
    RIDGE = "ridge"
    KNN = "knn"


class SetFormat(StrEnum):
    """How a labelled set lies on disk; ``AUTO`` decides by the files present."""

    AUTO = "auto"
    FOLDERS = "folders"
    IMAGENET = "imagenet"
    CIFAR_100 = "cifar-100"
    CHESTX_RAY14 = "chestx-ray14"
    INATURALIST_2019 = "inaturalist-2019"
    RESISC45 = "resisc45"
    CSV = "csv"


Choice = TypeVar("Choice", bound=StrEnum)


def choose(kind: type[Choice], field: str, value: str) -> Choice:
    """The member of an enumeration that a user names.

    Raises:
        OutOfRange: no such member; all are named.
    """
    try:
        return kind(value)
    except ValueError:
        raise OutOfRange(field, str(value), " or ".join(member.value for member in kind)) from None
