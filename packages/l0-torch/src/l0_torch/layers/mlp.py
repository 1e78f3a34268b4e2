"""`SparseMLP`: three gated linear layers."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn
from torch.nn import functional

from l0_torch.layers.linear import L0Linear


class SparseMLP(nn.Module):
    """Multilayer perceptron with a gate for each weight: input, two hidden layers with ReLU, output.

    Parameters
    ----------
    input_dim, hidden_dim, output_dim
        Sizes; inputs of more than two dimensions are flattened to (N, input_dim).
    init_sparsity
        The probability with which each gate is closed at first.
    temperature
        beta of the gates.
    use_l2
        Whether `get_l2_loss` is on.
    structured
        One gate for each hidden unit instead of one for each weight (the output layer keeps gates on weights).
    """

    def __init__(
        self,
        input_dim: int = 784,
        hidden_dim: int = 256,
        output_dim: int = 10,
        init_sparsity: float = 0.5,
        temperature: float = 0.5,
        use_l2: bool = False,
        *,
        structured: bool = False,
    ) -> None:
        super().__init__()
        self.use_l2 = use_l2
        shared: dict[str, Any] = {"temperature": temperature, "init_sparsity": init_sparsity, "use_l2": use_l2}
        self.fc1 = L0Linear(input_dim, hidden_dim, structured=structured, **shared)
        self.fc2 = L0Linear(hidden_dim, hidden_dim, structured=structured, **shared)
        self.fc3 = L0Linear(hidden_dim, output_dim, **shared)

    def forward(self, x: Tensor) -> Tensor:
        """Shape (N, ...) to (N, output_dim)."""
        x = x.flatten(1)
        x = functional.relu(self.fc1(x))
        x = functional.relu(self.fc2(x))
        output: Tensor = self.fc3(x)
        return output

    def get_l0_loss(self) -> Tensor:
        """The expected number of open gates, a scalar."""
        return self.fc1.get_l0_penalty() + self.fc2.get_l0_penalty() + self.fc3.get_l0_penalty()

    def get_l2_loss(self) -> Tensor:
        """The layers' L2 penalties, a scalar; 0 unless ``use_l2``."""
        return self.fc1.get_l2_penalty() + self.fc2.get_l2_penalty() + self.fc3.get_l2_penalty()

    def get_sparsity_stats(self) -> dict[str, dict[str, Any]]:
        """As `l0_torch.get_sparsity_stats`, by layer."""
        from l0_torch.penalties import get_sparsity_stats

        return get_sparsity_stats(self)
