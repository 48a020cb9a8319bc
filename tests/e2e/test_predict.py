"""examples/predict.py: batches say what the model says, and what is wrong with a request is that request's matter."""

import importlib.util
import json
import struct
import subprocess
import sys
from typing import Any, Iterator, List, NamedTuple, Tuple

import pytest

import harness
from harness import PYTHON, ROOT, Answer, Server, request

np = pytest.importorskip("numpy")
sys.path.insert(0, str(ROOT / "examples"))
import predict  # noqa: E402

pytestmark = pytest.mark.skipif("python" not in harness.KINDS, reason="TURBO_E2E_KINDS leaves python out")

TOGETHER = 16
JSON, RAW = predict.JSON, predict.RAW
HAS_SKLEARN = importlib.util.find_spec("sklearn") is not None
NEEDS_SKLEARN = pytest.mark.skipif(not HAS_SKLEARN, reason="scikit-learn is not installed: sh scripts/venv.sh models")
# A batch waits until it is full, so that TOGETHER requests are always one.
FLAGS = ("--shards", "1", "--batch-max", str(TOGETHER), "--batch-wait-us", "10000000")


class Served(NamedTuple):
    server: Server
    model: Any  # the same in this process

    def ask(self, path: str, posted: List[Tuple[str, bytes]]) -> List[Answer]:
        """All at once, each on its own connection."""
        clients = [self.server.client() for _ in posted]
        for client, (kind, body) in zip(clients, posted):
            client.send(request(path, "POST", [f"Content-Type: {kind}"], body))
        answers = [client.answer("POST") for client in clients]
        for client in clients:
            client.close()
        return answers

    def rows(self, count: int) -> Any:
        return np.random.default_rng(2).standard_normal((count, self.model.features)).astype(np.float32)


@pytest.fixture(scope="module", params=["numpy", *(pytest.param(name, marks=NEEDS_SKLEARN) for name in ("linear", "forest"))])
def served(request: pytest.FixtureRequest) -> Iterator[Served]:
    argv = [PYTHON, "-W", "error", str(ROOT / "examples/predict.py"), "--port", "0", "--model", request.param, *FLAGS]
    with Server(argv) as server:
        yield Served(server, predict.MODELS[request.param]())
        server.stop()


def as_json(row: Any) -> Tuple[str, bytes]:
    return JSON, json.dumps(row.tolist()).encode()


def as_raw(row: Any) -> Tuple[str, bytes]:
    return RAW, row.astype("<f4").tobytes()


def score(answer: Answer) -> float:
    assert answer.status == 200, answer
    if answer.get("Content-Type") == RAW:
        return struct.unpack("<f", answer.body)[0]
    assert set(answer.json()) == {"score"}
    return answer.json()["score"]


@pytest.mark.parametrize("path", ["/predict", "/predict/one"])
@pytest.mark.parametrize("write", [as_json, as_raw])
def test_scores_are_the_models_own(served: Served, path: str, write: Any) -> None:
    rows = served.rows(TOGETHER)
    scores = [score(answer) for answer in served.ask(path, [write(row) for row in rows])]
    assert scores == pytest.approx(served.model.predict(rows).tolist(), abs=1e-6)
    assert len(set(scores)) > TOGETHER / 2  # each got its own


def bad(features: int) -> List[Tuple[str, bytes, int]]:
    def numbers(value: str, count: int = features) -> bytes:
        return f"[{','.join([value] * count)}]".encode()

    return [
        (JSON, b"", 400), (JSON, b"[1,", 400), (JSON, b"{}", 422), (JSON, b"1", 422),
        (JSON, numbers("1", features - 1), 422), (JSON, numbers("1", features + 1), 422),
        (JSON, numbers('"1"'), 422), (JSON, numbers("true"), 422), (JSON, numbers("null"), 422), (JSON, numbers("[1]"), 422),
        (JSON, numbers("1000001"), 422), (JSON, numbers("-1e39"), 422),
        (RAW, b"", 422), (RAW, bytes(4 * features - 1), 422), (RAW, struct.pack("<f", float("nan")) * features, 422),
        (RAW, struct.pack("<f", float("-inf")) * features, 422), ("text/plain", numbers("1"), 415),
    ]


@pytest.mark.parametrize("kind", range(17))
def test_a_bad_row_is_refused_and_its_batch_answered(served: Served, kind: int) -> None:
    rows, wrong = served.rows(TOGETHER), bad(served.model.features)
    assert len(wrong) == 17
    content_type, body, status = wrong[kind]
    at = kind % TOGETHER
    posted = [as_raw(row) for row in rows]
    posted[at] = (content_type, body)
    answers = served.ask("/predict", posted)
    refused = answers.pop(at)
    assert refused.status == status
    assert [score(a) for a in answers] == pytest.approx(np.delete(served.model.predict(rows), at).tolist(), abs=1e-6)
    (alone,) = served.ask("/predict/one", [(content_type, body)])
    assert (alone.status, alone.body) == (status, refused.body)


def test_a_batch_of_bad_rows_only(served: Served) -> None:
    """The model is not called with nothing, which scikit-learn refuses."""
    assert [answer.status for answer in served.ask("/predict", [(JSON, b"{}")] * TOGETHER)] == [422] * TOGETHER


@pytest.mark.parametrize("value", ["1000000", "-1000000"])
def test_the_largest_numbers(served: Served, value: str) -> None:
    body = f"[{','.join([value] * served.model.features)}]".encode()
    (answer,) = served.ask("/predict/one", [(JSON, body)])
    assert 0 <= score(answer) <= 1


def test_what_it_says_to_try(served: Served) -> None:
    body = served.server.get("/row").body
    (answer,) = served.ask("/predict/one", [(JSON, body)])
    assert 0 <= score(answer) <= 1
    assert served.server.get("/").body.decode() == predict.USAGE
    assert served.server.stats()["shards"][0]["requests"] >= 2 and served.server.get("/metrics").status == 200


def test_a_bad_setting_is_named() -> None:
    argv = [PYTHON, str(ROOT / "examples/predict.py"), "--port", "0", "--batch-max", "0"]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=harness.TIMEOUT)
    assert done.returncode == 1 and done.stderr.startswith("predict.py: ") and "batch_max" in done.stderr
