"""What vLLM's workers learn from us: to take up other weights entirely.

vLLM's own `reload_weights` leaves one thing behind. On a CPU it keeps a packed copy of the output layer. Where that layer is tied
to the embeddings, no weights of its own are loaded, so the copy is not made anew, and the new model speaks through the old one's
output layer (seen with 0.32.0). The engine of a run has this extension; `vllm serve` takes it with --worker-extension-cls.
"""

from typing import Any

EXTENSION = "trainer.sampling.reloading.Reloading"
METHOD = "take_up_weights"


class Reloading:
    """Mixed into vLLM's worker, whose attributes it uses."""

    model_runner: Any

    def take_up_weights(self, weights_path: str) -> None:
        """Loads the weights of a model of the same shape; to be called between requests, and the prefix cache reset."""
        from vllm.model_executor.layers.vocab_parallel_embedding import ParallelLMHead

        self.model_runner.reload_weights(weights_path=weights_path)
        for layer in self.model_runner.get_model().modules():
            if isinstance(layer, ParallelLMHead):
                layer.quant_method.process_weights_after_loading(layer)
