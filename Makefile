# Each target sets up what it needs, uv included: a Python and make are enough.
.DEFAULT_GOAL := help
.PHONY: help demo test package servers lint chaos hypercorn soak bench bench-check growth images charts e2e clean-data sync sync-bench sync-docs docs

DATA := $(or $(TANDEM_DATA),.tandem)
BIN := .venv/bin
export UV_PROJECT_ENVIRONMENT := .venv
unexport VIRTUAL_ENV

# Prints only when the command fails.
define quietly
	@output=$$($(1) 2>&1) || { printf '%s\n' "$$output"; echo "Failed: $(1)"; exit 1; }
endef

help: ## show the targets
	@sed -n 's/^\([a-z0-9-]*\):.*## \(.*\)/  \1|\2/p' Makefile | while IFS='|' read -r name text; do printf '  make %-12s %s\n' "$$name" "$$text"; done

demo: export TANDEM_DEMO_STARTED_AT := $(shell date +%s)
demo: sync ## start the whole stack and show it at work (ARGS=--once stops after that)
	@$(BIN)/python manage.py demo $(ARGS)

# In two processes: the integration tests mostly wait. With ARGS that choose tests, one may have none (5).
test: lint ## lint, then unit and integration tests on real servers, with branch coverage
	@rm -f .coverage .coverage.*
	@log=$$(mktemp); $(BIN)/coverage run -m pytest --quiet tests/unit tests/registrar $(ARGS) >$$log 2>&1 & other=$$!; \
	trap 'kill $$other' INT TERM; failed=0; \
	$(BIN)/coverage run -m pytest --quiet tests/integration $(ARGS) || [ $$? -eq 5 ] || failed=1; \
	wait $$other || [ $$? -eq 5 ] || failed=1; cat $$log; rm $$log; exit $$failed
	@$(BIN)/coverage combine --quiet
	@$(BIN)/coverage report

package: sync ## install the wheel with each extra into an empty environment, and run a new project there by README
	@$(BIN)/python -m pytest --quiet tests/package $(ARGS)

lint: sync ## ruff, import contracts, mypy
	$(call quietly,$(BIN)/ruff check)
	$(call quietly,$(BIN)/ruff format --check)
	$(call quietly,$(BIN)/lint-imports)
	$(call quietly,$(BIN)/mypy)
	@$(BIN)/python .ci/lines.py

servers: sync ## tests with servers that only Debian packages have (see .ci/run: it installs them)
	@$(BIN)/python -m pytest --quiet tests/debian $(ARGS)

chaos: sync ## kill, freeze, cut and empty each part under load, and count what is lost
	@$(BIN)/python -m tests.chaos $(ARGS)

hypercorn: export TANDEM_RESTATE_SERVER = hypercorn
hypercorn: sync ## what runs on granian, on the other server: the tests of Restate's services, and chaos
	@$(BIN)/python -m pytest --quiet tests/integration/test_restate_*.py $(ARGS)
	@$(BIN)/python -m tests.chaos

soak: sync ## run many short executions on both engines, and look for what grows or stays (ARGS="--executions N")
	@$(BIN)/python -m tests.chaos.soak $(ARGS)

bench: sync-bench ## measure Tandem beside Celery, DBOS, the Restate SDK and others (ARGS="--only A,B --plot", see --help)
	@$(BIN)/python -m benchmarks $(ARGS)

bench-check: sync-bench ## run what the benchmark compares with a few tasks: whether each works, not how fast
	@$(BIN)/python -m pytest --quiet tests/bench $(ARGS)

growth: sync ## fill the ledger to 10,000,000 executions, and measure what each statement costs (ARGS="--to 100000")
	@$(BIN)/python -m benchmarks.growth $(ARGS)

docs: sync-docs ## build the documents as a site in dist/docs, and check every link between them
	$(call quietly,$(BIN)/sphinx-build --quiet --fail-on-warning --keep-going -c docs/site -d dist/docs/.doctrees docs dist/docs)
	@echo "The site: dist/docs/index.html"

images: sync ## build the container images with Docker or buildah (ARGS="platform --save FOLDER", see --help)
	@$(BIN)/python images/build.py $(ARGS)

charts: sync ## render the Helm charts over a matrix of values and check them (builds Helm and kubeconform by Go, once)
	@$(BIN)/python -m pytest --quiet tests/charts $(ARGS)

e2e: sync ## run the platform on a real cluster: TANDEM_E2E=current, kind, or a local node (root; builds it by Go, once)
	@$(BIN)/python k8s-tests/run.py $(ARGS)

clean-data: ## remove the data of the local stack
	@! command -v flock >/dev/null || test ! -e "$(DATA)/lock" || flock --nonblock "$(DATA)/lock" true \
		|| { echo "A stack runs on $(DATA): stop it first."; exit 1; }
	@cd "$(DATA)" 2>/dev/null && rm -rf postgres postgres.new redis restate inbox files logs run lock addresses.env || true
	@rmdir "$(DATA)" 2>/dev/null || test ! -e "$(DATA)" || echo "$(DATA) has other files, which stay."

sync:
	@uv=$$(sh .ci/uv) && "$$uv" sync --quiet --locked --inexact

sync-docs:
	@uv=$$(sh .ci/uv) && "$$uv" sync --quiet --locked --inexact --group docs

sync-bench:
	@uv=$$(sh .ci/uv) && "$$uv" sync --quiet --locked --inexact --group bench
