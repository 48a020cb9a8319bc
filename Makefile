# The front door: everything over CMake and the Python environment. `make help` lists what there is.
.POSIX:
SHELL = /bin/sh
PREFIX = /usr/local
DESTDIR =
PYTHON = python3
JOBS = 2
FUZZ_SECONDS = 60
REQUESTS = 2000000
VERSIONS =
SECONDS = 60
DEMOS = shards,inline,io0,python
RUNS = 3
GIB = 10

.PHONY: help deps build build-all run run-c test test-freethreaded chaos chaos-processes stop soak soak-python coverage fuzz \
        bench bench-peers bench-phases bench-python bench-batch bench-convoy bench-loops bench-parallel bench-instructions \
        bench-memory bench-transfers overload sweep docs install uninstall clean

help:
	@echo "make run       install what is missing, build, serve the demo at http://127.0.0.1:8000/async"
	@echo "make run-c     the same with native handlers"
	@echo "make test      install what is missing, run every test"
	@echo "make test-freethreaded   the Python binding's tests on free-threaded CPythons, built when missing (VERSIONS=\"3.13t 3.14t\");"
	@echo "               VERSIONS=3.14t-tsan: the stress of threads with ThreadSanitizer in CPython, turbo and libturbo"
	@echo "make soak      both demos for a minute each: memory, descriptors, idle (SOAK_SECONDS, SOAK_CONNECTIONS)"
	@echo "make chaos     good clients beside bad ones, each demo for SECONDS (60), then ASan's (DEMOS=$(DEMOS))"
	@echo "make chaos-processes   Python workers replaced, told to end and killed under load, RUNS (3) of 20 s"
	@echo "make stop      SIGTERM under load, 20 times each demo: nothing sent before it is lost;"
	@echo "               and 20 handovers to a next server, of which no client notices anything"
	@echo "make soak-python   one Python process under REQUESTS (2000000) requests, on build/venv or VERSIONS=\"3.9 3.13 3.13t\""
	@echo "make coverage  line coverage of libturbo/ by its tests, a file a line"
	@echo "make fuzz      run each fuzz target for FUZZ_SECONDS (60), two at a time; ends with 1 when one finds something"
	@echo "make deps      install what is missing, nothing else"
	@echo "make build     build the library and the examples into build/"
	@echo "make bench     measure the demos beside other servers (5 minutes; BENCH_ROUNDS=15 for figures to keep)"
	@echo "make bench-peers    Python servers from PyPI beside turbo (5 minutes; PEERS_ROUNDS=9 for figures to keep)"
	@echo "make bench-phases   the goals of the work libturbo comes from: mode=single, phases A, B, C (PHASES_ROUNDS)"
	@echo "make bench-python   what features of the Python binding cost a request (PYTHON_ROUNDS)"
	@echo "make bench-batch    a model behind a batch handler beside one call a request (BATCH_ROUNDS); DOCS=1 writes docs/benchmarks.md"
	@echo "make bench-convoy   handlers that keep the GIL beside ones that do not (CONVOY_ROUNDS)"
	@echo "make bench-loops    asyncio and uvloop on a CPython without a GIL (LOOPS_ROUNDS)"
	@echo "make bench-parallel one and two shards of handlers that use the CPU (PARALLEL_ROUNDS); DOCS=1 writes docs/benchmarks.md"
	@echo "make bench-instructions   count instructions and system calls of a request"
	@echo "make bench-memory   memory of idle connections, clients that never read and large answers, beside nginx (5 minutes)"
	@echo "make bench-transfers GIB=10   very long bodies up and down, and the server's peak memory (10 minutes)"
	@echo "make overload  goodput against offered load, up to 5 x the capacity (8 minutes); DOCS=1 writes docs/overload.md"
	@echo "make sweep     the Python demo with one setting changed at a time (8 minutes; FULL=1: the grid too, 13 minutes;"
	@echo "               SWEEP_ROUNDS, SWEEP_SECONDS); DOCS=1 writes docs/results.md, else all goes into build/"
	@echo "make docs      write docs/settings.md from the library's table"
	@echo "make install   install to PREFIX (default /usr/local), under DESTDIR when given"
	@echo "make uninstall remove what the last make install has put there: the same PREFIX, and DESTDIR when given"
	@echo "make clean     remove build/"

deps:
	@sh scripts/deps.sh build test
	@sh scripts/venv.sh test deps

build:
	@sh scripts/deps.sh build
	@sh scripts/build.sh release -DTURBO_TESTS=OFF

# With the tests' programs, which need Criterion.
build-all:
	@sh scripts/deps.sh build test
	@sh scripts/build.sh release -DTURBO_TESTS=ON

run-c: build
	build/examples/demo --host 127.0.0.1 --port 8000

run: build
	@sh scripts/venv.sh
	@echo "libturbo: Python demo, http://127.0.0.1:8000/async (Ctrl-C ends it)"
	@exec build/venv/bin/python examples/demo.py --host 127.0.0.1 --port 8000

