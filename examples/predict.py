"""A model behind a batch handler: one call for all the requests that are there, where others make one for each.

    pip install numpy scikit-learn       # or, in the root of libturbo: sh scripts/venv.sh models
    python predict.py                    # a small neural network in numpy; it does not need scikit-learn
    python predict.py --model forest     # a random forest of scikit-learn; --model linear: scaling and logistic regression

    curl http://127.0.0.1:8000/row | curl -H 'Content-Type: application/json' -d @- http://127.0.0.1:8000/predict

Every setting of turbo.settings() is a flag; --help lists them.
"""

import argparse
import os
import struct
from typing import Any, Callable, Dict, List, NamedTuple, Optional

# Before numpy is imported. A BLAS with threads of its own fights the shards for the CPUs, and has nothing to win from
# products as small as these: whoever wants more CPUs says --shards.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np  # noqa: E402
import turbo  # noqa: E402

USAGE = """libturbo: a model, with a batch handler and without
GET  /             this text
GET  /row          a row of features as JSON, to try it with
POST /predict      a row of features to its score: the model is called once for all the requests that are there
POST /predict/one  the same, but the model is called for each request
GET  /stats        counters as JSON
GET  /metrics      counters as Prometheus text

A row is a JSON list of numbers, answered {"score": 0.5}; or, with Content-Type: application/octet-stream, as many
float32, little-endian, answered with one of them.
"""

JSON, RAW = "application/json", "application/octet-stream"
NUMBERS = frozenset((int, float))
MOST = 1_000_000  # no feature is larger than this, or less than its negative


# -- models: all that the server knows of one is a function from rows to scores --


class Model(NamedTuple):
    features: int  # numbers in a row
    predict: Callable[[np.ndarray], np.ndarray]  # float32, (rows, features) to (rows,)


def make_network() -> Model:
    """A ranking network: 256 features, then layers of 1024, 512 and 256, and a sigmoid.

    The sizes are those of the largest network that "Deep Neural Networks for YouTube Recommendations" (2016) reports, as
    many services have copied them since. Untrained, for what it says is not the point here, and from a fixed seed.

    Called for one row, each product is a vector by a matrix: every weight (3.7 MB of them) is fetched, and used once.
    Called for many, it is used once for each row, and numpy's way to each product and back is gone once for all.
    """
    sizes = (256, 1024, 512, 256, 1)
    random = np.random.default_rng(1)
    layers = [
        (random.standard_normal((n, m), np.float32) * np.float32((2 / n) ** 0.5), random.standard_normal(m, np.float32))
        for n, m in zip(sizes, sizes[1:])
    ]

    def predict(rows: np.ndarray) -> np.ndarray:
        for weights, bias in layers[:-1]:
            rows = np.maximum(rows @ weights + bias, 0)
        weights, bias = layers[-1]
        with np.errstate(over="ignore"):  # 1 / (1 + inf) is the 0 that is meant
            return 1 / (1 + np.exp(-(rows @ weights + bias)[:, 0]))

    return Model(sizes[0], predict)


def trained(estimator: Any) -> Model:
    """A classifier of scikit-learn, trained on made-up data of a usual size: 32 features, 5000 rows, 2 classes.

    predict_proba() checks its input, looks for the right namespace, enters joblib and so on: some 200 us for a chain of
    two steps, some milliseconds for the 100 trees of a forest, whether it is given one row or a hundred.
    """
    from sklearn.datasets import make_classification

    rows, classes = make_classification(5000, 32, n_informative=16, random_state=1)
    estimator.fit(rows.astype(np.float32), classes)
    return Model(32, lambda rows: estimator.predict_proba(rows)[:, 1])


def make_linear() -> Model:
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    return trained(make_pipeline(StandardScaler(), LogisticRegression()))


def make_forest() -> Model:
    from sklearn.ensemble import RandomForestClassifier

    return trained(RandomForestClassifier(random_state=1))  # scikit-learn's defaults: 100 trees as deep as they grow


MODELS: Dict[str, Callable[[], Model]] = {"numpy": make_network, "linear": make_linear, "forest": make_forest}


# -- the server --

app = turbo.App()
app.route_stats("/stats", "/metrics")
model: Model  # made in main(), before anybody can connect; all shards read it, nobody writes


