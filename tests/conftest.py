"""Fixtures of all tests."""

# Before anything imports timm: torchvision must be importable beside a CPU build of torch.
import wecolora.torchvision_compat  # noqa: F401
