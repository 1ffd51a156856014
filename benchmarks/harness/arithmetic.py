"""Useful arithmetic of a transformer: the matrix products of real tokens, without padding."""

import json
import pathlib


def useful_operations(model, lengths, training, head=True):
    """Operations of the matrix products for sequences of the given lengths in tokens; a
    multiply-add counts as two.

        2 · (T · linear + sequences · head + Σ attention(L)) · (3 if training else 1)

    A training step has three products where inference has one: forward, input gradient and weight
    gradient (for attention's products, the gradients of both operands).

    Args:
        model: Folder of the model; its config.json gives the shape.
        lengths: Tokens of each sequence.
        training: Whether backward products count.
        head: Whether there is a classifier after the transformer.

    Raises:
        ValueError: A `model_type` whose products are not known here.
    """
    config = json.loads((pathlib.Path(model) / "config.json").read_text())
    hidden, width, layers = (
        config["hidden_size"],
        config["intermediate_size"],
        config["num_hidden_layers"],
    )
    # The dense layer of the head and the one score.
    head = hidden * hidden + hidden if head else 0
    if config["model_type"] == "bert":
        linear = layers * (4 * hidden * hidden + 2 * hidden * width)
        windows = [None] * layers
    elif config["model_type"] == "modernbert":
        # The MLP is gated: its first product has twice the width.
        linear = layers * (4 * hidden * hidden + 3 * hidden * width)
        reach = config["local_attention"] // 2
        windows = [reach if kind == "sliding_attention" else None for kind in config["layer_types"]]
    else:
        raise ValueError(
            f"{model}: expected model_type bert or modernbert, got {config['model_type']}"
        )
    # Scores and weighted sums: one multiply-add each for every pair of tokens and hidden unit.
    attention = sum(
        2 * hidden * attended(length, window) for length in lengths for window in windows
    )
    return 2 * (sum(lengths) * linear + len(lengths) * head + attention) * (3 if training else 1)


def attended(length, window):
    """Pairs (i, j) of tokens with |i - j| <= window; all pairs when the window is None."""
    if window is None:
        return length * length
    reach = min(window, length - 1)
    return length + 2 * reach * length - reach * (reach + 1)