def is_raw(request: turbo.Request) -> bool:
    """Whether a request has float32 in its body, else JSON; anything else is answered 415."""
    kind = request.headers.get("content-type", JSON).partition(";")[0].strip().lower()
    if kind not in (JSON, RAW):
        raise turbo.HTTPError(415, f"expected {JSON} or {RAW}\n")
    return kind == RAW


def array_of(values: List[float]) -> Optional[np.ndarray]:
    """None: an integer so long that no float is as large, which Python's json reads, and orjson does not."""
    try:
        return np.array(values, np.float64)
    except OverflowError:
        return None


def read_row(request: turbo.Request) -> np.ndarray:
    """The features that a request asks about. What the model cannot take is answered 422, what is not JSON 400.

    All of it is checked here, one request at a time: the model gets the rows of strangers in one array, and most models
    refuse all of it (or scikit-learn does, for a NaN) when they do not like a single number.
    """
    if is_raw(request):
        body = memoryview(request)  # the bytes where the server has them, not a copy
        good = len(body) == 4 * model.features
        row = np.frombuffer(body, "<f4") if good else None
    else:
        values = request.json()
        good = isinstance(values, list) and len(values) == model.features and NUMBERS.issuperset(map(type, values))
        row = array_of(values) if good else None
    if row is None or not (np.abs(row) <= MOST).all():  # neither is NaN
        raise turbo.HTTPError(422, f"expected {model.features} numbers from -{MOST} to {MOST}\n")
    return row.astype(np.float32, copy=False)


def answer(request: turbo.Request, score: float) -> Any:
    return struct.pack("<f", score) if is_raw(request) else {"score": score}


@app.post("/predict", batch=True)
def predict(requests: List[turbo.Request]) -> List[Any]:
    """One answer for each request, in their order. An exception in the list is the answer to that request alone.

    batch=True takes what came while the handler was at work, up to --batch-max (128), and waits for nothing: alone, a
    request is answered as fast as by /predict/one, and the more there are, the larger are the batches. --batch-wait-us
    has a batch wait for more, which takes less CPU of a server that is not busy, and costs everybody that time.
    @app.post("/predict", batch=64, batch_wait_ms=2) says both for this route.
    """
    answers: List[Any] = [None] * len(requests)
    rows = np.empty((len(requests), model.features), np.float32)
    good: List[int] = []  # which requests the rows are of
    for i, request in enumerate(requests):
        try:
            rows[len(good)] = read_row(request)
            good.append(i)
        except turbo.HTTPError as error:
            answers[i] = error
    if good:
        scores = model.predict(rows[: len(good)]).tolist()  # Python's floats, all at once
        for i, score in zip(good, scores):
            answers[i] = answer(requests[i], score)
    return answers


@app.post("/predict/one")
def predict_one(request: turbo.Request) -> Any:
    """As it would be written without batches. In the last digits the scores differ: BLAS adds up in another order."""
    return answer(request, model.predict(read_row(request)[np.newaxis]).item())


@app.get("/row")
def row(request: turbo.Request) -> List[float]:
    return np.random.default_rng().standard_normal(model.features).round(3).tolist()


@app.get("/")
def index(request: turbo.Request) -> str:
    return USAGE


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="a model behind a batch handler")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on")
    parser.add_argument("--port", type=int, default=8000, help="port to listen on; 0 picks a free one")
    parser.add_argument("--model", choices=tuple(MODELS), default="numpy", help="what is served [numpy]")
    for setting in turbo.settings():
        parser.add_argument(
            "--" + setting.name.replace("_", "-"),
            metavar="WORD" if setting.choices else "N",
            default=argparse.SUPPRESS,
            help=f"{setting.doc} [{setting.default}]".replace("%", "%%"),
        )
    return parser.parse_args()


def main() -> None:
    global model
    options = vars(arguments())
    try:
        model = MODELS[options.pop("model")]()
        model.predict(np.zeros((2, model.features), np.float32))  # what is made at the first call is made now
        app.run(**options)
    except (ImportError, ValueError, OSError) as error:
        raise SystemExit(f"predict.py: {error}") from None


if __name__ == "__main__":
    main()