test:
	@sh scripts/deps.sh build test
	@bash scripts/test.sh

test-freethreaded: build-all
	@sh scripts/test-freethreaded.sh $(VERSIONS)

soak: build-all
	@sh scripts/deps.sh soak
	@sh scripts/build.sh asan -DTURBO_TESTS=ON
	@sh scripts/venv.sh
	@$(PYTHON) tests/soak/soak.py

chaos: build-all
	@sh scripts/build.sh asan -DTURBO_TESTS=ON
	@sh scripts/venv.sh
	@$(PYTHON) tests/chaos/chaos.py --seconds $(SECONDS) --demos $(DEMOS)
	@$(PYTHON) tests/chaos/chaos.py --seconds $(SECONDS) --demos shards,inline,io0 --asan

chaos-processes: build-all
	@sh scripts/venv.sh
	@$(PYTHON) tests/chaos/processes.py --runs $(RUNS)

stop: build-all
	@sh scripts/build.sh asan -DTURBO_TESTS=ON
	@sh scripts/venv.sh
	@$(PYTHON) tests/chaos/stop.py --demos $(DEMOS),processes
	@$(PYTHON) tests/chaos/stop.py --demos shards,inline,io0 --asan
	@$(PYTHON) tests/chaos/handover.py --demos $(DEMOS)
	@$(PYTHON) tests/chaos/handover.py --demos shards,inline,io0 --asan

soak-python: build-all
	@sh scripts/soak-python.sh $(REQUESTS) $(VERSIONS)

coverage: build-all
	@sh scripts/venv.sh test
	@sh scripts/coverage.sh

fuzz:
	@sh scripts/deps.sh build test fuzz
	@sh scripts/fuzz.sh run $(FUZZ_SECONDS)

bench: build-all
	@sh scripts/deps.sh bench
	@sh scripts/venv.sh
	@$(PYTHON) tests/bench/bench.py

bench-peers: build-all
	@sh scripts/deps.sh bench
	@sh scripts/venv.sh
	@$(PYTHON) tests/bench/bench_peers.py

bench-phases: build-all
	@sh scripts/deps.sh bench
	@sh scripts/venv.sh
	@$(PYTHON) tests/bench/bench_phases.py

bench-python: build-all
	@sh scripts/deps.sh bench
	@sh scripts/venv.sh
	@$(PYTHON) tests/bench/bench_python.py

bench-batch: build-all
	@sh scripts/deps.sh bench
	@sh scripts/venv.sh models plots
	@$(PYTHON) tests/bench/bench_batch.py

bench-convoy: build-all
	@sh scripts/deps.sh bench
	@sh scripts/venv.sh
	@$(PYTHON) tests/bench/bench_convoy.py

bench-loops: build-all
	@sh scripts/deps.sh bench freethreaded
	@python=$$(sh scripts/python-freethreaded.sh) && PYTHON=$$python sh scripts/venv.sh test venv-3.13t
	@$(PYTHON) tests/bench/bench_loops.py

bench-parallel: build-all
	@sh scripts/deps.sh bench freethreaded
	@sh scripts/venv.sh
	@python=$$(sh scripts/python-freethreaded.sh) && PYTHON=$$python sh scripts/venv.sh venv-3.13t
	@python=$$(sh scripts/python-freethreaded.sh 3.14t) && PYTHON=$$python sh scripts/venv.sh venv-3.14t || true
	@python=$$(sh scripts/find-python.sh 3.13 2>/dev/null) && PYTHON=$$python sh scripts/venv.sh venv-3.13 || true
	@$(PYTHON) tests/bench/bench_parallel.py

bench-instructions: build-all
	@sh scripts/deps.sh bench
	@$(PYTHON) tests/bench/instructions.py

bench-memory: build-all
	@sh scripts/deps.sh bench
	@sh scripts/venv.sh
	@$(PYTHON) tests/bench/idle.py

bench-transfers: build-all
	@sh scripts/deps.sh bench
	@sh scripts/venv.sh
	@$(PYTHON) tests/bench/transfers.py --gib $(GIB)

overload: build-all
	@sh scripts/deps.sh bench
	@sh scripts/venv.sh plots
	@$(PYTHON) tests/overload/overload.py

sweep: build
	@sh scripts/deps.sh bench
	@sh scripts/venv.sh plots
	@$(PYTHON) tests/bench/sweep.py

docs: build-all
	@$(PYTHON) tests/lint/check_settings.py build/release/tests/settings_page docs/settings.md --write

install: build
	DESTDIR="$(DESTDIR)" cmake --install build/release --prefix "$(PREFIX)"
	@cp build/release/install_manifest.txt build/installed.txt # tests install too, elsewhere

uninstall:
	@sh scripts/uninstall.sh build/installed.txt "$(PREFIX)" "$(DESTDIR)"

clean:
	rm -rf build
