"""What the samplers of a recipe can be told: plain data, one class for each section. Needs no torch."""

from typing import Annotated, Literal

from pydantic import AfterValidator

from trainer.records import Request
from trainer.section import Count, CountOrNone, NotNegative, Positive, Section, Share

SamplerName = Literal["transformers", "vllm", "openai", "ray"]
PromptForm = Literal["completion", "docstring", "chat"]
Ask = Literal["tokens", "text", "chat"]
Cache = Literal["dynamic", "static"]


def _at_least_one(temperatures: tuple[float, ...]) -> tuple[float, ...]:
    if not temperatures:
        raise ValueError("without a temperature there is no candidate; give at least one, such as [0.8]")
    return temperatures


def _no_empty_mark(marks: tuple[str, ...]) -> tuple[str, ...]:
    if "" in marks:
        raise ValueError("an empty mark would end every response at its beginning; leave it out")
    return marks


Marks = Annotated[tuple[str, ...], AfterValidator(_no_empty_mark)]


class Sampling(Section):
    sampler: SamplerName = "transformers"
    """What samples: transformers or vLLM in this process, servers (section openai), or replicas on several machines (ray)."""
    temperatures: Annotated[tuple[Positive, ...], AfterValidator(_at_least_one)] = (0.4, 0.8, 1.2)
    """Each task is sampled at every one of them."""
    samples_per_temperature: Count = 1
    """Candidates of one task at each temperature."""
    top_p: Share = 1.0
    """Only the likeliest tokens that together have this probability are sampled; 1.0: all."""
    max_response_tokens: Count = 80
    """A candidate that reaches it is cut off, and so is not ranked."""
    batch_rows: Count = 128
    """Candidates sampled at once."""
    cache: Cache = "dynamic"
    """Of transformers: keys and values grow with the responses, or have their full size at once, and a GPU runs compiled code."""
    stop_at: Marks = ("\ndef ", "\nclass ", "\nif ", "\nprint(", "\nassert ", "\n#", "\n@", "\n```")
    """Where the task begins a function, a response ends before the first of these: what follows is not part of it."""
    stop_programs_at: Marks = ("\n```", "\nassert ")
    """The same where the task begins none (stdin programs, MBPP, LeetCode), and a response is a whole program."""

    def marks(self, request: Request) -> tuple[str, ...]:
        """What ends the response to a request."""
        return self.stop_programs_at if request.whole else self.stop_at

    def temperatures_of_task(self) -> tuple[float, ...]:
        """The temperature of each candidate of a task."""
        return tuple(t for t in self.temperatures for _ in range(self.samples_per_temperature))


def _of_http(addresses: tuple[str, ...]) -> tuple[str, ...]:
    if not all(address.startswith(("http://", "https://")) for address in addresses):
        raise ValueError("an address is that of an API, such as http://localhost:8000/v1")
    return addresses


Addresses = Annotated[tuple[str, ...], AfterValidator(_of_http)]


class Server(Section):
    """Servers that speak OpenAI's API and serve the same model."""

    addresses: Addresses = ()
    """Where the API is, such as http://localhost:8000/v1; requests are shared among all of them."""
    model: str = ""
    """The name under which they serve the model; empty: the only one they serve."""
    key_variable: str = "OPENAI_API_KEY"
    """Variable of the environment that holds the key, where one is needed; keys never stand in a recipe."""
    requests_at_once: Count = 64
    """Requests under way at one address; `vllm serve` makes batches of them."""
    timeout_ms: Count = 600_000
    """For one response."""
    retry_ms: Count = 300_000
    """How long a request is repeated while servers throttle, fail or are gone; then the run ends, and can be continued."""


class Openai(Server):
    """Where sampling.sampler is openai."""

    ask: Ask = "tokens"
    """Prompts go as tokens of the model's tokenizer, as text, or as a chat message that the server puts into a template."""
    reload: bool = False
    """The servers are vLLM's and take up the weights of each round from the run's folder (README: how to start them)."""


class Vllm(Section):
    """Where sampling.sampler is vllm."""

    requests_at_once: Count = 256
    """Candidates under way; more fill a GPU better, as long as its memory holds what was computed of each."""
    gpu_memory_share: Share = 0.4
    """Of a GPU's memory, weights included; the rest is for the training, which happens in the same run."""
    kv_cache_bytes: CountOrNone = 0
    """Memory for what was computed of prompts and responses; 0: what the share leaves, or 1 GiB on a CPU."""
    context_tokens: CountOrNone = 0
    """Longest prompt and response together, where the model's own context is more than memory holds; 0: the model's."""
    tensor_parallel: Count = 1
    """GPUs that share one copy of the model."""
    eager: bool = False
    """Without recorded CUDA graphs it starts a minute sooner and samples more slowly; on a CPU there are none."""


class Ray(Section):
    """Where sampling.sampler is ray."""

    sampler: Literal["transformers", "vllm"] = "transformers"
    """What each replica samples with; the sections sampling and vllm hold for each of them."""
    replicas: Count = 2
    """Copies of the model that sample at the same time, each an actor of Ray; they are spread over the nodes."""
    address: str = ""
    """auto, where this machine is a node of a cluster, or its HOST:PORT; empty: Ray is started here, for this run alone."""
    cpus: NotNegative = 1.0
    """Processors that a replica takes of its node; one with transformers computes in so many threads."""
    gpus: NotNegative = 0.0
    """GPUs that a replica takes of its node; with vLLM as many as vllm.tensor_parallel."""
    restarts: CountOrNone = 3
    """How often one replica is made anew in a run, where its process or its node died."""
    start_ms: Count = 600_000
    """How long a replica may take until it can sample from new weights; where none can by then, the run ends."""
