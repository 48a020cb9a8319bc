"""A file includes only headers of its own layer and the layers above it in this table, and only the dependencies that
its layer may know.

usage: check_layers.py LIBTURBO_DIR
"""
import pathlib
import re
import sys

LAYERS = [
    ("base", "version error mem buf hash list settings options clock log methods media_type os linux linux_file"),
    ("protocol", "chars fields http_date conditional range http1_parse http1_head http1_chunked http1_trailer http1_write"),
    ("transport", "loop stream timer mailbox listener outq conn conn_time"),
    ("core", "request admission body key response file file_body static_files answer router pattern route pool placement batch gate lane patience "
             "queue overdue exchange write io shard server setup "
             "stats executor_shard"),
]
ROW = {name: row for row, (_, names) in enumerate(LAYERS) for name in names.split()}
ONLY = {  # a dependency's header: where it may be included
    "llhttp.h": {"http1_parse"},
    "mimalloc.h": {"mem"},
}


def includes(path: pathlib.Path) -> list:
    return re.findall(r'^\s*#\s*include\s+[<"]([^">]+)[">]', path.read_text(), re.M)


def check(path: pathlib.Path) -> list:
    name = path.stem
    if name not in ROW:
        return [f"{path.name}: in no layer of the table"]
    bad = []
    for header in includes(path):
        stem = pathlib.PurePath(header).stem
        if header in ONLY and name not in ONLY[header]:
            bad.append(f"{path.name}: includes {header}")
        if header in ("uv.h", "sys/socket.h") and LAYERS[ROW[name]][0] == "protocol":
            bad.append(f"{path.name}: the protocol layer does no I/O, but includes {header}")
        if header == "uv.h" and LAYERS[ROW[name]][0] == "base":
            bad.append(f"{path.name}: includes uv.h")
        if not header.startswith("turbo") and header.endswith(".h") and "/" not in header.replace("os/", "") \
                and (path.parent / header).exists() and ROW.get(stem, -1) > ROW[name]:
            bad.append(f"{path.name}: includes {header} of a layer below")
        if name == "executor_shard" and path.suffix == ".c" and not header.startswith("turbo/") and header != "executor_shard.h":
            bad.append(f"{path.name}: an executor is written against public headers only")
    return bad


def main(root: str) -> int:
    files = sorted(p for p in pathlib.Path(root).rglob("*.[ch]"))
    bad = [line for path in files for line in check(path)]
    print("\n".join(bad) or f"layers: {len(files)} files")
    return bool(bad) or not files


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
