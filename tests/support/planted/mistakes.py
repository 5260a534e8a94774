"""The mistakes: a piece of the worker's text, what stands there instead, and what must be said of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

__all__ = [
    "COUNTS",
    "DECLARED",
    "DECLARED_MISTAKES",
    "GENERATES",
    "MISTAKES",
    "READS",
    "START",
    "WORKER",
    "Mistake",
    "taking",
]

WORKER = (Path(__file__).parent / "server.py").read_text(encoding="utf-8")
READS = "        body = await model_response.read()\n"
ANSWERS = "return web.Response(body=body, status=model_response.status, content_type=model_response.content_type)"
HANDLER = f"""    async def generate_client_response(
        self, client_request: web.Request, model_response: ClientResponse
    ) -> web.StreamResponse:
{READS}"""
WRITES = "        async for piece in model_response.content.iter_any():\n            await response.write(piece)\n"
MAKES = 'return cls(prompt=" ".join(random.choices(WORDS, k=50)), seed=random.randrange(10**9))'
COUNTS = "return float(len(self.prompt))"
TAKES = "    @classmethod\n    def from_json_msg(cls, json_msg: dict[str, Any]) -> Self:\n        "
START = "start_server(backend, routes)"
BENCHMARK = "    benchmark_handler=Generate(benchmark_runs=3),\n"


@dataclass(frozen=True)
class Mistake:
    """``says``: words of the finding and of its remedy; ``at``: text of the line it names, or the place itself."""

    name: str
    old: str
    new: str
    rule: str
    says: tuple[str, ...]
    at: str
    level: str = "fault"
    besides: frozenset[str] = frozenset()  # rules that the same mistake breaks, too

    def planted(self, worker: str) -> str:
        """The worker with the mistake in it."""
        assert self.old in worker, self.name
        return worker.replace(self.old, self.new, 1)


def taking(body: str) -> str:
    """The count of the workload, with a parser before it."""
    return f"{TAKES}{body}\n\n    def count_workload"


MISTAKES = [
    # --- it does not come to its server ---
    Mistake("syntax", "class Generate(", "class Generate((", "syntax", ("no Python",), "class Generate(("),
    Mistake(
        "a package that is not installed",
        "import random\n",
        "import random\nimport cv2_of_nobody\n",
        "import",
        ("cv2_of_nobody", "pip install"),
        "import cv2_of_nobody",
    ),
    Mistake(
        "a package that is installed by another name",
        "import random\n",
        "import random\nimport cv2\n",
        "import",
        ("pip install opencv-python-headless",),
        "import cv2",
    ),
    Mistake(
        "a name that the package has not got",
        "import ApiPayload,",
        "import ApiPayloads,",
        "import",
        ("ApiPayloads",),
        "import ApiPayloads",
    ),
    Mistake(
        "a keyword of Backend",
        "allow_parallel_requests=True",
        "alow_parallel_requests=True",
        "configuration",
        ("alow_parallel_requests", "did you mean 'allow_parallel_requests'"),
        "backend = Backend(",
    ),
    Mistake(
        "a keyword of a handler",
        "benchmark_runs=3",
        "benchmark_run=3",
        "raises",
        ("benchmark_run", "did you mean 'benchmark_runs'"),
        "benchmark_run=3",
    ),
    Mistake(
        "an address that is none",
        '"http://127.0.0.1:5001"',
        '"127.0.0.1:5001"',
        "configuration",
        ("model_server_url", "http://127.0.0.1:5001"),
        "backend = Backend(",
    ),
    Mistake(
        "a variable that is not set",
        '"http://127.0.0.1:5001"',
        '__import__("os").environ["THE_MODELS_URL"]',
        "variable",
        ("THE_MODELS_URL", "os.environ.get"),
        "THE_MODELS_URL",
    ),
    Mistake("no server", START, "", "never-served", ("start_server",), ""),
    Mistake("a file that leaves", START, "raise SystemExit(3)", "ended", ("before it serves",), "raise SystemExit"),
    # --- its configuration ---
    Mistake(
        "a route without a slash",
        'post("/generate",',
        'post("generate",',
        "route",
        ('must begin with "/"',),
        "route generate",
    ),
    Mistake("a route twice", 'post("/generate_stream",', 'post("/generate",', "route", ("twice",), "route /generate"),
    Mistake(
        "a handler at no route",
        '    web.post("/generate_stream", backend.create_handler(GenerateStream())),\n',
        "    *[web.get(f'/{n}', ping) for n in [backend.create_handler(GenerateStream()) and 'pong']],\n",
        "route",
        ("at no route",),
        "GenerateStream",
        "warning",
    ),
    Mistake("no benchmark", BENCHMARK, "", "no-benchmark", ("capacity", "benchmark_handler"), "Backend", "warning"),
    Mistake(
        "no line means loaded",
        '(LogAction.ModelLoaded, "server has started"), ',
        "",
        "log-actions",
        ("ModelLoaded",),
        "log_actions",
        "warning",
    ),
    Mistake(
        "an error's line holds the text of loaded",
        '"out of memory"',
        '"no server has started"',
        "log-actions",
        ("no server has started", "longer text"),
        "log_actions",
    ),
    Mistake(
        "a close route that is not allowed",
        '"on_close_route": "/generate"',
        '"on_close_route": "/free"',
        "close-route",
        ("close_routes=['/free']",),
        '"/free"',
    ),
    Mistake(
        "a handler that is not async",
        HANDLER,
        HANDLER.replace("async def", "def").replace(READS, "        body = b''\n"),
        "not-async",
        ("async def",),
        "    def generate_client_response",
        besides=frozenset({"raises"}),
    ),
    # --- its payloads ---
    Mistake("for_test raises", MAKES, "return cls(WORDS[99])", "raises", ("IndexError",), "WORDS[99]"),
    Mistake(
        "for_test takes from an empty data set",
        MAKES,
        "return random.choice([])",
        "raises",
        ("IndexError",),
        "random.choice([])",
    ),
    Mistake("for_test is the same", MAKES, 'return cls("hello")', "same-payload", ("cache", "random"), "@classmethod"),
    Mistake("a payload with NaN", MAKES, 'return cls("a" * 9, float("nan"))', "payload-json", ("nan",), "@dataclasses"),
    Mistake("a payload of bytes", MAKES, 'return cls(b"a" * 9)', "payload-json", ("prompt", "bytes"), "@dataclasses"),
    Mistake(
        "what was sent is not taken",
        "    def count_workload",
        taking('return cls(json_msg["text"])'),
        "round-trip",
        ("from_json_msg", "KeyError: 'text'"),
        'json_msg["text"]',
    ),
    Mistake(
        "a field is lost on the way",
        "    def count_workload",
        taking('return cls(str(json_msg.get("prompt", "")))'),
        "round-trip",
        ("seed",),
        "@classmethod",
        "warning",
    ),
    Mistake(
        "a missing field is a KeyError",
        "    def count_workload",
        taking('return cls(str(json_msg["prompt"]), int(json_msg["seed"]))'),
        "client-mistake",
        ("KeyError: 'prompt'", 'JsonDataException({"prompt"'),
        'json_msg["prompt"]',
        "warning",
    ),
    Mistake(
        "a missing field is our fault",
        "    def count_workload",
        taking('assert "prompt" in json_msg\n        return super().from_json_msg(json_msg)'),
        "client-mistake",
        ("AssertionError", "500"),
        'assert "prompt"',
    ),
    Mistake("a workload of NaN", COUNTS, 'return float("nan")', "workload", ("nan", "finite"), "def count_workload"),
    Mistake("a workload of 0", COUNTS, "return 0.0", "workload", ("0.0",), "def count_workload"),
    Mistake(
        "a workload below 0", COUNTS, "return -float(self.seed + 1)", "workload", ("above 0",), "def count_workload"
    ),
    Mistake(
        "a workload below 0 where a field is left out",
        COUNTS,
        "return float(len(self.prompt)) if self.seed else -1.0",
        "workload",
        ("-1.0", "leaves 'seed' out"),
        "def count_workload",
    ),
    Mistake("a count that fails", COUNTS, "return 1 / 0", "raises", ("ZeroDivisionError",), "1 / 0"),
    Mistake(
        "a steady workload", COUNTS, "return 100.0", "workload-steady", ("100.0",), "def count_workload", "warning"
    ),
    Mistake(
        "a parser that blocks",
        "    def count_workload",
        taking('__import__("time").sleep(0.001)\n        return super().from_json_msg(json_msg)'),
        "blocking",
        ("time.sleep", "await"),
        "sleep(0.001)",
    ),
    # --- its handlers ---
    Mistake("a handler raises", ANSWERS, "return web.Response(bdy=body)", "raises", ("TypeError", "bdy"), "bdy=body"),
    Mistake("a handler gives nothing", ANSWERS, "pass", "raises", ("returns None", "return the"), "async def generate"),
    Mistake(
        "an option that only the class says",
        "class GenerateStream(Generate):\n",
        "class GenerateStream(Generate):\n    allow_parallel_requests = False\n",
        "class-attribute",
        ("allow_parallel_requests = False", "None holds", "GenerateStream(allow_parallel_requests=...)"),
        "@dataclasses.dataclass",
        "warning",
    ),
    Mistake(
        "a count that prints the prompt",
        COUNTS,
        f"print(self.prompt)\n        {COUNTS}",
        "prompt-printed",
        ("log", "length"),
        "print(self.prompt)",
        "warning",
    ),
    Mistake(
        "the model's error turns into a success",
        ANSWERS,
        "return web.Response(body=body)",
        "model-error",
        ("422", "status=model_response.status"),
        "async def generate",
    ),
    Mistake(
        "the model's 422 turns into a 500",
        READS,
        f"{READS}        assert model_response.ok\n",
        "model-error",
        ("try again for ever",),
        "assert model_response.ok",
        "warning",
    ),
    Mistake(
        "a stream is held back",
        WRITES,
        "        await response.write(await model_response.read())\n",
        "held-back",
        ("iter_any",),
        "async def generate_client_response",
    ),
    Mistake(
        "a broken answer looks whole",
        WRITES,
        "        try:\n            await response.write(await model_response.content.readany())\n    "
        "        async for piece in model_response.content.iter_any():\n                await response.write(piece)\n"
        "        except Exception:\n            pass\n",
        "model-drops",
        ("as if it were whole", "ClientError"),
        "async def generate_client_response",
    ),
    Mistake(
        "the headers of a compressed answer are copied",
        ANSWERS,
        "return web.Response(body=body, status=model_response.status, headers=model_response.headers)",
        "encoding",
        ("compresses", "decompressed"),
        "async def generate",
    ),
    Mistake(
        "a handler that blocks",
        READS,
        f'{READS}        __import__("time").sleep(0.001)\n',
        "blocking",
        ("time.sleep",),
        "sleep(0.001)",
    ),
]

DECLARED = (Path(__file__).parent / "worker.py").read_text(encoding="utf-8")
GENERATES = 'return {"prompt": " ".join(random.choices(WORDS, k=50)), "seed": random.randrange(10**9)}'
GENERATOR = "generator=some_words"
CONFIG = "HandlerConfig(\n                route"

DECLARED_MISTAKES = [
    Mistake(
        "a keyword of HandlerConfig",
        "workload_calculator=count",
        "workload_calculater=count",
        "configuration",
        ("did you mean", "workload_calculator"),
        CONFIG.partition("\n")[0],
    ),
    Mistake(
        "two benchmarks",
        'route="/stream",',
        'route="/stream", benchmark_config=BenchmarkConfig(generator=some_words),',
        "configuration",
        ("/generate and /stream", "leave"),
        "Worker(",
    ),
    Mistake("an empty data set", GENERATOR, "dataset=[]", "configuration", ("dataset is empty",), "BenchmarkConfig"),
    Mistake("a data set of one", GENERATOR, 'dataset=[{"prompt": "hello"}]', "same-payload", ("cache",), ""),
    Mistake("a generator that raises", GENERATES, "return {}[0]", "raises", ("KeyError",), "return {}[0]"),
    Mistake("a generator of bytes", GENERATES, 'return {"prompt": b"a"}', "payload-json", ("bytes",), "def some_words"),
    Mistake(
        "an answer that is not async",
        "response_generator=answer",
        "response_generator=parse",
        "configuration",
        ("async", "response_generator"),
        "HandlerConfig(route",
    ),
    Mistake(
        "a parser that takes a missing field for our fault",
        'if not isinstance(payload.get("prompt"), str)',
        'if not payload["prompt"]',
        "client-mistake",
        ("KeyError: 'prompt'", "500"),
        'payload["prompt"]',
    ),
    Mistake(
        "a parser that gives nothing",
        'return {**payload, "stop": ["END"]}',
        "pass",
        "parser",
        ("NoneType",),
        "def parse",
    ),
    Mistake(
        "a parser that reads a variable which is not set",
        '"stop": ["END"]',
        '"stop": [__import__("os").environ["STOP_WORD_X"]]',
        "variable",
        ("STOP_WORD_X", "--env"),
        "STOP_WORD_X",
    ),
    Mistake(
        "a parser that ends the program",
        'return {**payload, "stop": ["END"]}',
        "raise SystemExit(3)",
        "parser",
        ("the worker ends",),
        "SystemExit(3)",
        besides=frozenset({"cut-off"}),  # by the handler of the other route
    ),
    Mistake(
        "a count of what the parser leaves out",
        '{**payload, "stop": ["END"]}',
        '{"input": payload["prompt"]}',
        "workload",
        ("cannot be counted", "KeyError: 'prompt'", "request_parser"),
        'len(payload["prompt"])',
    ),
    Mistake(
        "a count below 0 where a field is left out",
        'return float(len(payload["prompt"]))',
        'return payload.get("seed", -5) + 1.0',
        "workload",
        ("-4.0", "leaves 'seed' out"),
        "def count",
    ),
    Mistake(
        "a parser that prints the prompt",
        'return {**payload, "stop": ["END"]}',
        'print(payload)\n    return {**payload, "stop": ["END"]}',
        "prompt-printed",
        ("log",),
        "print(payload)",
        "warning",
    ),
    Mistake(
        "a count of NaN",
        'return float(len(payload["prompt"]))',
        'return float("nan")',
        "workload",
        ("nan",),
        "def count",
    ),
    Mistake(
        "a count without regard to the payload",
        'return float(len(payload["prompt"]))',
        "return 7.0",
        "workload-steady",
        ("7.0",),
        "def count",
        "warning",
    ),
    Mistake(
        "an answer that turns the model's error into a success",
        "web.StreamResponse(status=model_response.status)",
        "web.StreamResponse()",
        "model-error",
        ("422",),
        "async def answer",
    ),
    Mistake(
        "an answer that never ends",
        "    return response\n",
        '    await __import__("asyncio").Event().wait()\n    return response\n',
        "hangs",
        ("no answer",),
        "async def answer",
    ),
    Mistake(
        "a remote function that does not take the payload",
        "workload_calculator=count",
        "remote_function=add",
        "remote-function",
        ("add", "parameters"),
        "async def add",
    ),
]
