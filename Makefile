# make run    builds and starts a jump host with an account `demo`, and prints how to use it
# make test   everything: installs what the tests need, then checks, tests, fuzzes for a bounded time
# make check  the quick loop: format, lints, unit tests
# make page   builds the dashboard's page, which the next build of adit embeds
# make bench  measures against sshd, side by side
# make fuzz   fuzzes longer (SECONDS_EACH=600)
# make deny   licences, sources and duplicates of the dependencies

CARGO ?= cargo
SECONDS_EACH ?= 600

# `make page NPM=` builds without it.
NPM ?= $(shell command -v npm)
PAGE_SOURCES := $(shell find web \( -name node_modules -o -name dist -o -name test-results -o -name schema.d.ts \) -prune -o -type f -print)

.PHONY: run test check unit page check-page e2e browser fuzz bench deny prepare

run: page
	@scripts/demo

test: prepare page check check-page e2e browser
	@fuzz/run 60

check:
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets --locked -- -D warnings
	@$(MAKE) --no-print-directory unit

ifeq ($(NPM),)
page:
	@echo "there is no npm here: adit is built without the dashboard's page (it takes Node.js 20.19)"
else
page: web/dist/index.html
endif

web/node_modules/.package-lock.json: web/package-lock.json
	cd web && npm ci --no-audit --no-fund --loglevel=error
	@touch $@

web/dist/index.html: web/node_modules/.package-lock.json $(PAGE_SOURCES) crates/api/openapi.json crates/api/agent-openapi.json
	cd web && npm run --silent build -- --logLevel warn

check-page: page
	cd web && npm run --silent check && npm run --silent test

browser: page
	$(CARGO) build --locked
	cd tests/browser && npm ci --no-audit --no-fund --loglevel=error && npm run --silent test

unit:
	$(CARGO) nextest run --workspace --exclude adit-e2e --locked

e2e:
	$(CARGO) build --locked
	ADIT_PYTHON=$(CURDIR)/target/venv/bin/python $(CARGO) nextest run -p adit-e2e --locked

fuzz:
	@fuzz/run $(SECONDS_EACH)

bench:
	@bench/run

deny:
	$(CARGO) deny --all-features check licenses bans sources

prepare:
	@scripts/prepare
