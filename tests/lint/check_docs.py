"""Every TURBO_API declaration has a contract: a comment with the trailer Owns, Thread, Blocks, Reenter, Since.

usage: check_docs.py INCLUDE_DIR
"""
import pathlib
import re
import sys

TRAILER = ("Owns:", "Thread:", "Blocks:", "Reenter:", "Since:")


def main(include: str) -> int:
    bad = []
    seen = 0
    for path in sorted(pathlib.Path(include).rglob("*.h")):
        text = path.read_text()
        for match in re.finditer(r"^TURBO_API\b[^;(]*?\b(turbo_\w+)\s*\(", text, re.M):
            seen += 1
            before = text[:match.start()].rstrip()
            comment = before[before.rfind("/**"):] if before.endswith("*/") else ""
            missing = [word for word in TRAILER if word not in comment]
            if missing:
                bad.append(f"{path.name}: {match.group(1)}: no {', '.join(missing)}")
    print("\n".join(bad) or f"docs: {seen} declarations with their contracts")
    return bool(bad) or seen == 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
