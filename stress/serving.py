"""Puts `rankforge serve` under load and under attack.

    python3 stress/serving.py [REQUESTS] [SEED]

1. REQUESTS (5,000) mixed requests, good and bad, from 8 clients to a reranker, then to a dual
   encoder: every answer is that of the same request alone, the memory stays where it was after
   the first thousand, and a second without work gives it back.
2. 40 clients at once beyond the queue: 429 with Retry-After at once, and none is lost.
3. A client that sends one byte a second, and clients that leave: the others do not wait.
4. One query of 300,000 dots with 32 texts beside short requests.
5. SIGTERM with half a request on a connection: the server ends within its grace period.
"""

import http.client
import json
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from common import BINARY, quickstart

CLIENTS = 8


class Server:
    """A server process on a free port."""

    def __init__(self, model: Path, *flags: str):
        command = [BINARY, "serve", "--model", model, "--port", "0", *flags]
        self.process = subprocess.Popen(
            command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True
        )
        for line in self.process.stderr:
            if "listening on" in line:
                self.port = int(line.rsplit(":", 1)[1])
                break
        threading.Thread(target=self.process.stderr.read, daemon=True).start()

    def mebibytes(self) -> float:
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        line = next(line for line in status.splitlines() if line.startswith("VmRSS"))
        return int(line.split()[1]) / 1024

    def stop(self) -> float:
        """Sends SIGTERM. Returns the seconds until the process ended."""
        begun = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        self.process.wait()
        return time.monotonic() - begun

    def connect(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)

    def ask(self, request: tuple, connection=None) -> tuple:
        """Status, Retry-After and body of the answer."""
        method, path, body = request
        own = connection or self.connect()
        own.request(method, path, body, {"Content-Type": "application/json"})
        answer = own.getresponse()
        result = (answer.status, answer.getheader("Retry-After"), answer.read())
        if connection is None:
            own.close()
        return result


def texts(random_: random.Random, count: int) -> list:
    words = "bee honey river the of a danube kiln clay fires black sea é 東京 42 ... \t".split(" ")
    lengths = [random_.choice([0, 1, 3, 12, 60, 700]) for _ in range(count)]
    return [" ".join(random_.choices(words, k=length)) for length in lengths]


def mixed(random_: random.Random, kind: str, count: int) -> list:
    """Requests, good and bad."""
    requests = []
    for _ in range(count):
        some = texts(random_, random_.choice([1, 2, 8, 32]))
        if kind == "reranker":
            pairs = [[text, "what do bees make"] for text in some]
            good = random_.choice(
                [("/rerank", {"query": "bees", "texts": some}), ("/predict", {"inputs": pairs})]
            )
        else:
            good = ("/embed", {"inputs": some, "normalize": random_.random() < 0.5})
        path, body = good
        bad = random_.random()
        if bad < 0.04:
            requests.append(("POST", path, json.dumps(body)[:-3]))
        elif bad < 0.06:
            requests.append(("GET", path, None))
        elif bad < 0.08:
            requests.append(("POST", "/nowhere", json.dumps(body)))
        elif bad < 0.10:
            requests.append(("POST", path, json.dumps({"inputs": 3, "query": [], "texts": None})))
        elif bad < 0.12:
            requests.append(("POST", path, json.dumps(body) + " " * 2_100_000))
        else:
            requests.append(("POST", path, json.dumps(body)))
    return requests


