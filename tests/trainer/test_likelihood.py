"""Log-probabilities without the logits: exact, gradients included, and never a tensor of the logits' size."""

from typing import Any

import pytest
import torch
from torch.nn.functional import linear
from torch.utils._python_dispatch import TorchDispatchMode

from tests.trainer import networks
from trainer.likelihood import likelihoods
from trainer.logprobs import Scorer, can_skip_logits

TOKENS, HIDDEN, VOCABULARY = 70, 16, 32_000
CHUNK_LOGITS = 2**19
"""16 tokens at a time, so the last chunk is smaller."""


def made(dtype: torch.dtype = torch.float64, *, bias: bool = True) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor | None]:
    torch.manual_seed(0)
    hidden_MH = torch.randn(TOKENS, HIDDEN, dtype=dtype, requires_grad=True)
    weight_VH = torch.randn(VOCABULARY, HIDDEN, dtype=dtype, requires_grad=True)
    return hidden_MH, weight_VH, torch.randn(VOCABULARY, dtype=dtype, requires_grad=True) if bias else None


TARGETS = torch.arange(TOKENS) * 450


def plain(hidden_MH: torch.Tensor, weight_VH: torch.Tensor, bias_V: torch.Tensor | None) -> torch.Tensor:
    return linear(hidden_MH, weight_VH, bias_V).log_softmax(dim=1).gather(1, TARGETS[:, None])[:, 0]


def chunked(hidden_MH: torch.Tensor, weight_VH: torch.Tensor, bias_V: torch.Tensor | None) -> torch.Tensor:
    return likelihoods(hidden_MH, weight_VH, bias_V, TARGETS, CHUNK_LOGITS)


@pytest.mark.parametrize("bias", [True, False], ids=["bias", "no bias"])
def test_values_and_gradients_equal_the_plain_definition(bias: bool) -> None:
    """Over several chunks, with a slope of its own for each token."""
    slopes_M = torch.linspace(-1, 2, TOKENS, dtype=torch.float64)
    values, gradients = [], []
    for compute in (chunked, plain):
        given = made(bias=bias)
        values.append(compute(*given))
        (values[-1] * slopes_M).sum().backward()
        gradients.append([tensor.grad for tensor in given if tensor is not None])
    assert torch.allclose(values[0], values[1], rtol=1e-12)
    for one, other in zip(*gradients, strict=True):
        assert torch.allclose(one, other, rtol=1e-9, atol=1e-12)


def test_frozen_weights_get_no_gradient() -> None:
    """As with LoRA, where only the hidden states carry one."""
    hidden_MH, weight_VH, _ = made(bias=False)
    chunked(hidden_MH, weight_VH.detach(), None).sum().backward()
    assert hidden_MH.grad is not None
    assert weight_VH.grad is None


def test_under_autocast_products_are_rounded_and_sums_are_not() -> None:
    """bfloat16 has three digits: the result is float32 and within its rounding of the exact one."""
    given = made(torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        found = chunked(*given)
    assert found.dtype == torch.float32
    assert torch.allclose(found, plain(*given), rtol=0.02, atol=0.05)
    assert not torch.equal(found, plain(*given))


class Largest(TorchDispatchMode):
    """Remembers the largest tensor that any operation made."""

    elements = 0

    def __torch_dispatch__(self, operation: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = operation(*args, **(kwargs or {}))
        if isinstance(result, torch.Tensor):
            self.elements = max(self.elements, result.numel())
        return result


def test_no_tensor_is_as_large_as_the_logits() -> None:
    """Forward and backward: nothing above the weight's own size and a chunk's; the plain way makes all logits."""
    largest = []
    for compute in (chunked, plain):
        given = made()
        with Largest() as seen:
            compute(*given).sum().backward()
        largest.append(seen.elements)
    assert largest == [VOCABULARY * HIDDEN, VOCABULARY * TOKENS]


@pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated:DeprecationWarning")
@pytest.mark.parametrize("config", networks.SHARING.values(), ids=networks.SHARING)
def test_a_plain_head_is_recognised(config: Any) -> None:
    """Of every family that shares prefixes."""
    assert Scorer.of(networks.network(config)).skips_logits


@pytest.mark.parametrize("config", networks.CHANGING.values(), ids=networks.CHANGING)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_a_head_whose_logits_are_changed_is_left_to_the_network(config: Any, dtype: torch.dtype) -> None:
    """It is noticed whatever the setting is called, of small weights as well, which make logits that no cap reaches."""
    network = networks.network(config, dtype)
    with torch.no_grad():
        for weight in network.parameters():
            weight.div_(500 if weight.ndim > 1 else 1)
    assert not can_skip_logits(network)


def test_a_plain_head_is_recognised_in_bfloat16() -> None:
    """As it is in float64."""
    assert can_skip_logits(networks.network(networks.SHARING["llama"], torch.bfloat16))
