"""A row that embeds single texts through a server, as a search box asks for them."""

import contextlib
import dataclasses
import json
import random
import socket
import time

from harness.arithmetic import useful_operations
from harness.bench import Run
from harness.commands import RowFailed
from harness.data import text_tokenizer, write_rows

MODEL = "all-MiniLM-L6-v2"
MAX_LENGTH = 256
# Of 16 texts so many have at most so many tokens, and at least 3/4 of that: 113 on average.
MIX = {16: 1, 32: 2, 64: 3, 128: 6, 256: 4}
SEED = 5
WARM_UP = 32  # texts, not measured

# Largest cosine distance of two embeddings of a text, and least median of different texts.
DISTANCE_TOLERANCE, DIFFERENT_TEXTS = 1e-5, 1e-2


@dataclasses.dataclass
class ServeOne:
    """Embeds single texts, one after the other: by ours through a server and one connection to it,
    by ONNX Runtime in the process that asks, which spares it HTTP and JSON."""

    name: str
    title: str
    target: float
    texts: int
    precision: str = "fp32"
    memory_target: float | None = None
    unit: str = "texts/s"
    peer: str = "ONNX Runtime"

    def prepare(self, bench, folder):
        self.model = bench.models.pretrained(MODEL)
        count = bench.size(self.texts, 64)
        sized = sized_texts(text_tokenizer(self.model, MAX_LENGTH), bench.corpus, count + WARM_UP)
        self.groups = [str(most) for most, _, _ in sized[WARM_UP:]]
        lengths = [length for _, length, _ in sized[WARM_UP:]]
        self.asked, self.input = [text for _, _, text in sized], folder / "texts.jsonl"
        write_rows(self.input, [{"text": text} for text in self.asked])
        detail = (
            f"{count} texts of {min(lengths)} to {max(lengths)} tokens, "
            f"{sum(lengths) / count:.0f} on average"
        )
        return count, useful_operations(self.model, lengths, training=False, head=False), detail

    def compare_first(self, bench, folder):
        return []

    def ours(self, bench, folder):
        folder.mkdir()
        arguments = ["serve", "--model", self.model, "--port", 0]
        with bench.sides.serving(arguments, folder) as server:
            seconds, answers = ask(server.address, self.asked)
        embeddings = [json.loads(answer)[0] for answer in answers]
        return self.run(seconds, server.measured), embeddings

    def theirs(self, bench, folder):
        folder.mkdir()
        job = {
            "work": "embed_one",
            "model": bench.models.made("minilm-onnx"),
            "texts": self.input,
            "max_length": MAX_LENGTH,
            "output": folder / "embeddings.npy",
        }
        result, measured = bench.sides.theirs(job, folder)
        import numpy

        return self.run(result["seconds"], measured), numpy.load(job["output"])

    def run(self, seconds, measured):
        """A run from the seconds of each text, those before the measurement included."""
        seconds = seconds[WARM_UP:]
        of_group = {}
        for group, taken in zip(self.groups, seconds, strict=True):
            of_group.setdefault(group, []).append(taken)
        rates = {str(most): len(of_group[str(most)]) / sum(of_group[str(most)]) for most in MIX}
        return Run(sum(seconds), measured, rates_by_tokens=rates)

    def check(self, ours, theirs):
        return same_embeddings(ours, theirs)


def sized_texts(tokenizer, corpus, count):
    """So many texts cut from the passages between words, as (most tokens, tokens, text), in a
    random order whose every 16 texts are the mix.

    Raises:
        RowFailed: The passages are too short for so many.
    """
    draw, found = random.Random(SEED), []
    mix = [most for most, number in MIX.items() for _ in range(number)]
    passages = iter(draw.sample(corpus.pairs, len(corpus.pairs)))
    while len(found) < count:
        draw.shuffle(mix)
        for most in mix:
            for _, passage in passages:
                text = cut(tokenizer, passage, draw.randint(most * 3 // 4, most))
                length = len(tokenizer.encode(text).ids) if text else 0
                if most // 2 < length <= most:
                    found.append((most, length, text))
                    break
            else:
                raise RowFailed(
                    f"{corpus.name}: expected passages for {count} texts, found {len(found)}"
                )
    return found[:count]


def cut(tokenizer, text, tokens):
    """The beginning of a text, of whole words, that has at most so many tokens with the special
    ones; None when the whole text has fewer."""
    encoding = tokenizer.encode(text)
    if len(encoding.ids) < tokens:
        return None
    # The first and the last token are special.
    words = encoding.word_ids
    end = tokens - 1
    while end > 1 and words[end] is not None and words[end] == words[end - 1]:
        end -= 1
    return text[: encoding.offsets[end - 1][1]]


def ask(address, texts):
    """Asks for the embedding of each text, one after the other on one connection; the seconds until
    each answer was received, and the answers.

    Python's own HTTP client would take a noticeable share of the time of a short text.

    Raises:
        RowFailed: An answer is not of status 200.
    """
    requests = []
    for text in texts:
        body = json.dumps({"inputs": text}).encode()
        head = "POST /embed HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        requests.append(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
    seconds, answers = [], []
    with contextlib.closing(socket.create_connection(address)) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        received = connection.makefile("rb")
        for request in requests:
            begun = time.perf_counter()
            connection.sendall(request)
            status, answer = read_answer(received)
            seconds.append(time.perf_counter() - begun)
            if b" 200 " not in status:
                raise RowFailed(f"the server answered {status!r} {answer[:200]!r}")
            answers.append(answer)
    return seconds, answers


def read_answer(received):
    """The status line and the body of an answer."""
    status, length = received.readline(), 0
    while (line := received.readline()) not in (b"\r\n", b""):
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            length = int(value)
    return status, received.read(length)


def same_embeddings(ours, theirs):
    """Says how far the embeddings are from each other.

    Raises:
        RowFailed: Those of a text are farther than the tolerance, or those of different texts are
            so near that nothing is shown.
    """
    import numpy

    first, second = (numpy.asarray(side, dtype=numpy.float64) for side in (ours, theirs))
    if first.shape != second.shape:
        raise RowFailed(f"embeddings of shape {first.shape} here, {second.shape} there")
    first, second = (
        side / numpy.linalg.norm(side, axis=1, keepdims=True) for side in (first, second)
    )
    worst = float(numpy.max(1 - (first * second).sum(axis=1)))
    if not worst <= DISTANCE_TOLERANCE:
        raise RowFailed(
            f"embeddings have a cosine distance of {worst:.1e}, more than {DISTANCE_TOLERANCE:.0e}"
        )
    others = float(numpy.median(1 - (second * numpy.roll(second, 1, axis=0)).sum(axis=1)))
    if not others >= DIFFERENT_TEXTS:
        raise RowFailed(f"embeddings of different texts have a cosine distance of {others:.1e}")
    return (
        f"embeddings within a cosine distance of {worst:.1e} (at most {DISTANCE_TOLERANCE:.0e}); "
        f"those of different texts: {others:.2f}"
    )
