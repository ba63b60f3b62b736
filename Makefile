# make run    builds and starts a jump host with an account `demo`, and prints how to use it
# make test   everything: installs what the tests need, then checks, tests, fuzzes for a bounded time
# make check  the quick loop: format, lints, unit tests
# make bench  measures against sshd, side by side
# make fuzz   fuzzes longer (SECONDS_EACH=600)
# make deny   licences, sources and duplicates of the dependencies

CARGO ?= cargo
SECONDS_EACH ?= 600

.PHONY: run test check unit e2e fuzz bench deny prepare

run:
	@scripts/demo

test: prepare check e2e
	@fuzz/run 60

check:
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets --locked -- -D warnings
	@$(MAKE) --no-print-directory unit

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
