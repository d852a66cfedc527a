"""What holds for all tests."""

import signal

# Before anything imports timm: torchvision must be importable beside a CPU build of torch.
import wecolora.torchvision_compat  # noqa: F401


def pytest_configure() -> None:
    """Let what the tests start be stopped by Ctrl-C, also where the tests themselves run in a shell's background."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
