"""Sampling designs with exact first-order inclusion probabilities."""

from l0_gates.designs.conditional_poisson import conditional_probabilities, joint_probabilities
from l0_gates.designs.cube import cube
from l0_gates.designs.probabilities import horvitz_thompson_weights, inclusion_probabilities
from l0_gates.designs.sampling import max_entropy, poisson, rejective, sampford, simple_random, systematic
from l0_gates.designs.strategy import (
    CubeStrategy,
    DesignStrategy,
    MaxEntropyStrategy,
    PoissonStrategy,
    RandomStrategy,
    SampfordStrategy,
    SystematicStrategy,
)

__all__ = [
    "CubeStrategy",
    "DesignStrategy",
    "MaxEntropyStrategy",
    "PoissonStrategy",
    "RandomStrategy",
    "SampfordStrategy",
    "SystematicStrategy",
    "conditional_probabilities",
    "cube",
    "horvitz_thompson_weights",
    "inclusion_probabilities",
    "joint_probabilities",
    "max_entropy",
    "poisson",
    "rejective",
    "sampford",
    "simple_random",
    "systematic",
]
