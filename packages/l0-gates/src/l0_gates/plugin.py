"""What this package brings, announced by the hooks that everyone uses."""

from __future__ import annotations

from l0_core.plugins.hooks import hookimpl
from l0_core.plugins.records import PluginRecord

_DESIGNS = "l0_gates.designs.strategy"


@hookimpl
def l0_gates() -> list[PluginRecord]:
    """Gate strategies."""
    return [
        PluginRecord("sample", "l0_gates.sample:SampleStrategy", "learns which records matter for given totals"),
        PluginRecord("feature", "l0_gates.feature:FeatureStrategy", "learns which features explain a response"),
        PluginRecord("hybrid", "l0_gates.hybrid:HybridStrategy", "a learned part and a random part, exact totals"),
        PluginRecord("random", f"{_DESIGNS}:RandomStrategy", "simple random sampling"),
        PluginRecord("poisson", f"{_DESIGNS}:PoissonStrategy", "Poisson sampling given its size (Hajek 1964)"),
        PluginRecord("systematic", f"{_DESIGNS}:SystematicStrategy", "systematic sampling in proportion to size"),
        PluginRecord("sampford", f"{_DESIGNS}:SampfordStrategy", "Sampford's design in proportion to size (1967)"),
        PluginRecord("max_entropy", f"{_DESIGNS}:MaxEntropyStrategy", "maximum entropy design in proportion to size"),
        PluginRecord("cube", f"{_DESIGNS}:CubeStrategy", "cube method: balanced sampling (Deville & Tille 2004)"),
    ]
