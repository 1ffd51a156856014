"""Whether two sides mined the same rows."""

import dataclasses
import pathlib

# Scores nearer than this are in f32 what rounding makes of them.
TIE = 1e-6


@dataclasses.dataclass
class Comparison:
    """How the rows of two sides differ.

    Attributes:
        queries: Queries that either side has.
        ties: Queries whose rows differ by ties.
        unexplained: Queries whose rows differ otherwise.
    """

    queries: int
    ties: int
    unexplained: list[str]


def compare_mined(encode, pairs, columns, ours, theirs):
    """Compares mined rows query by query.

    Args:
        encode: From texts to embeddings of length 1, in f32.
        pairs: The rows that were mined for.
        columns: Names of the query's and the answer's column.
        ours, theirs: Mined rows, as dictionaries.
    """
    anchor, positive = columns
    answers = {}
    for row in pairs:
        answers.setdefault(row[anchor], []).append(row[positive])
    first, second = by_query(ours, anchor), by_query(theirs, anchor)
    queries = first.keys() | second.keys()
    different = [query for query in sorted(queries) if first.get(query) != second.get(query)]
    unexplained = [
        query
        for query in different
        if not tied(encode, query, answers[query], first.get(query, []), second.get(query, []))
    ]
    return Comparison(len(queries), len(different) - len(unexplained), unexplained)


def by_query(rows, anchor):
    """The rows of each query, in order."""
    groups = {}
    for row in rows:
        groups.setdefault(row[anchor], []).append(
            [value for name, value in row.items() if name != anchor]
        )
    return groups


def tied(encode, query, answers, ours, theirs):
    """Whether ties explain the difference: each text that only one side has scores as another text
    does or as the answer.

    With a margin of 0 a text that scores as the answer is kept or dropped by rounding; each such
    text moves one other text in or out. Labels must be the same where there are as many texts.
    """
    first, second = list(leaves(ours, str)), list(leaves(theirs, str))
    if len(first) == len(second) and list(leaves(ours, (int, float))) != list(
        leaves(theirs, (int, float))
    ):
        return False
    either, only = sorted({*first, *second, *answers}), set(first) ^ set(second)
    embedded = encode([query, *either])
    scores = dict(zip(either, embedded[1:] @ embedded[0]))
    if not only:
        return len(first) == len(second) and all(
            abs(scores[a] - scores[b]) < TIE for a, b in zip(first, second)
        )
    at_margin = sum(
        any(abs(scores[answer] - scores[text]) < TIE for answer in answers) for text in only
    )
    moved = sum(
        not any(abs(scores[other] - scores[text]) < TIE for other in either if other != text)
        for text in only
    )
    return moved <= at_margin


def leaves(value, kind):
    """The values of a kind in nested lists, in order."""
    if isinstance(value, list):
        for item in value:
            yield from leaves(item, kind)
    elif isinstance(value, kind):
        yield value


def static_encoder(folder):
    """The encoder of a static model folder, in f32: the mean of token rows, scaled to length 1."""
    import numpy
    from safetensors.numpy import load_file
    from tokenizers import Tokenizer

    module = pathlib.Path(folder) / "0_StaticEmbedding"
    tokenizer = Tokenizer.from_file(str(module / "tokenizer.json"))
    tokenizer.no_padding()
    table = load_file(module / "model.safetensors")["embedding.weight"].astype(numpy.float32)

    def encode(texts):
        encoded = tokenizer.encode_batch(texts, add_special_tokens=False)
        means = numpy.stack(
            [
                table[tokens.ids].mean(axis=0) if tokens.ids else numpy.zeros(table.shape[1], "f4")
                for tokens in encoded
            ]
        )
        return means / numpy.maximum(numpy.linalg.norm(means, axis=1, keepdims=True), 1e-12)

    return encode
