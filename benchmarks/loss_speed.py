"""Measures the in-batch ranking loss of sentence-transformers on large batches, as the program
crates/rankforge/examples/loss_speed.rs does: value and gradient of random embeddings. Prints the
median and the least of five times of each case, in seconds.

    target/benchmarks/venv/bin/python benchmarks/loss_speed.py
"""

import statistics
import time

import torch
from sentence_transformers.sentence_transformer import losses

TIMES = 5
CASES = [("MatryoshkaLoss", 2048, 1024), ("MultipleNegativesRankingLoss", 2048, 1024)]
CASES += [("MultipleNegativesRankingLoss", 8192, 384)]


class Identity(torch.nn.Module):
    """A model whose features are embeddings."""

    def __init__(self, width):
        super().__init__()
        self.width = width

    def get_embedding_dimension(self):
        return self.width

    def forward(self, features):
        return {"sentence_embedding": features["embedding"]}


def main():
    torch.set_num_threads(2)
    for name, rows, width in CASES:
        model = Identity(width)
        loss = losses.MultipleNegativesRankingLoss(model)
        if name == "MatryoshkaLoss":
            loss = losses.MatryoshkaLoss(model, loss, [1024, 512, 256, 128, 64, 32])
        texts = [(torch.rand(rows, width) * 2 - 1).requires_grad_() for _ in range(2)]
        seconds = []
        for _ in range(TIMES + 1):
            begun = time.perf_counter()
            loss([{"embedding": text} for text in texts], None).backward()
            seconds.append(time.perf_counter() - begun)
        seconds = seconds[1:]
        middle, least = statistics.median(seconds), min(seconds)
        print(f"{name}, {rows} x {width}: {middle:.3f}, {least:.3f}")


main()
