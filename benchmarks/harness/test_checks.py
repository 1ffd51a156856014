"""The checks of rows accept what rounding does to right outputs and refuse wrong ones.

PYTHONPATH=benchmarks python3 -m unittest harness.test_checks
"""

import importlib.util
import io
import random
import unittest

from harness.cascade import Cascade
from harness.commands import RowFailed
from harness.inference import same_scores
from harness.searching import same_rows
from harness.serving import read_answer
from harness.words import Words

# Differences of one side's rounding, as measured.
ROUNDING = {"fp32": 1e-6, "bf16": 1e-2}


def scores(count, deviation, seed=1):
    draw = random.Random(seed)
    return [0.5 + draw.gauss(0, deviation) for _ in range(count)]


def rounded(values, precision):
    draw = random.Random(2)
    return [value + ROUNDING[precision] * draw.uniform(-1, 1) for value in values]


class Scores(unittest.TestCase):
    def refused(self, ours, theirs, precision):
        with self.assertRaises(RowFailed):
            same_scores(ours, theirs, precision)

    def test_right_scores_pass_whatever_their_number(self):
        for precision in ROUNDING:
            for count in (8, 30, 512):
                theirs = scores(count, 0.14)
                same_scores(rounded(theirs, precision), theirs, precision)

    def test_wrong_scores_are_refused(self):
        for precision in ROUNDING:
            theirs = scores(128, 0.14)
            mean = sum(theirs) / len(theirs)
            shuffled = random.Random(3).sample(theirs, len(theirs))
            wrong = {
                "all equal": [mean] * len(theirs),
                "shuffled": shuffled,
                "shifted by one": theirs[1:] + theirs[:1],
                "half as far from their mean": [(score + mean) / 2 for score in theirs],
                "one of them": [theirs[0] + 0.1, *theirs[1:]],
                "no number": [float("nan"), *theirs[1:]],
                "too few": theirs[1:],
            }
            for name, ours in wrong.items():
                with self.subTest(precision=precision, ours=name):
                    self.refused(ours, theirs, precision)

    def test_nearly_constant_scores_show_nothing(self):
        # Such scores are within the tolerance of each other, whatever made them.
        for precision, deviation in (("fp32", 3e-6), ("bf16", 1e-2)):
            self.refused(scores(128, deviation, seed=4), scores(128, deviation), precision)
            self.refused([0.5] * 8, [0.5] * 8, precision)


class Cascades(unittest.TestCase):
    row = Cascade("cascade", "", target=2, memory_target=4, queries=1, documents=3)
    ours = ({"q": [("a", 0.9), ("b", 0.5), ("c", 0.499999)]}, [0.5, 0.6])

    def test_ties_may_be_ordered_otherwise(self):
        theirs = ({"q": [("a", 0.9), ("c", 0.499999), ("b", 0.499998)]}, [0.5, 0.6004])
        self.assertIn("2 ties", self.row.check(self.ours, theirs))

    def test_other_rankings_are_refused(self):
        ranking = self.ours[0]["q"]
        for name, theirs in {
            "another order": ({"q": [ranking[1], ranking[0], ranking[2]]}, [0.5, 0.6]),
            "another document": ({"q": [("d", 0.95), *ranking[1:]]}, [0.5, 0.6]),
            "another query": ({"p": ranking}, [0.5, 0.6]),
            "another NDCG": ({"q": ranking}, [0.5, 0.602]),
            "no number": ({"q": ranking}, [0.5, float("nan")]),
        }.items():
            with self.subTest(theirs=name), self.assertRaises(RowFailed):
                self.row.check(self.ours, theirs)


class WordRankings(unittest.TestCase):
    row = Words("bm25", "", target=2, copies=2, queries=1, documents=3)
    row.judged = {"q": {"a": 1, "b": 1}}

    def test_copies_of_a_document_count_once(self):
        copies = {"q": ["a-0", "a-1", "b-1", "b-0", "c-0"]}
        self.assertEqual(self.row.ndcg(copies), 1)
        self.assertLess(self.row.ndcg({"q": ["c-0", "a-0", "b-0"]}), 1)
        self.assertEqual(self.row.ndcg({}), 0)

    def test_worse_rankings_are_refused(self):
        best, worse = {"q": ["a-0", "b-0"]}, {"q": ["c-0", "a-0", "b-0"]}
        self.row.is_real = False
        self.assertIn("1.000 here", self.row.check(best, worse))
        with self.assertRaises(RowFailed):
            self.row.check(worse, best)
        self.row.is_real = True
        with self.assertRaises(RowFailed):
            self.row.check({}, {})


@unittest.skipUnless(importlib.util.find_spec("numpy"), "it compares arrays")
class FoundRows(unittest.TestCase):
    def test_the_same_rows_pass_in_another_order_where_scores_tie_and_no_others(self):
        import numpy

        rows = numpy.array([[1, 0], [1, 1e-8], [0.5, 0], [0, 1]], numpy.float32)
        asked = numpy.array([[1, 0]], numpy.float32)
        same_rows(rows, asked, numpy.array([[0, 1, 2]]), numpy.array([[1, 0, 2]]))
        for ours in ([[0, 1, 3]], [[0, 2, 1]], [[0, 0, 2]], [[0, 1]]):
            with self.subTest(ours=ours), self.assertRaises(RowFailed):
                same_rows(rows, asked, numpy.array(ours), numpy.array([[1, 0, 2]]))


class Answers(unittest.TestCase):
    def test_an_answer_is_read_to_its_end_and_the_next_begins_there(self):
        received = io.BytesIO(
            b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n[[1]]"
            b"HTTP/1.1 422 Unprocessable Entity\r\ncontent-length: 2\r\nx: y\r\n\r\n{}"
        )
        self.assertEqual(read_answer(received), (b"HTTP/1.1 200 OK\r\n", b"[[1]]"))
        self.assertEqual(read_answer(received)[1], b"{}")


if __name__ == "__main__":
    unittest.main()
