"""What bench_batch.py measures: examples/predict.py, and beside it

light           one more --model: the mean of 8 numbers, as a handler that has nothing to gain from batches
/predict/wait   the batch handler again, with batches that wait up to 2 ms for more
/calls          how often the model was called, and for how many rows
"""

import sys
from pathlib import Path
from typing import Callable, Dict

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "examples"))
import predict  # noqa: E402

calls = {"calls": 0, "rows": 0}  # one shard, so one thread


def counted(make: Callable[[], predict.Model]) -> Callable[[], predict.Model]:
    def made() -> predict.Model:
        model = make()

        def call(rows):
            calls["calls"] += 1
            calls["rows"] += len(rows)
            return model.predict(rows)

        return predict.Model(model.features, call)

    return made


predict.MODELS["light"] = lambda: predict.Model(8, lambda rows: rows.mean(axis=1))
predict.MODELS.update({name: counted(make) for name, make in predict.MODELS.items()})
predict.app.post("/predict/wait", batch=True, batch_wait_ms=2)(predict.predict)


@predict.app.get("/calls")
def say_calls(request) -> Dict[str, int]:
    return calls


if __name__ == "__main__":
    predict.main()
