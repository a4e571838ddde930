"""Both kernels for packed rows give the same. FlexAttention is compiled for this machine; without a GPU only its forward pass."""

from typing import Any

import pytest
import torch
from transformers import Qwen3Config

from tests.trainer import networks
from tests.trainer.test_packing import PROMPTS
from trainer import attention
from trainer.attention import Layout, Span, attend_by_flex, attend_by_sdpa
from trainer.logprobs import Scorer
from trainer.packing import Prompted

pytestmark = [
    pytest.mark.slow,  # FlexAttention is compiled
    pytest.mark.timeout(600),
    pytest.mark.filterwarnings("ignore"),  # of torch's own, as it compiles
]

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
ON_A_GPU = pytest.mark.skipif(DEVICE.type == "cpu", reason="NO GPU: FlexAttention has no gradients on a CPU; SDPA's are tested")
SPANS = (Span(prompt=5, responses=(3, 1, 6)), Span(prompt=2, responses=()), Span(prompt=200, responses=(4, 90)))
LAYOUT = Layout(spans=SPANS, device=DEVICE)


def states(heads: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.randn(1, heads, sum(span.tokens for span in SPANS), 16, dtype=dtype, device=DEVICE)


@pytest.mark.parametrize(("heads", "shared"), [(4, 4), (4, 2), (6, 1)])
def test_the_kernels_agree(heads: int, shared: int) -> None:
    """With as many heads of keys as of queries, with fewer, and where their number is no power of two."""
    torch.manual_seed(0)
    module, given = torch.nn.Module().eval(), (states(heads), states(shared), states(shared), None)
    flex, _ = attend_by_flex(module, *given, shared_prefix=LAYOUT)
    sdpa, _ = attend_by_sdpa(module, *given, shared_prefix=LAYOUT)
    assert torch.allclose(flex, sdpa, rtol=1e-4, atol=1e-5)


def test_dropout_is_left_to_sdpa() -> None:
    """FlexAttention has none, and models that drop attention out while they train must train all the same."""
    module, given = torch.nn.Module(), (states(4), states(4), states(4), None)
    dropped = []
    for attend in (attend_by_flex, attend_by_sdpa):
        torch.manual_seed(0)
        dropped.append(attend(module, *given, dropout=0.5, shared_prefix=LAYOUT)[0])
    assert torch.equal(*dropped)


def scorer(config: Any, kernel: str) -> Scorer:
    made = Scorer.of(networks.network(config, torch.float32).to(DEVICE), [kernel])
    assert made.shares_prefixes
    assert made.network.config._attn_implementation == kernel
    return made


@torch.no_grad()
def logps(config: Any, kernel: str, prompts: list[Prompted], *, halves: bool) -> torch.Tensor:
    """Weights as they usually are: the large ones of other tests make bfloat16's rounding large too."""
    made = scorer(config, kernel)
    for weight in made.network.parameters():
        weight.div_(5 if weight.ndim > 1 else 1)
    with torch.autocast(DEVICE.type, torch.bfloat16, enabled=halves):
        found: torch.Tensor = made(prompts)
    return found


NORMED = Qwen3Config(**networks._LLAMA_LIKE, head_dim=16)
"""Which norms queries and keys, so under autocast they come in another dtype than values."""


@pytest.mark.parametrize(
    ("config", "halves"), [(networks.SHARING["llama"], False), (networks.SHARING["qwen2"], False), (NORMED, True)]
)
def test_log_probabilities_do_not_depend_on_the_kernel(config: Any, halves: bool) -> None:
    """Of a packed batch, in float32 and in bfloat16; the second batch is of another length and not compiled for."""
    for prompts in (PROMPTS, [*PROMPTS, *PROMPTS]):
        flex, sdpa = (logps(config, kernel, prompts, halves=halves) for kernel in (attention.FLEX, attention.SDPA))
        assert torch.allclose(flex, sdpa, rtol=1e-3, atol=2e-2 if halves else 1e-4)


@ON_A_GPU
def test_gradients_do_not_depend_on_the_kernel() -> None:
    """Of every weight."""
    found = []
    for kernel in (attention.FLEX, attention.SDPA):
        made = scorer(networks.SHARING["llama"], kernel)
        made(PROMPTS).sum().backward()
        found.append([weight.grad for weight in made.parameters()])
    for one, other in zip(*found, strict=True):
        assert (one - other).abs().max() < 1e-3 * other.abs().max()


def test_a_kernel_that_fails_is_passed_over() -> None:
    """FlexAttention knows no float64 on a CPU; with both allowed the network is set up for the other one."""
    made = Scorer.of(networks.network(networks.SHARING["llama"]).to(DEVICE), [attention.FLEX, attention.SDPA])
    assert made.shares_prefixes
    assert made.network.config._attn_implementation == attention.SDPA


def test_without_a_kernel_rows_are_padded() -> None:
    """And the network keeps the attention that it came with."""
    made = Scorer.of(networks.network(networks.SHARING["llama"]), [])
    assert not made.shares_prefixes
    assert made.network.config._attn_implementation == "sdpa"
