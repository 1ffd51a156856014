"""Rows that train a reranker with other losses than binary cross-entropy."""

import dataclasses
import random
import statistics

from harness.data import text_tokenizer, token_counts
from harness.training import MAX_LENGTH, Training
from harness.arithmetic import useful_operations

SEED = 12


@dataclasses.dataclass
class Distillation(Training):
    """Trains on the scores of a teacher: made ones, as any take the same time."""

    loss: str = "MSELoss"

    def _rows(self, corpus, tokenizer, count):
        rows, lengths = super()._rows(corpus, tokenizer, count)
        draw = random.Random(SEED)
        for row in rows:
            row["label"] = (4.0 if row["label"] else -5.0) + draw.gauss(0.0, 1.0)
        return rows, lengths


@dataclasses.dataclass
class ListTraining(Training):
    """Trains on lists of documents, the first of which answers the query.

    Attributes:
        documents: Documents of a list.
    """

    loss: str = "LambdaLoss"
    # A step has few lists, whose losses differ by more than those of as many pairs.
    mean_tolerance: float = 0.25
    documents: int = 8

    def prepare(self, bench, folder):
        self.steps = bench.size(self.steps, 3)
        count = self.steps * self.batch_size
        model = bench.models.made(self.model)
        tokenizer = text_tokenizer(model, MAX_LENGTH)
        # A list is the passages of so many questions, and the question of the first.
        pairs, _ = bench.corpus.matching_pairs(tokenizer, count * self.documents)
        rows, lengths = [], []
        labels = [1.0] + [0.0] * (self.documents - 1)
        for start in range(0, len(pairs), self.documents):
            query = pairs[start][0]
            answers = [answer for _, answer in pairs[start : start + self.documents]]
            rows.append({"query": query, "documents": answers, "labels": labels})
            lengths += token_counts(tokenizer, [(query, answer) for answer in answers])

        def groups(size):
            return [lengths[start : start + size] for start in range(0, len(lengths), size)]

        self._write(folder, rows, [sum(group) for group in groups(self.documents)])
        padded = statistics.mean(map(max, groups(self.documents * self.batch_size)))
        detail = (
            f"{self.steps} steps of {self.batch_size} lists of {self.documents} documents, "
            f"pairs of {statistics.mean(lengths):.0f} tokens, {padded:.0f} with padding"
        )
        operations = useful_operations(model, lengths, training=True) / self.steps
        return count * self.documents, operations, detail
