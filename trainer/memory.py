"""How much memory a training step takes on each GPU, and how long a run computes: arithmetic on a model's shape, no GPU needed.

Weights, gradients and AdamW's two moments are shared out among the GPUs (FSDP, full sharding). A GPU gathers two layers at a
time, the one that computes and the next, and what belongs to no layer, such as embeddings; alone it keeps a copy of the weights
in the precision that it computes with, where that is another. Of activations the backward pass keeps
either all that autograd saves or, recomputed, the input of each layer and all of one. `tests/trainer/test_memory.py` holds the
count of saved values against what autograd saves for real networks.
"""

from dataclasses import dataclass

from trainer.likelihood import CHUNK_LOGITS

GIB = 2**30
_MOMENTS = 2
_RESERVE_BYTES = int(1.5 * GIB)
"""CUDA's context, its libraries' workspaces, and what the allocator cannot use."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Shape:
    """A decoder's sizes; parameters are counted, not estimated."""

    parameters: int
    layer_parameters: int
    """Of one layer."""
    layers: int
    hidden: int
    key_value: int
    """Width of all keys of a token together."""
    inner: int
    gated: bool
    """Whether the MLP has a gate beside its two products, as Llama's has."""
    vocabulary: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Setup:
    gpus: int
    sharded: bool
    """Whether they share out the weights; else each has a copy."""
    weight_bytes: int
    """Of a weight of the model: 4 in float32, 2 in bfloat16."""
    compute_bytes: int
    """Of an activation."""
    trained: int
    """Parameters that are trained: all, or those of the adapters, which come on top."""
    trained_bytes: int
    """Of one of them, of its gradient and of each of its moments; adapters are float32."""
    tokens: int
    """Of one forward pass on one GPU."""
    recompute: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """Bytes on each GPU."""

    parameters: int
    gradients: int
    optimizer: int
    gathered: int
    activations: int
    logits: int
    reserve: int

    @property
    def total(self) -> int:
        parts = (self.parameters, self.gradients, self.optimizer, self.gathered, self.activations, self.logits, self.reserve)
        return sum(parts)


def plan(shape: Shape, setup: Setup) -> Plan:
    """The peak, which is at the end of the forward pass, and in the backward pass of the head."""
    shards = setup.gpus if setup.sharded else 1
    whole = shards == 1
    outside = shape.parameters - shape.layers * shape.layer_parameters
    gathered = 0 if whole else (2 * shape.layer_parameters + outside) * setup.compute_bytes
    copies = setup.compute_bytes * shape.parameters if whole and setup.compute_bytes < setup.weight_bytes else 0
    is_whole = setup.trained == shape.parameters
    adapters = 0 if is_whole else setup.trained * setup.trained_bytes
    buckets = 2 if whole and setup.gpus > 1 else 1  # DDP brings gradients together in a copy of them
    head = shape.vocabulary * shape.hidden * 4 if is_whole else 0
    return Plan(
        parameters=(shape.parameters * setup.weight_bytes + adapters) // shards,
        gradients=buckets * setup.trained * setup.trained_bytes // shards,
        optimizer=_MOMENTS * setup.trained * setup.trained_bytes // shards,
        gathered=gathered + copies,
        activations=_activations(shape, setup),
        logits=3 * CHUNK_LOGITS * 4 + head + 2 * setup.tokens * shape.hidden * setup.compute_bytes,
        reserve=_RESERVE_BYTES,
    )


def saved_values(shape: Shape) -> int:
    """Values that autograd keeps of one token in one layer: inputs of products and of functions that are not linear.

    Both norms keep their input and hand on an output, queries, keys, values and the attention's result are kept, and of the MLP
    every intermediate result. Attention keeps no scores, since it is computed in blocks.
    """
    attention = 2 * shape.hidden + shape.hidden + 2 * shape.key_value + shape.hidden
    mlp = 2 * shape.hidden + (4 if shape.gated else 2) * shape.inner
    return attention + mlp


def _activations(shape: Shape, setup: Setup) -> int:
    of_layer = setup.tokens * saved_values(shape) * setup.compute_bytes
    inputs = setup.tokens * shape.hidden * setup.compute_bytes
    return shape.layers * inputs + of_layer if setup.recompute else shape.layers * of_layer


def training_flops(shape: Shape, setup: Setup, tokens: int) -> float:
    """Products and sums of training on so many tokens: 2 for each weight and token in the forward pass, 4 in the backward pass.

    Adapters need no gradients of the weights below them: 2 less. Recomputing is a second forward pass.
    """
    backward = 4 if setup.trained == shape.parameters else 2
    return float(shape.parameters) * tokens * (2 + backward + (2 if setup.recompute else 0))
