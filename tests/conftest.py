"""What holds for all tests."""

import signal
from pathlib import Path

import pytest

# Before anything imports timm: torchvision must be importable beside a CPU build of torch.
import wecolora.torchvision_compat  # noqa: F401


def pytest_configure() -> None:
    """Let what the tests start be stopped by Ctrl-C, also where the tests themselves run in a shell's background."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(tryfirst=True)  # xdist reads the marks in a hook of the same name
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Where tests are shared out between processes, those of a module stay together, and so do those of faults."""
    root = Path(__file__).parent
    for item in items:
        module = item.path.relative_to(root)
        group = module.parts[0] if module.parts[0] == "faults" else str(module)
        item.add_marker(pytest.mark.xdist_group(group))
