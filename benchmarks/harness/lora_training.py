"""A row that trains low-rank adapters of a reranker."""

import dataclasses
import json

from harness.training import Training

RANK = 16
TARGETS = ["query", "key", "value", "dense"]
LEARNING_RATE = 2e-4

LORA = f"""
[lora]
r = {RANK}
lora_alpha = {2 * RANK}
target_modules = {json.dumps(TARGETS)}
"""


@dataclasses.dataclass
class LoraTraining(Training):
    """Trains adapters in place of all parameters; the other side with peft. The comparison without
    dropout begins with the same adapters on both sides: those that rankforge saves when it trains
    two steps, so that there is a time of later steps, with a learning rate of 0."""

    initial: str | None = dataclasses.field(default=None, init=False)

    def compare_first(self, bench, folder):
        arguments = {
            **self._arguments(),
            "max_steps": 2,
            "per_device_train_batch_size": self.compared_rows,
            "learning_rate": 0.0,
        }
        model = bench.models.made(self.undropped)
        self._ours(bench, folder / "initial", model, self.few, arguments)
        self.initial = folder / "initial/output/final/adapter_model.safetensors"
        compared = super().compare_first(bench, folder)
        self.initial = None
        return compared

    def _arguments(self):
        return {**super()._arguments(), "learning_rate": LEARNING_RATE}

    def _recipe(self, model, pairs):
        return super()._recipe(model, pairs) + LORA

    def _job(self):
        lora = {
            "r": RANK,
            "lora_alpha": 2 * RANK,
            "target_modules": TARGETS,
            "modules_to_save": ["classifier"],
            "task_type": "SEQ_CLS",
        }
        return {**super()._job(), "lora": lora, "initial": self.initial}
