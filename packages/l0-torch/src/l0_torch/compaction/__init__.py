"""From a gated model to a really smaller plain one."""

from l0_torch.compaction.compact import CompactionError, compact
from l0_torch.compaction.size_report import SizeReport, size_report

__all__ = ["CompactionError", "SizeReport", "compact", "size_report"]
