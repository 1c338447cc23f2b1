# Two commands: `make run` and `make test`. On a fresh Debian 12 only python3.11 and make are needed.
#   make run  ARGS="--demo"       run the guard in the foreground on this host
#   make test ARGS="-k scanner"   set up and pass all tests (ARGS go to pytest)
#   make native                   compile the core anew (the others do it by themselves where they can)
#   make bench                    the measurements that the README quotes
# Debian packages are installed only as root, and said before.

.ONESHELL:
.PHONY: run test native bench clean
SHELL := /bin/sh
.SHELLFLAGS := -ec
VENV ?= .venv
ARGS ?=
BIN := $(VENV)/bin

RUN_PACKAGES := nftables libnftables1
# What compiles the core. It is optional: without it everything works, more slowly.
BUILD_PACKAGES := gcc libc6-dev python3-dev
TEST_PACKAGES := nftables libnftables1 ipset iptables iproute2 procps groff man-db \
	postfix dovecot-core dovecot-imapd dovecot-pop3d dovecot-managesieved dovecot-submissiond dovecot-lmtpd \
	rsyslog openssl util-linux systemd systemd-journal-remote \
	chromium fonts-dejavu-core fonts-droid-fallback
BENCH_PACKAGES := fail2ban sshguard ripgrep iproute2 gcc

# Shell functions that every recipe starts with.
define SETUP
find_python() {
	for each in python3.11 python3.12 python3.13 python3.14 python3; do
		if command -v $$each >/dev/null && $$each -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
			echo $$each
			return
		fi
	done
	echo "mailguard needs Python 3.11 or newer; none was found in PATH." >&2
	exit 1
}
missing() { # of the Debian packages named, those that are not installed
	for each in "$$@"; do
		dpkg-query -W -f='$${Status}' $$each 2>/dev/null | grep -q 'ok installed' || printf '%s ' $$each
	done
}
packages() { # purpose, package...: install what is missing as root on Debian, else say it
	purpose=$$1
	shift
	if ! command -v dpkg-query >/dev/null; then
		echo "This is no Debian; for $$purpose these are wanted: $$*"
		return 0
	fi
	list=$$(missing "$$@")
	[ -n "$$list" ] || return 0
	if [ "$$(id -u)" != 0 ]; then
		echo "Not installed, wanted for $$purpose: $$list(as root: apt-get install $$list)"
		return 0
	fi
	echo "Installing Debian packages for $$purpose: $$list"
	# Nothing that is installed here shall start serving by itself: no mail server appears by a test run.
	policy=/usr/sbin/policy-rc.d
	ours=
	if [ ! -e $$policy ]; then
		printf '#!/bin/sh\nexit 101\n' >$$policy
		chmod 755 $$policy
		ours=1
		trap 'rm -f /usr/sbin/policy-rc.d' EXIT INT TERM
	fi
	done=1
	DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $$list >/dev/null 2>&1 || {
		apt-get update -qq || true
		DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $$list >/dev/null || done=
	}
	[ -z "$$ours" ] || rm -f $$policy
	trap - EXIT INT TERM
	[ -n "$$done" ] || echo "Some could not be installed; going on without them." >&2
}
environment() { # make the virtual environment
	[ -x $(BIN)/pip ] && return 0
	python=$$(find_python)
	if ! $$python -c 'import ensurepip, venv' 2>/dev/null; then
		version=$$($$python -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')
		if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
			packages "Python's virtual environments" $$version
		else
			echo "Python's module venv is not complete: as root, apt-get install $$version" >&2
			exit 1
		fi
	fi
	echo "Making the environment $(VENV)"
	$$python -m venv $(VENV)
}
install() { # "" or "dev": install this checkout and its dependencies once, the test tools too with "dev"
	stamp=$(VENV)/.mailguard-$${1:-run}
	[ -e $$stamp ] && [ ! pyproject.toml -nt $$stamp ] && native_is_new && return 0
	packages "the compiled core (optional)" $(BUILD_PACKAGES)
	echo "Installing mailguard and its dependencies into $(VENV) (the first time this takes a minute or two)"
	$(BIN)/pip install -qq --disable-pip-version-check -e ".[$${1:+$$1,}fast]" || {
		echo "The fast prefilters have no wheel here; going on without them (same events, more time)." >&2
		$(BIN)/pip install -qq --disable-pip-version-check -e ".$${1:+[$$1]}"
	}
	touch $$stamp
	compiled=$$($(BIN)/python -c 'from mailguard.core import native; print(*native.there())')
	if [ -n "$$compiled" ]; then
		echo "The core is compiled: $$compiled"
	else
		echo "The core is not compiled (no C compiler or no Python headers?); it works all the same, more slowly."
	fi
}
native_is_new() { # no source of the compiled core is newer than what was installed
	[ -z "$$(find mailguard/core/native mailguard/feeds/native mailguard/firewall/native mailguard/ledger/native hatch_build.py \
		\( -name '*.py' -o -name '*.pyx' -o -name '*.pxi' \) -newer $$stamp -print -quit)" ]
}
endef

run:
	@$(SETUP)
	environment
	install ""
	packages "the firewall" $(RUN_PACKAGES)
	exec $(BIN)/mailguard run $(ARGS)

test:
	@$(SETUP)
	environment
	install dev
	packages "the kernel and mail server tests" $(TEST_PACKAGES)
	if [ "$$(id -u)" = 0 ]; then
		# Only legacy iptables tables need python-iptables, which compiles; without it that driver says so.
		packages "python-iptables" gcc python3-dev libiptc-dev libxtables-dev || true
		stamp=$(VENV)/.mailguard-legacy
		[ -e $$stamp ] || $(BIN)/pip install -qq --disable-pip-version-check -e ".[legacy]" || true
		touch $$stamp
	fi
	VENV=$(VENV) exec tests/check $(ARGS)

native:
	@$(SETUP)
	environment
	packages "the compiled core" $(BUILD_PACKAGES)
	install dev
	$(BIN)/python hatch_build.py

bench:
	@$(SETUP)
	environment
	install dev
	packages "the measurements (some of them are what is compared with)" $(RUN_PACKAGES) $(BENCH_PACKAGES)
	for each in $(filter-out bench/picture.py bench/mixes.py bench/fuzz.py,$(sort $(wildcard bench/*.py))); do
		echo "== $$each"
		$(BIN)/python $$each
	done

clean:
	@rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis build dist mailguard/*/native/*.so
