"""Checks that rankforge and huggingface_hub share a cache, in both directions.

    python benchmarks/check_hub.py [--binary target/debug/rankforge]

A server here speaks the Hub's API. A repository that `rankforge download` brought is found by
huggingface_hub without a network, and one that huggingface_hub brought costs rankforge no download;
then a connection that is cut in the middle, a wrong hash and a gated repository. Exits with 1 when
something is wrong. Runs in the environment of `benchmarks/run`; nothing leaves this machine.
"""

import argparse
import hashlib
import http.server
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import threading

COMMIT = "0123456789abcdef0123456789abcdef01234567"
FILES = {
    "config.json": b'{"model_type": "bert"}',
    "1_Pooling/config.json": b"{}",
    "model.safetensors": bytes(range(256)) * 4096,
}
LARGE = {"model.safetensors"}


def git_hash(content):
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


def entry(path, content):
    found = {"type": "file", "path": path, "size": len(content), "oid": git_hash(content)}
    if path in LARGE:
        digest = hashlib.sha256(content).hexdigest()
        found["lfs"] = {"oid": digest, "size": len(content), "pointerSize": 130}
    return found


class Hub(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    cut = 0  # bytes of a large file after which the next connection breaks off
    damaged = False
    downloads = []

    def log_message(self, *_):
        pass

    def send(self, status, body, **headers):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), str(value))
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def do_GET(self):
        path = self.path.split("?")[0]
        if "/gated" in path:
            self.send(403, b"{}", X_Error_Code="GatedRepo")
        elif "/revision/" in path:
            siblings = [{"rfilename": name} for name in FILES]
            answer = {"sha": COMMIT, "id": "owner/model", "siblings": siblings}
            self.send(200, json.dumps(answer).encode())
        elif "/tree/" in path:
            self.send(200, json.dumps([entry(*item) for item in FILES.items()]).encode())
        elif match := re.search(r"/resolve/[^/]+/(.+)", path):
            self.send_file(match[1])
        else:
            self.send(404, b"{}")

    do_HEAD = do_GET

    def send_file(self, name):
        if name not in FILES:
            self.send(404, b"", X_Error_Code="EntryNotFound", X_Repo_Commit=COMMIT)
            return
        content = FILES[name]
        found = entry(name, content)
        tag = found["lfs"]["oid"] if name in LARGE else found["oid"]
        headers = {"X_Repo_Commit": COMMIT, "ETag": f'"{tag}"', "X_Linked_ETag": f'"{tag}"'}
        headers |= {"X_Linked_Size": len(content), "Accept_Ranges": "bytes"}
        if self.command == "GET":
            Hub.downloads.append(name)
        if Hub.damaged and name in LARGE:
            content = b"x" * len(content)
        start = int((re.match(r"bytes=(\d+)-", self.headers.get("Range") or "") or [0, 0])[1])
        rest = content[start:]
        if start:
            headers["Content_Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
        if self.command == "GET" and Hub.cut and name in LARGE:
            self.send_response(206 if start else 200)
            for header, value in headers.items():
                self.send_header(header.replace("_", "-"), str(value))
            self.send_header("Content-Length", str(len(rest)))
            self.end_headers()
            self.wfile.write(rest[: Hub.cut])
            self.wfile.flush()
            Hub.cut = 0
            self.close_connection = True
            return
        self.send(206 if start else 200, rest, **headers)


class Server(http.server.ThreadingHTTPServer):
    def handle_error(self, request, client_address):
        """A client that ends its connection is no error here."""


class Check:
    def __init__(self, binary, endpoint):
        self.binary, self.endpoint, self.failed = binary, endpoint, False

    def rankforge(self, home, repository="owner/model"):
        environment = {**os.environ, "HF_HOME": str(home), "HF_ENDPOINT": self.endpoint}
        for name in ["HF_HUB_CACHE", "HF_HUB_OFFLINE", "HF_TOKEN"]:
            environment.pop(name, None)
        command = [self.binary, "download", repository, "--json"]
        return subprocess.run(command, env=environment, capture_output=True, text=True)

    def python(self, home, offline):
        code = (
            "import sys, huggingface_hub\n"
            "print(huggingface_hub.snapshot_download('owner/model',"
            f" local_files_only={offline}))"
        )
        environment = {**os.environ, "HF_HOME": str(home), "HF_ENDPOINT": self.endpoint}
        environment |= {"HF_HUB_DISABLE_XET": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
        for name in ["HF_HUB_CACHE", "HF_HUB_OFFLINE", "HF_TOKEN"]:
            environment.pop(name, None)
        command = [sys.executable, "-c", code]
        return subprocess.run(command, env=environment, capture_output=True, text=True)

    def expect(self, what, right, detail=""):
        print(f"{what}: {'as it should be' if right else 'WRONG ' + detail}")
        self.failed |= not right

    def same(self, what, folder):
        files = {name: (folder / name).read_bytes() for name in FILES if (folder / name).exists()}
        self.expect(what, files == FILES, f"{sorted(files)} in {folder}")

    def run(self, folder):
        ours = self.rankforge(folder / "a")
        path = pathlib.Path(json.loads(ours.stdout)["path"]) if ours.stdout else folder
        self.same("rankforge downloads", path)
        found = self.python(folder / "a", offline=True)
        self.expect(
            "huggingface_hub finds it without a network",
            found.stdout.strip() == str(path),
            found.stdout + found.stderr,
        )
        theirs = self.python(folder / "b", offline=False)
        path = pathlib.Path(theirs.stdout.strip() or "nothing")
        self.same("huggingface_hub downloads", path)
        Hub.downloads.clear()
        again = self.rankforge(folder / "b")
        answer = json.loads(again.stdout or "{}")
        self.expect(
            "rankforge downloads nothing of it again",
            answer.get("path") == str(path) and not Hub.downloads,
            f"{answer} {Hub.downloads} {again.stderr}",
        )
        Hub.cut = 300_000
        cut = self.rankforge(folder / "c")
        self.same("a download that was cut", pathlib.Path(json.loads(cut.stdout)["path"]))
        Hub.damaged = True
        damaged = self.rankforge(folder / "d")
        self.expect(
            "another hash is an error",
            damaged.returncode == 1 and "has the hash" in damaged.stderr,
            damaged.stderr,
        )
        Hub.damaged = False
        gated = self.rankforge(folder / "d", "owner/gated")
        self.expect(
            "a gated repository says what to do",
            gated.returncode == 1 and "access is granted on request" in gated.stderr,
            gated.stderr,
        )


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--binary", default="target/debug/rankforge")
    options = parser.parse_args()
    server = Server(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    binary = str(pathlib.Path(options.binary).resolve())
    check = Check(binary, f"http://127.0.0.1:{server.server_port}")
    with tempfile.TemporaryDirectory() as folder:
        check.run(pathlib.Path(folder))
    sys.exit(check.failed)


if __name__ == "__main__":
    main()
