"""Texts for the rows: real ones from a folder, or made ones that need no file from elsewhere."""

import json
import pathlib
import random

from harness.commands import RowFailed
from harness.environment import ROOT

PASSAGES = ROOT / "crates/rankforge-cli/quickstart/passages.jsonl"

# Tokens of a question and passage pair. The window gives pairs of 180 tokens on average, and
# batches of 16 whose longest has about 345.
PAIR_TOKENS = (90, 420)
ABSTRACT_WORDS = 200
SEED = 7


class Corpus:
    """Question and passage pairs, and sentence pairs with a similarity from 0 to 1.

    Attributes:
        pairs: (question, passage).
        similar: {"sentence1", "sentence2", "score"}.
        name: What the table calls it.
        collection: Documents, queries and judgements of a retrieval collection, or None.
        folder: Where more data are, or None.
    """

    def __init__(self, pairs, similar, name, collection=None, folder=None):
        self.pairs, self.similar, self.name = pairs, similar, name
        self.collection, self.folder = collection, folder

    @classmethod
    def read(cls, folder):
        """Reads qa_core/train.parquet and stsb/train.jsonl, and retrieval/scifact if it is there.

        Raises:
            OSError: One of the files is missing.
        """
        pairs = read_pairs(folder / "qa_core/train.parquet")
        with open(folder / "stsb/train.jsonl") as lines:
            similar = [json.loads(line) for line in lines]
        scifact = folder / "retrieval/scifact"
        collection = read_collection(scifact) if scifact.is_dir() else None
        return cls(pairs, similar, "qa_core and STS-B", collection, folder)

    @classmethod
    def made(cls, pairs, similar):
        """So many of each, of words drawn from the quickstart's passages; lengths are distributed
        as in real collections."""
        import numpy

        words = [word for line in PASSAGES.open() for word in json.loads(line)["text"].split()]
        draw = numpy.random.default_rng(SEED)

        def texts(count, typical, spread, least, most):
            lengths = numpy.clip(
                numpy.rint(typical * draw.lognormal(0, spread, count)), least, most
            ).astype(int)
            return [
                " ".join(
                    [words[number] for number in draw.integers(0, len(words), length).tolist()]
                )
                for length in lengths
            ]

        question_pairs = zip(texts(pairs, 14, 0.4, 4, 40), texts(pairs, 105, 0.65, 5, 900))
        scores = [round(score, 2) for score in draw.random(similar).tolist()]
        sentences = zip(texts(similar, 9, 0.4, 3, 30), texts(similar, 9, 0.4, 3, 30), scores)
        return cls(
            list(question_pairs),
            [dict(zip(("sentence1", "sentence2", "score"), row)) for row in sentences],
            "made texts",
        )

    def labeled_pairs(self, tokenizer, count, seed):
        """So many (question, passage, label), half of them with a passage drawn at random, and the
        tokens of each.

        Raises:
            RowFailed: Too few pairs have a length within PAIR_TOKENS.
        """
        draw, rows, lengths = random.Random(seed), [], []
        for _ in range(100):
            if len(rows) >= count:
                return rows[:count], lengths[:count]
            chosen = []
            for number in range(count):
                question, answer = draw.choice(self.pairs)
                label = number % 2
                chosen.append((question, answer if label else draw.choice(self.pairs)[1], label))
            tokens = token_counts(tokenizer, [row[:2] for row in chosen])
            kept = [
                (row, length)
                for row, length in zip(chosen, tokens)
                if PAIR_TOKENS[0] <= length <= PAIR_TOKENS[1]
            ]
            rows += [row for row, _ in kept]
            lengths += [length for _, length in kept]
        raise RowFailed(
            f"{self.name}: expected {count} pairs of {PAIR_TOKENS[0]} to {PAIR_TOKENS[1]} tokens, "
            f"found {len(rows)}"
        )

    def sample_pairs(self, count):
        """So many of the pairs in their order, or all of them if there are fewer."""
        if count >= len(self.pairs):
            return self.pairs
        return [
            self.pairs[number]
            for number in sorted(random.Random(SEED).sample(range(len(self.pairs)), count))
        ]

    def matching_pairs(self, tokenizer, count):
        """So many pairs with the tokens of both texts of each; those of a pair within PAIR_TOKENS.

        Raises:
            RowFailed: There are fewer.
        """
        order = random.Random(SEED).sample(range(len(self.pairs)), len(self.pairs))
        rows, lengths = [], []
        for start in range(0, len(order), 2 * count):
            chosen = [self.pairs[number] for number in order[start : start + 2 * count]]
            sides = [token_counts(tokenizer, texts) for texts in zip(*chosen)]
            for pair, tokens in zip(chosen, zip(*sides)):
                if PAIR_TOKENS[0] <= sum(tokens) <= PAIR_TOKENS[1]:
                    rows.append(pair)
                    lengths.append(tokens)
            if len(rows) >= count:
                return rows[:count], lengths[:count]
        raise RowFailed(
            f"{self.name}: expected {count} pairs of {PAIR_TOKENS[0]} to {PAIR_TOKENS[1]} tokens, "
            f"found {len(rows)}"
        )

    def all_pairs(self):
        """The pairs, with those of qa_mix where it is at hand."""
        mixed = self.folder and self.folder / "qa_mix/train.parquet"
        return read_pairs(mixed) if mixed and mixed.exists() else self.pairs

    def sample_similar(self, count):
        """So many of the sentence pairs.

        Raises:
            RowFailed: There are fewer.
        """
        if count > len(self.similar):
            raise RowFailed(
                f"{self.name}: expected at least {count} sentence pairs, found {len(self.similar)}"
            )
        return random.Random(SEED).sample(self.similar, count)

    def abstracts(self, count):
        """So many texts of 200 words, cut from the passages one after the other; a later pass cuts
        them at other places."""
        texts, shift = [], 0
        while len(texts) < count:
            words = []
            for _, passage in self.pairs:
                words += passage.split()
                if len(words) > shift + 50 * ABSTRACT_WORDS:
                    words = cut(words, shift, texts)
            cut(words, shift, texts)
            shift = (shift + 61) % ABSTRACT_WORDS
            if not texts:
                raise RowFailed(f"{self.name}: fewer than {ABSTRACT_WORDS} words")
        return texts[:count]


