# Thin targets over cargo; what each runs can be typed as well. With `-p`, cargo resolves other features than for the
# workspace and builds all libraries a second time; so tests are named, and packages where nothing else will do.

SHELL := /bin/bash
CARGO ?= cargo
BUILT := $(or $(CARGO_TARGET_DIR),target)/debug

.PHONY: help
help: ## List the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 24

.PHONY: demo
demo: ## Show DaemonJobs on a control plane of this machine; KEEP=1 leaves it running
	$(CARGO) build --bin daemonjob --bin daemonjob-demo
	@$(BUILT)/daemonjob-demo

.PHONY: demo-down
demo-down: ## Remove a demo that was kept
	@$(CARGO) build --quiet --bin daemonjob-demo
	@$(BUILT)/daemonjob-demo down

# The tools come before the tests: their first build takes minutes, and cargo test would hide its progress.
.PHONY: test
test: lint tools ## Everything that CI runs
	$(CARGO) test --workspace --doc
	$(CARGO) test --workspace --all-targets

.PHONY: check
check: ## Does it compile?
	$(CARGO) check --workspace --all-targets

.PHONY: lint
lint: ## Format and clippy, warnings as errors
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets -- -D warnings

.PHONY: tools
tools: ## Build the control plane's programs, as root those of a real node too, unless they are there
	$(CARGO) run --quiet --bin daemonjob-cluster -- tools --real-node

.PHONY: golden
golden: ## Rewrite the golden files: CRD, statuses, answers of the webhook, help, tables, install.yaml
	UPDATE_GOLDEN=1 $(CARGO) test -p daemonjob-core --lib crd
	UPDATE_GOLDEN=1 $(CARGO) test -p daemonjob-core --test status
	UPDATE_GOLDEN=1 $(CARGO) test -p daemonjob-webhook --test wire every_vector
	UPDATE_GOLDEN=1 $(CARGO) test --workspace --test tidy --test cli
	UPDATE_GOLDEN=1 $(CARGO) test --workspace --test chart documents

.PHONY: test-unit
test-unit: ## Rings 0 and 1: values and properties beside the code
	$(CARGO) test --workspace --lib --bins

.PHONY: test-model
test-model: ## Ring 1: two controllers on the planner, explored further than make test goes, in release
	MODEL_STATES=500000 $(CARGO) test --release -p daemonjob-model -- --test-threads=1 --show-output
	MODEL_STATES=7000000 $(CARGO) test --release -p daemonjob-model -- --show-output at_work

.PHONY: test-simulation
test-simulation: ## Ring 2: the controller on an API server in memory; SEED=n tells one story again, SIMULATION_SEEDS gives their number
	$(CARGO) test --workspace --test simulation -- --show-output

.PHONY: test-wire
test-wire: ## Ring 2: the webhook over TLS and its patches in Go, certificates against a fake API
	$(CARGO) test -p daemonjob-webhook -p daemonjob-certs --test '*'
	$(CARGO) test --workspace --test json_patch --test gitops
	$(CARGO) test -p daemonjob-bench

.PHONY: test-apiserver
test-apiserver: tools ## Ring 3: the program on a real API server
	$(CARGO) test --workspace --test apiserver

.PHONY: test-admission
test-admission: tools ## Ring 3 with two replicas behind a balancer: nothing that is done to certificates fails a create
	$(CARGO) test --workspace --test admission -- --show-output

# It builds in a copy of the repository, in a target of its own: cargo cannot tell two copies in one target apart.
# The first pass builds quickly and asks the quick tests; what they miss is asked of all tests of core, which need an
# optimised one: the laws.
MUTANTS_VERSION := 27.1.0
MUTANTS_ROOT := $(abspath $(or $(CARGO_TARGET_DIR),target))
MUTANTS := $(MUTANTS_ROOT)/cargo-mutants-$(MUTANTS_VERSION)/bin/cargo-mutants
MUTATE = env -u CARGO_TARGET_DIR PROPTEST_DISABLE_FAILURE_PERSISTENCE=1 \
	$(MUTANTS) mutants --package daemonjob-core --output $(MUTANTS_ROOT) $(if $(ONLY),--re '$(ONLY)')

$(MUTANTS):
	$(CARGO) install cargo-mutants --locked --version $(MUTANTS_VERSION) --root $(MUTANTS_ROOT)/cargo-mutants-$(MUTANTS_VERSION)

.PHONY: mutants
mutants: $(MUTANTS) ## Does a test notice each small change of core's decisions? (hours; not in CI) ONLY=record.rs for some
	$(MUTATE) --cargo-arg=--lib -- -- --skip laws:: --skip crd:: || [[ $$? == [23] ]]
	$(MUTATE) --iterate --profile dev --cargo-arg=--lib --cargo-arg=--test=status

.PHONY: soak
soak: tools ## The full numbers: 1,000 rotations, 100 rolling restarts, 20 fresh clusters, 100,000 seeds, deeper models, longer fuzzing (four hours)
	SIMULATION_SEEDS=100000 $(CARGO) test --release --workspace --test simulation -- --show-output
	ROTATION_FAULTS=1 $(CARGO) test -p daemonjob-certs --lib model -- --show-output
	FUZZ_SECONDS=120 $(CARGO) test -p daemonjob-certs --lib fuzz
	FUZZ_SECONDS=120 $(CARGO) test -p daemonjob-webhook --lib fuzz
	SOAK=1 $(CARGO) test --workspace --test admission -- --show-output
	SOAK=1 $(CARGO) test --workspace --test faults -- --show-output
	SOAK=1 $(CARGO) test --workspace --test node -- --show-output

.PHONY: bench
bench: ## The webhook beside a bare echo of the same stack, and under 10,000 half-open connections (three minutes)
	$(CARGO) build --release -p daemonjob-bench
	@$(or $(CARGO_TARGET_DIR),target)/release/daemonjob-bench

.PHONY: test-scale
test-scale: tools ## Ring 3 with 1,000 nodes: prints what a rollout costs, call by call
	$(CARGO) test --workspace --test scale -- --show-output

.PHONY: test-faults
test-faults: tools ## Ring 3 with a proxy that lets requests go wrong
	$(CARGO) test --workspace --test faults -- --show-output

.PHONY: test-chart
test-chart: tools ## Ring 4: the chart, rendered and installed by a real Helm
	$(CARGO) test --workspace --test chart

.PHONY: test-node
test-node: tools ## Ring 5: installed on a node with containers (root), by each Helm; the first steps of the README
	$(CARGO) test --workspace --test node -- --show-output

.PHONY: test-cluster
test-cluster: tools ## The local control plane itself
	$(CARGO) test -p daemonjob-cluster

.PHONY: image
image: ## Write the container image to target/image, without a container engine; IMAGE_NAME names it
	$(CARGO) run --quiet --package daemonjob-image

.PHONY: image-check
image-check: tools ## Build it in two folders, compare, and run it where nothing else is (root; takes long)
	$(CARGO) test -p daemonjob-image --test image -- --include-ignored --show-output

.PHONY: tidy
tidy: ## The rules of this repository: layers, sizes, goldens, dependencies, the command line
	$(CARGO) test --workspace --test tidy --test dependencies --test cli --test readme
