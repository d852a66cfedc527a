"""The methods, each a function from `Context` to `Preparation`; modules are imported when their method is asked for."""

from importlib import import_module

from torch import nn

from wecolora.config import Method
from wecolora.methods.base import Context, Preparation

_HOMES = {
    Method.WECOLORA: ("copying", "prepare_copies"),
    Method.WECO_LORA_QV: ("copying", "prepare_copies"),
    Method.WECO_KD: ("copying", "prepare_copies"),
    Method.WECO: ("copying", "prepare_copies"),
    Method.KD: ("copying", "prepare_copies"),
    Method.DEIT: ("deit", "prepare_deit"),
    Method.MINIVIT: ("minivit", "prepare_minivit"),
    Method.DMAE: ("dmae", "prepare_dmae"),
}

_CHECKS = {
    Method.DEIT: ("deit", "check_deit"),
    Method.MINIVIT: ("minivit", "check_minivit"),
    Method.DMAE: ("dmae", "check_dmae"),
}


def check_method(method: Method, teacher: nn.Module) -> None:
    """Make sure, before any image is read, that a method fits this teacher.

    Raises:
        MethodDoesNotFit: when it does not.
    """
    if method in _CHECKS:
        module, function = _CHECKS[method]
        getattr(import_module(f"wecolora.methods.{module}"), function)(teacher)


def prepare(context: Context) -> Preparation:
    """Prepare a run of the configured method.

    Raises:
        WecoloraError: the method does not fit this teacher.
    """
    module, function = _HOMES[context.config.method]
    preparation: Preparation = getattr(import_module(f"wecolora.methods.{module}"), function)(context)
    return preparation
