# make run    builds and starts a jump host with an account `demo`, and prints how to use it
# make test   everything: installs what the tests need, then checks, tests, fuzzes for a bounded time
# make check  the quick loop: format, lints, unit tests
# make page   builds the dashboard's page, which the next build of adit embeds
# make bench  measures against sshd, ssh, autossh, rathole and bore, side by side, and writes docs/benchmarks
# make fuzz   fuzzes longer (SECONDS_EACH=600)
# make deny   licences, sources and duplicates of the dependencies
# make dist   everything that is given to people, in target/dist: a Debian package, a Python wheel, an archive; make deb, make wheel: one

CARGO ?= cargo
SECONDS_EACH ?= 600
# What is built once, in a fresh clone, is built without notes for the next time: less to write, and fewer parts to link.
ifdef CI
export CARGO_INCREMENTAL ?= 0
endif

# `make page NPM=` builds without it.
NPM ?= $(shell command -v npm)
PAGE_SOURCES := $(shell find web \( -name node_modules -o -name dist -o -name test-results -o -name schema.d.ts \) -prune -o -type f -print)

# What is packed: PROFILE=dev takes the program that the tests have built. BINARY= takes any other, for a package without a build.
PROFILE ?= release
BINARY ?= target/$(if $(filter dev,$(PROFILE)),debug,$(PROFILE))/adit
DIST := target/dist$(if $(filter release,$(PROFILE)),,-$(PROFILE))
VERSION := $(shell sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml)
MACHINE := $(shell uname -m)
DEB = $(DIST)/adit_$(VERSION)-1_$(shell dpkg --print-architecture 2>/dev/null).deb
ARCHIVE = $(DIST)/adit-$(VERSION)-$(MACHINE)-linux.tar.xz
PACKAGING := $(shell find packaging python \( -name __pycache__ -o -name .mypy_cache -o -name tests -o -name THIRD-PARTY-LICENSES \) -prune -o -type f -print) crates/adit/Cargo.toml
# Its real name says for which C library it is, which maturin finds out.
WHEEL = $(DIST)/wheel/.made
# A package of a build that nobody will keep need not be small.
PACKING_FLAGS := $(if $(filter release,$(PROFILE)),,--fast)
PYTHON_TOOLS := target/venv/bin

.PHONY: run test check unit page check-page e2e browser test-long fuzz bench deny prepare build deb wheel archive static dist check-dockerfile formula

run: page
	@scripts/demo

test: prepare page check check-page e2e browser
	@$(MAKE) --no-print-directory check-dockerfile PROFILE=dev
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

web/dist/index.html: web/node_modules/.package-lock.json $(PAGE_SOURCES) crates/api/openapi.json crates/api/agent-openapi.json crates/api/mesh-openapi.json
	cd web && npm run --silent build -- --logLevel warn

check-page: page
	cd web && npm run --silent check && npm run --silent test

browser: page
	$(CARGO) build --locked
	cd tests/browser && npm ci --no-audit --no-fund --loglevel=error && npm run --silent test

unit:
	$(CARGO) nextest run --workspace --exclude adit-e2e --locked

# The wheel first: maturin moves the program away for a moment, and each story needs it.
e2e:
	$(CARGO) build --locked
	$(CARGO) build --locked -p adit-bench
	@$(MAKE) --no-print-directory wheel PROFILE=dev
	ADIT_PYTHON=$(CURDIR)/target/venv/bin/python $(CARGO) nextest run -p adit-e2e --locked

# What takes too long for each commit: half an hour of a bad network, 1 GiB that outlives its transit, a membership that ends. With the
# program that people have, and a bound that is missed once is missed.
test-long: build
	ADIT_E2E_LONG=1 ADIT_BIN=$(CURDIR)/$(BINARY) $(CARGO) nextest run -p adit-e2e --locked --retries 0 -E 'test(/^mesh/)'

fuzz:
	@fuzz/run $(SECONDS_EACH)

bench:
	@bench/run --publish docs/benchmarks

deny:
	$(CARGO) deny --all-features check licenses bans sources

prepare:
	@scripts/prepare

build: page
	$(CARGO) build --profile $(PROFILE) --locked

deb: build
	@$(MAKE) --no-print-directory $(DEB)

$(DEB): $(BINARY) $(PACKAGING)
	@cargo deb --version >/dev/null 2>&1 || scripts/prepare
	packaging/deb $(BINARY) $@ $(PACKING_FLAGS)

wheel: build
	@$(MAKE) --no-print-directory $(WHEEL)

$(WHEEL): $(BINARY) $(PACKAGING)
	@test -x $(PYTHON_TOOLS)/maturin || scripts/prepare
	packaging/wheel $(PROFILE) $(@D)
	@touch $@

archive: build
	@$(MAKE) --no-print-directory $(ARCHIVE)

$(ARCHIVE): $(BINARY) $(PACKAGING)
	packaging/archive $(BINARY) $@

static: page
	packaging/static $(DIST) $(VERSION)

dist: deb wheel archive static
	cp $(DIST)/wheel/*.whl $(DIST)
	cd $(DIST) && sha256sum *.deb *.whl *.tar.xz >SHA256SUMS
	@cat $(DIST)/SHA256SUMS

check-dockerfile: build
	$(PYTHON_TOOLS)/python packaging/check-dockerfile $(BINARY) --build

# The sources as somebody else builds them, and the formula that says where they are: SOURCE_URL=https://…/adit-0.1.0.tar.gz
formula:
	@test -n "$(SOURCE_URL)" || { echo "say where people get the sources: SOURCE_URL=" >&2; exit 2; }
	mkdir -p $(DIST)
	git archive --prefix=adit-$(VERSION)/ --output=$(DIST)/adit-$(VERSION).tar.gz HEAD
	sed -e 's|@URL@|$(SOURCE_URL)|; s|@HOMEPAGE@|$(dir $(SOURCE_URL))|' \
	    -e "s|@SHA256@|$$(sha256sum <$(DIST)/adit-$(VERSION).tar.gz | cut -d' ' -f1)|" packaging/homebrew/adit.rb >$(DIST)/adit.rb
