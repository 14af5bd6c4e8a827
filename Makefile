# What can be done here with one word. scripts/environment.sh finds a Python and installs what it needs.
ENVIRONMENT = scripts/environment.sh
TESTS = tests
STRICT =
MODELS =
ROUNDS = 100
OTHERS = 80

help:
	@echo 'make demo              trains LASEM on five small tasks (no download, no GPU); the result: Result/demo.mat'
	@echo 'make test              runs the tests on TensorFlow 1.14 and on TensorFlow 2, where a Python for them is found'
	@echo 'make test TESTS=PATH   runs only these tests, for instance TESTS=tests/results/test_results.py'
	@echo 'make test STRICT=1     fails if one of the two could not be tested'
	@echo 'make lint              checks the code against the rules of ruff.toml'
	@echo 'make test-all          every model type: whole runs against recorded numbers, then on two data sets, killed and'
	@echo '                       resumed, and continued with more tasks; two data sets as files; the commands of the'
	@echo '                       documentation; a campaign watched by utils.status;'
	@echo '                       scripts/gpu_check.sh on the CPU;'
	@echo '                       takes hours; MODELS=ProgNN,EWC: fewer'
	@echo 'make soak              kills, signals, full disks, damage, many at once, 2000 epochs: nothing may be lost;'
	@echo '                       ROUNDS=100 kills of a trial, OTHERS=80 other faults, MODELS=HPS,DEN only these'
	@echo 'make bench             times training and evaluation on both; MODELS=LASEM_HPS,HPS measures only these'
	@echo 'PYTHON=PATH            before or after any of them: the Python to use, if it fits'
	@echo 'LASEM_CACHE=PATH       likewise: where virtual environments are kept (default: ~/.cache/lasem)'

lint:
	@python=$$($(ENVIRONMENT) make 2) || exit 1; "$$python" -m ruff check .

demo:
	@runtime=1.14; $(ENVIRONMENT) find 1.14 >/dev/null 2>&1 || runtime=2; \
	python=$$($(ENVIRONMENT) make $$runtime) || exit 1; \
	echo "Demo on TensorFlow $$runtime, $$("$$python" --version)"; \
	"$$python" main.py --gpu -1 --data_type DIGITS5 --model_type LASEM_HPS --lifelong \
	    --num_runs 2 --epochs_per_task 25 --save_mat_name demo.mat

test:
	@STRICT=$(STRICT) scripts/test.sh $(TESTS)

test-all:
	@status=0; \
	for runtime in 1.14 2; do \
	    if $(ENVIRONMENT) find $$runtime >/dev/null; then \
	        python=$$($(ENVIRONMENT) make $$runtime) || exit 1; \
	        echo "== Every model type on TensorFlow $$runtime, $$("$$python" --version)"; \
	        "$$python" -m tests.whole_runs || status=1; \
	        "$$python" -m tests.every_model --models '$(MODELS)' || status=1; \
	        "$$python" -m tests.own_files || status=1; \
	        "$$python" -m tests.run_docs || status=1; \
	        "$$python" -m tests.campaign || status=1; \
	        PYTHON="$$python" scripts/gpu_check.sh --gpu -1 --report /dev/null || status=1; \
	    fi; \
	done; exit $$status

soak:
	@status=0; \
	for runtime in 1.14 2; do \
	    if $(ENVIRONMENT) find $$runtime >/dev/null; then \
	        python=$$($(ENVIRONMENT) make $$runtime) || exit 1; \
	        echo "== Faults on TensorFlow $$runtime, $$("$$python" --version)"; \
	        "$$python" -m tests.faults.soak --rounds $(ROUNDS) --others $(OTHERS) --models '$(MODELS)' || status=1; \
	        "$$python" -m pytest -m soak tests || status=1; \
	        for locks in none half all; do "$$python" -m tests.faults.many --without $$locks || status=1; done; \
	        "$$python" -m tests.faults.disk || status=1; \
	        "$$python" -m tests.faults.endurance --epochs 2000 || status=1; \
	    fi; \
	done; exit $$status

bench:
	@for runtime in 1.14 2; do \
	    if $(ENVIRONMENT) find $$runtime >/dev/null; then \
	        python=$$($(ENVIRONMENT) make $$runtime) || exit 1; \
	        "$$python" scripts/bench.py --models '$(MODELS)' && "$$python" scripts/bench.py --tree --models '$(MODELS)' && \
	        "$$python" scripts/bench.py --memory || exit 1; \
	    fi; \
	done

.PHONY: help lint demo test test-all soak bench
