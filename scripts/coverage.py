"""Line coverage of libturbo/ from the .gcda files of a build, by gcov alone.

usage: coverage.py BUILD_DIR [PERCENT]
"""
import json
import pathlib
import subprocess
import sys
from collections import defaultdict

ROOT = pathlib.Path(__file__).resolve().parent.parent
SOURCES = ROOT / "libturbo"


def read_object(path, counts):
    """Add the counts of one object file; a line of a header, or of mem.c, is in several."""
    command = ["gcov", "--json-format", "--stdout", path.name]
    answer = subprocess.run(command, cwd=path.parent, capture_output=True, check=True)
    for text in answer.stdout.decode().splitlines():
        data = json.loads(text)
        for file in data["files"]:
            name = (pathlib.Path(data["current_working_directory"]) / file["file"]).resolve()
            if SOURCES in name.parents:
                for line in file["lines"]:
                    counts[name.relative_to(SOURCES)][line["line_number"]] += line["count"]


def main():
    build = pathlib.Path(sys.argv[1])
    least = float(sys.argv[2]) if len(sys.argv) > 2 else 0.0
    counts = defaultdict(lambda: defaultdict(int))
    for path in sorted(build.rglob("*.gcno")):
        if "libturbo" in path.parts:
            read_object(path, counts)
    rows = []
    for name, lines in counts.items():
        missed = sorted(number for number, count in lines.items() if count == 0)
        rows.append((100.0 * (len(lines) - len(missed)) / len(lines), str(name), len(lines), missed))
    for share, name, total, missed in sorted(rows, reverse=True):
        text = " ".join(map(str, missed[:12])) + (" ..." if len(missed) > 12 else "")
        print(f"{share:6.1f} % {total - len(missed):5d} of {total:5d}  {name:20s} {text}")
    total = sum(len(lines) for lines in counts.values())
    hit = sum(count > 0 for lines in counts.values() for count in lines.values())
    if total == 0:
        sys.exit("coverage.py: no counters found")
    share = 100.0 * hit / total
    print(f"{share:6.1f} % {hit:5d} of {total:5d}  all")
    if share < least:
        sys.exit(f"coverage.py: less than {least} %")


main()
