"""Measures what a GPU does for sampling and training. Each part prints one object of JSON, ratios first, and progress on stderr.

    python -m benchmarks.gpu training     # packed rows, FlexAttention, bfloat16, recomputed activations, adapters
    python -m benchmarks.gpu samplers     # transformers with a dynamic and a static cache, vLLM
    python -m benchmarks.gpu overlap      # does a round take as long as the slower of sampling and execution?

Without a GPU each runs on the CPU with a small model, through the same code, to see that it works. Each takes the options that
`python -m benchmarks.gpu PART --help` tells; --model PATH takes a model of your own in place of one with random weights.
"""

import argparse
import json
import sys
from collections.abc import Sequence

from benchmarks import command_line
from benchmarks.gpu import overlap, samplers, training
from trainer.errors import ModelError
from trainer.language_model import check_device

PARTS = {"training": training, "samplers": samplers, "overlap": overlap}


class _Help(argparse.RawDescriptionHelpFormatter, argparse.ArgumentDefaultsHelpFormatter):
    """The text as it is, and each default, which depends on the machine."""


def main(arguments: Sequence[str]) -> int:
    """Returns the exit code."""
    parser = command_line("gpu", __doc__)
    parts = parser.add_subparsers(dest="part", required=True, metavar="PART")
    for name, part in PARTS.items():
        first, _, about = (part.__doc__ or "").partition("\n\n")
        part.add_options(parts.add_parser(name, help=first, description=f"{first}\n\n{about}", formatter_class=_Help))
    options = parser.parse_args(arguments)
    try:
        check_device(options.device, "--device")
    except ModelError as error:
        parser.error(str(error))
    print(json.dumps(PARTS[options.part].run(options, arguments), indent=None if options.measure else 2))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
