"""Whether there is a CUDA device, as far as that can be told without importing torch, which takes seconds."""

from __future__ import annotations

import ctypes
import importlib.metadata
import os
import sys
from collections.abc import Callable
from typing import Any

_LIBRARY = "nvml.dll" if sys.platform == "win32" else "libnvidia-ml.so.1"


def cuda_lack(load: Callable[[str], Any] = ctypes.CDLL) -> str:
    """What keeps torch from a CUDA device, "" for nothing.

    Where torch is imported already it is asked; otherwise the driver's management library counts the
    devices (``load`` opens it), which opens no context on them.
    """
    torch: Any = sys.modules.get("torch")
    if torch is not None:
        return "" if torch.cuda.is_available() else f"torch {torch.__version__} sees no CUDA device"
    version = importlib.metadata.version("torch")
    if version.endswith("+cpu"):
        return f"torch {version} is not built for CUDA"
    if "+rocm" in version:
        return ""  # told apart by torch alone
    if os.environ.get("CUDA_VISIBLE_DEVICES", "0").strip() in ("", "-1"):
        return "CUDA_VISIBLE_DEVICES hides every device"
    return "" if _devices(load) else "no NVIDIA driver with a device on this machine"


def _devices(load: Callable[[str], Any]) -> int:
    """Devices that the driver knows; 0 where there is no driver."""
    count = ctypes.c_uint(0)
    try:
        driver = load(_LIBRARY)
        if driver.nvmlInit_v2() != 0:
            return 0
    except (OSError, AttributeError):
        return 0
    try:
        return count.value if driver.nvmlDeviceGetCount_v2(ctypes.byref(count)) == 0 else 0
    finally:
        driver.nvmlShutdown()
