"""What this package brings, announced by the hooks that everyone uses."""

from __future__ import annotations

from l0_core.plugins.hooks import hookimpl
from l0_core.plugins.records import PluginRecord


@hookimpl
def l0_backends() -> list[PluginRecord]:
    """Backends of l0-torch."""
    return [
        PluginRecord("torch", "l0_torch.backend:TorchBackend", "torch on the CPU (or any device)", requires=("torch",)),
        PluginRecord(
            "torch-cuda",
            "l0_torch.backend:TorchCudaBackend",
            "torch on a CUDA GPU",
            requires=("torch",),
            probe="l0_torch.device:cuda_lack",
        ),
    ]
