"""The model's own dropout, which a training leaves off unless it is asked for.

StarCoder's models come with a tenth. Objectives here compare how likely responses are, with one another or with the reference
model, and each comparison would carry that noise; nor does FlexAttention know dropout. That of adapters is a setting of its own.
"""

from typing import Any

from torch import nn


def switch_off(network: Any) -> None:
    """In place, for good, and without changing the configuration that is saved with the model.

    Networks have modules for it, or numbers with such a name that they hand to functions.
    """
    for name, module in network.named_modules():
        if "lora_dropout" in name:
            continue
        if isinstance(module, nn.Dropout):
            module.p = 0.0
        for key, value in list(vars(module).items()):
            if isinstance(value, float) and ("dropout" in key or key.endswith("pdrop")):
                setattr(module, key, 0.0)