def read_pairs(path):
    """The columns query and answer of a parquet file, as pairs."""
    import pyarrow.parquet

    table = pyarrow.parquet.read_table(path, columns=["query", "answer"])
    return list(zip(table["query"].to_pylist(), table["answer"].to_pylist()))


def cut(words, shift, texts):
    """Appends whole texts cut from words[shift:] to `texts`; the words that are left, with `shift`
    before them."""
    end = shift
    while end + ABSTRACT_WORDS <= len(words):
        texts.append(" ".join(words[end : end + ABSTRACT_WORDS]))
        end += ABSTRACT_WORDS
    return words[end - shift :]


def token_counts(tokenizer, texts):
    """Tokens of each text or pair, special tokens included, truncated as the tokenizer says."""
    return [len(encoding.ids) for encoding in tokenizer.encode_batch(texts)]


def text_tokenizer(model, max_length):
    """The tokenizer of a model folder, without padding and cut at `max_length` tokens, if
    any."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(pathlib.Path(model) / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    if max_length is not None:
        tokenizer.enable_truncation(max_length)
    return tokenizer


def read_collection(folder):
    """Documents, queries and judgements above 0 of a BEIR folder. A document with a title becomes
    "TITLE TEXT"."""
    documents = [
        {"_id": row["_id"], "text": f"{row.get('title') or ''} {row['text']}".lstrip()}
        for row in read_rows(folder / "corpus.jsonl")
    ]
    judged = []
    for line in (folder / "qrels/test.tsv").read_text().splitlines()[1:]:
        query, document, grade = line.split("\t")
        if int(grade) > 0:
            judged.append((query, document, int(grade)))
    return documents, read_rows(folder / "queries.jsonl"), judged


def write_rows(path, rows):
    """Writes dictionaries as JSON lines."""
    with open(path, "w") as target:
        target.writelines(json.dumps(row) + "\n" for row in rows)


def read_rows(path):
    """Reads JSON lines."""
    with open(path) as lines:
        return [json.loads(line) for line in lines]
