"""Rows that train a reranker."""

import dataclasses
import json
import math
import re
import statistics

from harness.arithmetic import useful_operations
from harness.bench import Run
from harness.commands import RowFailed
from harness.data import text_tokenizer, token_counts, write_rows

ARGUMENTS = {
    "learning_rate": 2e-5,
    "warmup_steps": 0.1,
    "logging_steps": 1,
    "save_strategy": "no",
    "seed": 12,
}
MAX_LENGTH = 512
COMPARED_STEPS = 4
COMPARED_ROWS = 2

# Differences of losses relative to them, or to a tenth of the first. Step by step without dropout:
# in fp32, rounding that AdamW's first, sign-like steps carry on; in bf16, 8 bits of mantissa in
# every product. Over a whole run with dropout: other masks and another order of the same rows.
STEP_TOLERANCE = {"fp32": 1e-4, "bf16": 2e-2}
MEAN_TOLERANCE = 0.05

RECIPE = """\
[model]
path = {model}
num_labels = 1
max_length = {max_length}

[dataset]
path = {pairs}

[loss]
name = "{loss}"
"""


@dataclasses.dataclass
class Training:
    """Trains a model for a number of steps; the rate is that of the Trainer, without starting and
    loading.

    There are as many rows as the steps take, so that both sides see each once, whatever their
    order.

    Attributes:
        model: The model's name, for `Models.made`.
        undropped: The same model without dropout, for the step by step comparison.
        similar: Train on sentence pairs in the place of question and passage pairs.
        loss: The name of the loss, with its defaults.
        mean_tolerance: Relative difference of the mean losses of a whole run.
        fresh: The weights are random, so the losses of the first steps leap with the order of the
            rows and their mean is not compared.
    """

    name: str
    title: str
    precision: str
    target: float
    model: str
    undropped: str
    batch_size: int
    steps: int
    similar: bool = False
    loss: str = "BinaryCrossEntropyLoss"
    fresh: bool = False
    memory_target: float | None = None
    unit: str = "pairs/s"
    mean_tolerance: float = MEAN_TOLERANCE

    @property
    def compared_rows(self):
        """Rows of the batch that is compared step by step."""
        return COMPARED_ROWS

    def prepare(self, bench, folder):
        self.steps = bench.size(self.steps, 3)
        count = self.steps * self.batch_size
        tokenizer = text_tokenizer(bench.models.made(self.model), MAX_LENGTH)
        rows, lengths = self._rows(bench.corpus, tokenizer, count)
        self._write(folder, rows, lengths)
        batches = [
            lengths[start : start + self.batch_size] for start in range(0, count, self.batch_size)
        ]
        padded = statistics.mean(max(batch) for batch in batches)
        detail = (
            f"{self.steps} steps of {self.batch_size} pairs "
            f"of {statistics.mean(lengths):.0f} tokens, {padded:.0f} with padding"
        )
        return (
            count,
            useful_operations(bench.models.made(self.model), lengths, training=True) / self.steps,
            detail,
        )

    def _rows(self, corpus, tokenizer, count):
        """So many rows, and the tokens of each."""
        if self.similar:
            rows = corpus.sample_similar(count)
            pairs = [(row["sentence1"], row["sentence2"]) for row in rows]
            return rows, token_counts(tokenizer, pairs)
        labeled, lengths = corpus.labeled_pairs(tokenizer, count, seed=self.batch_size)
        return [dict(zip(("query", "answer", "label"), row)) for row in labeled], lengths

    def _write(self, folder, rows, lengths):
        """Writes the rows, and those that are compared step by step; `lengths` are the tokens of
        each row."""
        write_rows(folder / "pairs.jsonl", rows)
        write_rows(folder / "few.jsonl", rows[:COMPARED_ROWS])
        self.pairs, self.few = folder / "pairs.jsonl", folder / "few.jsonl"
        self.tokens, self.few_tokens = sum(lengths), sum(lengths[:COMPARED_ROWS])

    def compare_first(self, bench, folder):
        """Trains both sides without dropout on one batch that is an epoch, so that the order of its
        rows does not matter."""
        arguments = {
            **ARGUMENTS,
            "max_steps": COMPARED_STEPS,
            "per_device_train_batch_size": self.compared_rows,
        }
        model = bench.models.made(self.undropped)
        _, ours = self._ours(bench, folder / "compared-ours", model, self.few, arguments)
        _, theirs = self._theirs(bench, folder / "compared-theirs", model, self.few, arguments)
        expect_tokens(self.few_tokens * COMPARED_STEPS, ours["tokens"], theirs["tokens"])
        if len(ours["losses"]) != COMPARED_STEPS or len(theirs["losses"]) != COMPARED_STEPS:
            raise RowFailed(
                f"expected {COMPARED_STEPS} losses of each side, "
                f"got {ours['losses']} and {theirs['losses']}"
            )
        # A loss that has fallen far is off by what rounding did to logits of their first size.
        least = theirs["losses"][0] / 10
        differences = [
            abs(a - b) / max(abs(b), least) for a, b in zip(ours["losses"], theirs["losses"])
        ]
        worst = math.nan if any(map(math.isnan, differences)) else max(differences)
        tolerance = STEP_TOLERANCE[self.precision]
        if not worst <= tolerance:
            raise RowFailed(
                f"losses without dropout differ by {worst:.1e}, more than {tolerance:.0e}: "
                f"{ours['losses']} and {theirs['losses']}"
            )
        return [
            f"losses of {COMPARED_STEPS} steps without dropout within {worst:.1e} "
            f"(at most {tolerance:.0e})"
        ]

    def ours(self, bench, folder):
        return self._ours(
            bench, folder, bench.models.made(self.model), self.pairs, self._arguments()
        )

    def theirs(self, bench, folder):
        return self._theirs(
            bench, folder, bench.models.made(self.model), self.pairs, self._arguments()
        )

    def check(self, ours, theirs):
        expect_tokens(self.tokens, ours["tokens"], theirs["tokens"])
        if len(ours["losses"]) != len(theirs["losses"]):
            raise RowFailed(f"{len(ours['losses'])} steps here, {len(theirs['losses'])} there")
        means = statistics.mean(ours["losses"]), statistics.mean(theirs["losses"])
        difference = abs(means[0] - means[1]) / means[1]
        if self.fresh:
            return (
                f"same {self.tokens} tokens, mean losses {means[0]:.4f} and {means[1]:.4f} "
                "(rows in another order)"
            )
        if not difference <= self.mean_tolerance:
            raise RowFailed(
                f"mean losses {means[0]:.4f} and {means[1]:.4f} differ by {difference:.1%}, "
                f"more than {self.mean_tolerance:.0%}"
            )
        return (
            f"same {self.tokens} tokens, mean losses {means[0]:.4f} and {means[1]:.4f} "
            f"(within {self.mean_tolerance:.0%})"
        )

    def _arguments(self):
        return {
            **ARGUMENTS,
            "max_steps": self.steps,
            "per_device_train_batch_size": self.batch_size,
        }

    def _recipe(self, model, pairs):
        """The sections of the recipe before its arguments."""
        return RECIPE.format(
            model=json.dumps(str(model)),
            pairs=json.dumps(str(pairs)),
            max_length=MAX_LENGTH,
            loss=self.loss,
        )

    def _job(self):
        """What the job of the other side holds beside model, rows and arguments."""
        return {"work": "train", "loss": self.loss}

    def _ours(self, bench, folder, model, pairs, arguments):
        folder.mkdir()
        fields = {**arguments, "output_dir": str(folder / "output")}
        if self.precision == "bf16":
            fields["bf16"] = True
        # A JSON string, number or boolean is one in TOML too.
        lines = "\n".join(f"{name} = {json.dumps(value)}" for name, value in fields.items())
        recipe = folder / "recipe.toml"
        recipe.write_text(f"{self._recipe(model, pairs)}\n[arguments]\n{lines}\n")
        measured = bench.sides.ours(["train", recipe], folder, self.precision)
        state = json.loads((folder / "output/trainer_state.json").read_text())
        history = state["log_history"]
        losses = [record["loss"] for record in history if "loss" in record]
        seconds = next(record["train_runtime"] for record in history if "train_runtime" in record)
        logged = zip(
            measured.line_seconds, (folder / "ours.stderr").read_text().splitlines(), strict=True
        )
        ends = [
            seconds for seconds, line in logged if re.match(r"step \d+/\d+, epoch .*: loss", line)
        ]
        return Run(seconds, measured, later_steps(ends)), {
            "losses": losses,
            "tokens": state["num_input_tokens_seen"],
        }

    def _theirs(self, bench, folder, model, pairs, arguments):
        folder.mkdir()
        job = {
            **self._job(),
            "model": model,
            "pairs": pairs,
            "arguments": arguments,
            "output": folder / "output",
        }
        result, measured = bench.sides.theirs(
            {**job, "max_length": MAX_LENGTH, "precision": self.precision}, folder
        )
        return Run(result["seconds"], measured, later_steps(result.pop("step_ends"))), result


def later_steps(ends):
    """Mean seconds of the steps after the first, from the times at which all ended."""
    return (ends[-1] - ends[0]) / (len(ends) - 1)


def expect_tokens(expected, ours, theirs):
    """Checks that both sides saw the same tokens.

    Raises:
        RowFailed: One of the counts is another.
    """
    if not expected == ours == theirs:
        raise RowFailed(
            f"expected {expected} tokens, rankforge saw {ours} and sentence-transformers {theirs}"
        )
