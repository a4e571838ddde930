"""A small server that speaks OpenAI's API over real HTTP, with a real model behind it; it can be told to fail."""

import json
import threading
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import torch

from trainer.language_model import LanguageModel


@dataclass(frozen=True, kw_only=True)
class Failure:
    """In place of an answer. Status 0: the connection is closed without one."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    message: str = "later"


class CompletionsServer:
    """Serves `model` as "tiny". `failures` are answered first, one a request; `requests` keeps the bodies that came.

    With a `root` it tells where its model is from. With a `top_k` it is like vLLM with a model whose own settings have one: that
    is for requests which say nothing else.
    """

    def __init__(self, model: LanguageModel, says: str | None = None, top_k: int = 0, root: str = "") -> None:
        self.model, self.says, self.top_k, self.root = model, says, top_k, root
        self.failures: deque[Failure] = deque()
        self.requests: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.address = ""
        self._lock = threading.Lock()

    def complete(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """Greedy, or with the seed of the request; one at a time."""
        model, prompt = self.model, body["prompt"]
        ids = list(prompt) if isinstance(prompt, list) else model.prompt_ids(prompt)
        first = len(ids)
        with self._lock, torch.inference_mode():
            chance = torch.Generator().manual_seed(body["seed"])
            while len(ids) < first + body["max_tokens"] and (len(ids) == first or ids[-1] != model.end_id):
                logits = model.network(input_ids=torch.tensor([ids])).logits[0, -1]
                top_k = body.get("top_k", self.top_k)
                if top_k > 0:
                    logits = logits.masked_fill(logits < logits.topk(top_k).values[-1], -torch.inf)
                if body["temperature"] > 0:
                    ids.append(int(torch.multinomial((logits / body["temperature"]).softmax(-1), 1, generator=chance)))
                else:
                    ids.append(int(logits.argmax()))
        ended = ids[-1] == model.end_id
        choice = {"text": model.text(ids[first:]), "finish_reason": "stop" if ended else "length"}
        return {"choices": [choice], "usage": {"completion_tokens": len(ids) - first}}

    def chat(self) -> dict[str, Any]:
        """The sentence that the server was given to say."""
        return {"choices": [{"message": {"content": self.says}, "finish_reason": "stop"}], "usage": {"completion_tokens": 7}}


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    owner: CompletionsServer

    def do_GET(self) -> None:
        if self.path == "/version" and self.owner.top_k:
            return self._answer(200, {"version": "0.0"})
        if self.path != "/v1/models":
            return self._answer(404, {"message": "no such page"})
        return self._answer(200, {"data": [{"id": "tiny", **({"root": self.owner.root} if self.owner.root else {})}]})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.owner.requests.append(body)
        self.owner.headers.append(dict(self.headers))
        try:
            failure = self.owner.failures.popleft()
        except IndexError:
            content = self.owner.chat() if self.path == "/v1/chat/completions" else self.owner.complete(body)
            return self._answer(200, content)
        if not failure.status:
            self.close_connection = True
            return None
        return self._answer(failure.status, {"error": {"message": failure.message}}, failure.headers)

    def _answer(self, status: int, content: object, headers: Mapping[str, str] | None = None) -> None:
        data = json.dumps(content).encode()
        self.send_response(status)
        for name, value in {**(headers or {}), "Content-Type": "application/json", "Content-Length": str(len(data))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the name of the base class
        return None


@contextmanager
def serving(server: CompletionsServer) -> Iterator[CompletionsServer]:
    """The server at an address of its own, for as long as the block lasts."""
    handler = type("Handler", (_Handler,), {"owner": server})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as http:
        server.address = f"http://127.0.0.1:{http.server_port}/v1"
        thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            http.shutdown()
            thread.join()
