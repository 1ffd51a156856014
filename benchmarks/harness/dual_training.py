"""Rows that train a dual encoder."""

import dataclasses
import json
import statistics

from harness.arithmetic import useful_operations
from harness.commands import RowFailed
from harness.data import text_tokenizer, write_rows
from harness.training import MAX_LENGTH, Training, expect_tokens

RECIPE = """\
[model]
kind = "dual-encoder"
path = {model}

[dataset]
path = {pairs}

[loss]
"""

MATRYOSHKA_DIMS = [1024, 512, 256, 128, 64, 32]

# Enough that the losses of the step by step comparison do not vanish.
COMPARED_ROWS = 16
# Of the mean losses of two runs, whose rows meet other negatives.
MEAN_TOLERANCE = 0.25


@dataclasses.dataclass
class DualTraining(Training):
    """Trains a transformer with a contrastive loss over the pairs of a batch.

    The candidates of a question are the passages of its batch, so the losses of two runs compare
    only as the mean of many batches, or batch by batch where an epoch is one batch.

    Attributes:
        mini_batch_size: Texts in a chunk of gradient caching; None trains without.
    """

    mini_batch_size: int | None = None

    @property
    def compared_rows(self):
        """Rows of the batch that is compared step by step."""
        return COMPARED_ROWS

    def prepare(self, bench, folder):
        self.steps = bench.size(self.steps, 2)
        count = self.steps * self.batch_size
        model = bench.models.made(self.model)
        tokenizer = text_tokenizer(model, MAX_LENGTH)
        pairs, lengths = bench.corpus.matching_pairs(tokenizer, count)
        self._write(folder, pairs, lengths)
        sequences = [tokens for pair in lengths for tokens in pair]
        detail = (
            f"{self.steps} steps of {self.batch_size} pairs "
            f"of {self.tokens / count:.0f} tokens in both texts"
        )
        operations = useful_operations(model, sequences, training=True, head=False) / self.steps
        return count, operations, detail

    def _write(self, folder, pairs, lengths):
        rows = [dict(zip(("query", "answer"), pair)) for pair in pairs]
        self.pairs, self.few = folder / "pairs.jsonl", folder / "few.jsonl"
        write_rows(self.pairs, rows)
        write_rows(self.few, rows[:COMPARED_ROWS])
        self.tokens = sum(map(sum, lengths))
        self.few_tokens = sum(map(sum, lengths[:COMPARED_ROWS]))

    def check(self, ours, theirs):
        expect_tokens(self.tokens, ours["tokens"], theirs["tokens"])
        means = [statistics.mean(side["losses"]) for side in (ours, theirs)]
        if not abs(means[0] - means[1]) <= MEAN_TOLERANCE * means[1]:
            raise RowFailed(f"mean losses {means[0]:.4f} and {means[1]:.4f}")
        return (
            f"same {self.tokens} tokens, mean losses {means[0]:.4f} and {means[1]:.4f} "
            "(rows in other batches)"
        )

    def _loss(self):
        """The fields of the recipe's loss; the other side is given the same."""
        if self.mini_batch_size is None:
            return {"name": "MultipleNegativesRankingLoss"}
        cached = "CachedMultipleNegativesRankingLoss"
        return {"name": cached, "mini_batch_size": self.mini_batch_size}

    def _recipe(self, model, pairs):
        paths = {"model": json.dumps(str(model)), "pairs": json.dumps(str(pairs))}
        loss = [f"{name} = {toml(value)}" for name, value in self._loss().items()]
        return RECIPE.format(**paths) + "\n".join(loss) + "\n"

    def _job(self):
        return {"work": "train_dual", "loss": self._loss()}


@dataclasses.dataclass
class StaticTraining(DualTraining):
    """Trains a static model from random vectors for an epoch, all nested dimensions at once, as
    static-retrieval-mrl-en-v1 was."""

    def prepare(self, bench, folder):
        pairs = bench.corpus.all_pairs()
        count = min(len(pairs), max(2 * self.batch_size, round(len(pairs) * bench.scale)))
        pairs = pairs[:count]
        (found,) = bench.models.made(self.model).rglob("tokenizer.json")
        tokenizer = text_tokenizer(found.parent, None)
        sides = [
            [len(text.ids) for text in tokenizer.encode_batch(texts, add_special_tokens=False)]
            for texts in zip(*pairs)
        ]
        lengths = list(zip(*sides))
        self._write(folder, pairs, lengths)
        return count, None, f"{count} pairs, batches of {self.batch_size}"

    def check(self, ours, theirs):
        """Batches without duplicates are other ones here and there, and a last batch may lack a
        few rows that have no place in it."""
        for side, tokens in (("rankforge", ours["tokens"]), ("theirs", theirs["tokens"])):
            if not 0.98 * self.tokens <= tokens <= self.tokens:
                raise RowFailed(f"expected about {self.tokens} tokens, {side} saw {tokens}")
        ends = [statistics.mean(side["losses"][-10:]) for side in (ours, theirs)]
        difference = abs(ends[0] - ends[1]) / ends[1]
        if not difference <= 0.1:
            raise RowFailed(f"losses of the last steps {ends[0]:.3f} and {ends[1]:.3f}")
        return (
            f"{ours['tokens']} and {theirs['tokens']} tokens, "
            f"losses of the last ten steps {ends[0]:.3f} and {ends[1]:.3f}"
        )

    def _loss(self):
        return {
            "name": "MatryoshkaLoss",
            "matryoshka_dims": MATRYOSHKA_DIMS,
            "loss": {"name": "MultipleNegativesRankingLoss"},
        }

    def _arguments(self):
        return {
            "learning_rate": 0.2,
            "warmup_steps": 0.1,
            "logging_steps": 1,
            "save_strategy": "no",
            "seed": 12,
            "num_train_epochs": 1,
            "per_device_train_batch_size": self.batch_size,
            "batch_sampler": "no_duplicates",
        }


def toml(value):
    """A JSON value as TOML writes it."""
    if isinstance(value, dict):
        fields = ", ".join(f"{name} = {toml(inner)}" for name, inner in value.items())
        return f"{{ {fields} }}"
    return json.dumps(value)
