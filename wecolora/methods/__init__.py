"""The methods, each a function from `Context` to `Preparation`; modules are imported when their method is asked for."""

from importlib import import_module

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


def prepare(context: Context) -> Preparation:
    """Prepare a run of the configured method.

    Raises:
        WecoloraError: the method does not fit this teacher.
    """
    module, function = _HOMES[context.config.method]
    preparation: Preparation = getattr(import_module(f"wecolora.methods.{module}"), function)(context)
    return preparation
