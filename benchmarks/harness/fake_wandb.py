"""A server that answers `wandb sync` as far as that needs, and keeps what it is sent."""

import gzip
import http.server
import json
import threading


class FakeWandb:
    """Keeps the lines of history by their number, and says so when a run is resumed."""

    def __enter__(self):
        self.history, self.run, self.resumed, self.done = {}, {}, False, False
        fake = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.body()
                if self.path == "/graphql":
                    self.reply({"data": fake.answer(json.loads(body))})
                else:
                    if self.path.endswith("/file_stream"):
                        fake.take(json.loads(body))
                    self.reply({})

            do_PUT = do_POST

            def do_GET(self):
                self.reply({})

            def body(self):
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                is_gzip = self.headers.get("Content-Encoding") == "gzip"
                return gzip.decompress(body) if is_gzip else body

            def reply(self, value):
                content = json.dumps(value).encode()
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.uri = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.server.shutdown()

    def answer(self, request):
        """The data of an answer to a query."""
        query, variables = request["query"], request["variables"]
        if "upsertBucket" in query:
            self.run |= {name: value for name, value in variables.items() if value is not None}
            entity = {"id": "e", "name": "entity"}
            project = {"id": "p", "name": variables["project"], "entity": entity}
            bucket = {"id": "b", "name": variables["name"], "project": project, "config": "{}"}
            bucket["historyLineCount"] = len(self.history)
            return {"upsertBucket": {"bucket": bucket, "inserted": not self.history}}
        if "createRunFiles" in query:
            files = [
                {"name": name, "uploadUrl": f"{self.uri}/upload/{name}"}
                for name in variables["files"]
            ]
            return {"createRunFiles": {"runID": "b", "uploadHeaders": [], "files": files}}
        if "RunResumeStatus" in query:
            self.resumed = True
            last = json.dumps([json.dumps(self.history[max(self.history)])])
            bucket = {"id": "b", "name": variables["name"], "summaryMetrics": "{}"}
            bucket |= {"displayName": None, "config": "{}", "tags": [], "wandbConfig": "{}"}
            bucket |= {"historyLineCount": len(self.history), "historyTail": last}
            bucket |= {"eventsLineCount": 0, "eventsTail": "[]", "logLineCount": 0}
            entity = {"id": "e", "name": "entity"}
            return {"model": {"id": "p", "name": "a project", "entity": entity, "bucket": bucket}}
        return {}

    def take(self, stream):
        history = stream.get("files", {}).get("wandb-history.jsonl", {"offset": 0, "content": []})
        for number, text in enumerate(history["content"], history["offset"]):
            self.history[number] = json.loads(text)
        self.done = self.done or stream.get("complete", False)
