"""The contract kit: what every backend, distribution, gate and penalty must do, for plugin authors and for us."""