def load(model: Path, kind: str, count: int, seed: int) -> list:
    """Mixed requests from several clients. Returns what was wrong."""
    server = Server(model, "--max-concurrent-requests", "4096", "--release-after", "1")
    at_first = server.mebibytes()
    requests = mixed(random.Random(seed), kind, 200)
    alone = [server.ask(request) for request in requests]
    wrong, memory, statuses = [], [], Counter()
    lock = threading.Lock()
    done = 0

    def client(number: int) -> None:
        nonlocal done
        random_ = random.Random(seed * 100 + number)
        for _ in range(count // CLIENTS):
            index = random_.randrange(len(requests))
            answer = server.ask(requests[index])
            with lock:
                done += 1
                statuses[answer[0]] += 1
                if done % 1000 == 0:
                    memory.append(server.mebibytes())
                if answer != alone[index]:
                    wrong.append(f"{kind}: request {index}: {answer[:2]}, alone {alone[index][:2]}")

    begun = time.monotonic()
    with ThreadPoolExecutor(CLIENTS) as pool:
        list(pool.map(client, range(CLIENTS)))
    seconds = time.monotonic() - begun
    shown = " ".join(f"{value:.0f}" for value in memory)
    print(f"{kind}: {done} requests in {seconds:.0f} s, statuses {dict(sorted(statuses.items()))}")
    print(f"{kind}: MiB after each thousand: {shown}; {len(wrong)} answers differ", flush=True)
    if len(memory) > 1 and max(memory[1:]) > 1.1 * memory[0]:
        wrong.append(f"{kind}: the memory grew: {shown}")
    time.sleep(2)
    idle = server.mebibytes()
    print(f"{kind}: MiB at first {at_first:.0f}, after two seconds without work {idle:.0f}")
    if idle > at_first + 10:  # code that was used since, connections and caches of words
        wrong.append(f"{kind}: memory was not given back: {at_first:.0f} MiB, then {idle:.0f}")
    server.stop()
    return wrong


def overload(model: Path) -> list:
    """Forty clients whose requests do not fit into the queue together."""
    server = Server(model, "--max-concurrent-requests", "64")
    body = json.dumps({"query": "bees", "texts": ["bee " * 60] * 16})
    refusals, wrong = [], []

    def client(_: int) -> int:
        while True:
            begun = time.monotonic()
            status, after, _ = server.ask(("POST", "/rerank", body))
            if status != 429:
                return status
            refusals.append(time.monotonic() - begun)
            if not after:
                wrong.append("429 without Retry-After")
            time.sleep(float(after or 0.1))

    with ThreadPoolExecutor(40) as pool:
        statuses = Counter(pool.map(client, range(40)))
    slowest = max(refusals, default=0)
    print(f"overload: {dict(statuses)}, {len(refusals)} refusals, the slowest in {slowest:.2f} s")
    if statuses != {200: 40} or not refusals or slowest > 1:
        wrong.append("overload: expected 40 answers, and refusals within a second")
    server.stop()
    return wrong


def slow_clients(model: Path) -> list:
    """A request of one byte a second, and clients that leave, beside one that is in a hurry."""
    server = Server(model)
    body = json.dumps({"query": "bees", "texts": ["honey"] * 4})
    head = f"POST /rerank HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    head += f"Content-Length: {len(body)}\r\n\r\n"
    ended = []

    def crawl(start: str, rest: str) -> None:
        begun = time.monotonic()
        with socket.create_connection(("127.0.0.1", server.port)) as connection:
            try:
                connection.sendall(start.encode())
                connection.settimeout(1)
                for letter in rest:
                    connection.sendall(letter.encode())
                    try:
                        if connection.recv(1000) == b"":
                            break
                    except TimeoutError:
                        pass
            except (BrokenPipeError, ConnectionResetError):
                pass
        ended.append(time.monotonic() - begun)

    crawlers = [threading.Thread(target=crawl, args=("", head * 3), daemon=True)]
    crawlers += [threading.Thread(target=crawl, args=(head, body * 9), daemon=True)]
    for crawler in crawlers:
        crawler.start()
    for _ in range(20):
        with socket.create_connection(("127.0.0.1", server.port)) as connection:
            connection.sendall((head + body).encode())
    waits = []
    for _ in range(40):
        begun = time.monotonic()
        assert server.ask(("POST", "/rerank", body))[0] == 200
        waits.append(time.monotonic() - begun)
    for crawler in crawlers:
        crawler.join(100)
    print(f"slow clients: others wait {max(waits):.3f} s at most")
    print(f"slow clients: cut off after {' and '.join(f'{end:.0f} s' for end in ended)}")
    server.stop()
    wrong = ["slow clients: another client waited"] if max(waits) > 1 else []
    return wrong + (["slow clients: never cut off"] if len(ended) < 2 else [])


def long_query(model: Path) -> list:
    """One huge query beside short requests."""
    server = Server(model)
    begun = time.monotonic()
    took, waits = [], []

    def huge() -> None:
        body = json.dumps({"query": "." * 300_000, "texts": ["honey"] * 32})
        status = server.ask(("POST", "/rerank", body))[0]
        took.append((status, time.monotonic() - begun))

    thread = threading.Thread(target=huge)
    thread.start()
    while not took:
        start = time.monotonic()
        assert server.ask(("POST", "/rerank", '{"query": "bees", "texts": ["honey"]}'))[0] == 200
        waits.append(time.monotonic() - start)
    thread.join()
    status, seconds = took[0]
    print(f"long query: status {status} in {seconds:.2f} s; others wait {max(waits):.3f} s at most")
    server.stop()
    return ["long query: too slow"] if seconds > 2 or max(waits) > 1 else []


def termination(model: Path) -> list:
    """SIGTERM while half a request stands on a connection."""
    server = Server(model)
    connection = socket.create_connection(("127.0.0.1", server.port))
    connection.sendall(b"POST /rerank HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{")
    time.sleep(0.3)
    seconds = server.stop()
    print(f"termination: {seconds:.1f} s with half a request, status {server.process.returncode}")
    return ["termination: longer than the grace period"] if seconds > 22 else []


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 5000
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else 1
    folder = quickstart()
    reranker = folder / "reranker"
    wrong = load(reranker, "reranker", count, seed)
    wrong += load(folder / "first-stage", "dual encoder", count, seed)
    for attack in [overload, slow_clients, long_query, termination]:
        wrong += attack(reranker)
    for fault in wrong[:20]:
        print(fault)
    print(f"{len(wrong)} faults")
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
