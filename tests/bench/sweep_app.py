"""What the sweep measures: examples/demo.py, with sixteen routes each of its handlers /spin and /block."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "examples"))
import demo  # noqa: E402

for n in range(16):  # as the demo has /r/0 to /r/15, which do next to nothing
    demo.app.get(f"/spins/{n}")(demo.spin)
    demo.app.get(f"/blocks/{n}")(demo.block)

if __name__ == "__main__":
    demo.main()
