"""Where a model is looked for, and what is said where it is not there. A hub of our own answers as the real one does."""

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from trainer import model_source
from trainer.errors import ModelError

NOBODY = "http://127.0.0.1:1"
ANSWERS = {
    "/owner/model/": (200, None),
    "/owner/absent/": (404, "RepoNotFound"),
    "/owner/gated/": (403, "GatedRepo"),
    "/owner/data/": (404, "EntryNotFound"),
    "/owner/broken/": (500, None),
}


class Hub(BaseHTTPRequestHandler):
    def do_HEAD(self) -> None:  # the name is http.server's
        status, error = next(answer for path, answer in ANSWERS.items() if self.path.startswith(path))
        self.send_response(status)
        if error is not None:
            self.send_header("X-Error-Code", error)
        self.send_header("ETag", '"1"')
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Says nothing."""


@pytest.fixture(scope="module")
def hub() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Hub) as server:
        threading.Thread(target=server.serve_forever).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def fault(name: str, endpoint: str) -> str:
    with pytest.raises(ModelError) as raised:
        model_source.check(name, "model.path", endpoint)
    return str(raised.value)


def test_a_model_that_the_hub_has_is_found(hub: str) -> None:
    model_source.check("owner/model", "model.path", hub)


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("owner/absent", "has no model of that name; correct it, or set HF_TOKEN where it is private"),
        ("owner/gated", "gives it only to those who were granted it; ask there, and set HF_TOKEN"),
        ("owner/data", "is no model of transformers: it has no config.json"),
        ("owner/broken", "HF_ENDPOINT to a mirror that answers"),
        ("no name", "it cannot be the name of one on a hub"),
    ],
)
def test_what_the_hub_says_is_told_with_the_cure(hub: str, name: str, wanted: str) -> None:
    """In one line that names the setting."""
    message = fault(name, hub)
    assert message.startswith(f"model.path: no causal LM at '{name}': there is no such folder here, and ")
    assert wanted in message
    assert "\n" not in message


def test_a_hub_that_cannot_be_reached_is_asked_once() -> None:
    """The cause, and where else a model may come from."""
    message = fault("owner/model", NOBODY)
    assert "cannot be asked ([Errno 111] Connection refused); give the path of a local folder, set HF_HOME" in message


def check_alone(**environment: str) -> str:
    """What is left on stderr by a process that looks for a model where no hub can be reached."""
    program = f"from trainer import model_source; model_source.check('owner/model', 'model.path', {NOBODY!r})"
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
    process = subprocess.run(
        [sys.executable, "-c", program], env=inherited | environment, capture_output=True, text=True, check=False
    )
    return process.stderr


def test_a_model_in_the_cache_needs_no_hub(tmp_path: Path) -> None:
    """It is not asked for at all."""
    model = tmp_path / "hub" / "models--owner--model"
    (model / "refs").mkdir(parents=True)
    (model / "refs" / "main").write_text("1" * 40)
    (model / "snapshots" / ("1" * 40)).mkdir(parents=True)
    (model / "snapshots" / ("1" * 40) / "config.json").write_text("{}")
    assert check_alone(HF_HOME=str(tmp_path)) == ""


def test_a_hub_that_may_not_be_asked_is_told_apart(tmp_path: Path) -> None:
    """From one that does not answer."""
    assert "HF_HUB_OFFLINE forbids to ask the hub; give" in check_alone(HF_HOME=str(tmp_path), HF_HUB_OFFLINE="1")
