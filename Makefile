# make demo and make test need Python 3.11+ and make; everything else is set up in .venv.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# Tests run in as many processes. Not "auto": that counts cores, of which a container may use but a few, or hyperthreads as none.
WORKERS ?= 2

# make install: below PREFIX, for packagers below DESTDIR; bound to the minor version of PYTHON.
PREFIX ?= /usr/local
SYSCONFDIR ?= /etc
DESTDIR ?=
BUILD := build/$(shell $(PYTHON) -c 'import sys; print(sys.implementation.cache_tag)' || echo none)
PIP_QUIET := --quiet --disable-pip-version-check
PLACES = --destdir "$(DESTDIR)" --prefix "$(PREFIX)" --sysconfdir "$(SYSCONFDIR)" \
	$(if $(UNITDIR),--unitdir "$(UNITDIR)") $(if $(ZSHDIR),--zshdir "$(ZSHDIR)")

.PHONY: messages demo test test-slow systemd kill promises fuzz year lint bench lock clean wheels install uninstall deb

demo: $(STAMP)            ## sync from a small sample upstream on loopback and show the result; offline
	$(BIN)/inspire-mirror demo

test: lint                ## every check and every test
	$(BIN)/pytest -n $(WORKERS) --dist worksteal

test-slow: $(STAMP)       ## the scale and kill tests too
	$(BIN)/pytest -m "not systemd"

systemd: $(STAMP) deb     ## install, run, kill and uninstall it all on a real systemd, in containers; as root, on Debian
	$(BIN)/pytest -m systemd -n $(WORKERS) --dist loadfile tests/test_install.py tests/test_systemd.py tests/test_systemd_units.py

kill: $(STAMP)            ## kill -9 at random points of a sync, 1,000 times
	KILLS=$${KILLS:-1000} $(BIN)/pytest -m slow tests/test_kill.py -s

promises: $(STAMP)        ## random publications, faults, kills, configs and users: the promises hold after each step
	EXAMPLES=$${EXAMPLES:-1000} $(BIN)/pytest -m slow tests/test_promises.py -s

fuzz: $(STAMP)            ## a million hostile inputs for every reader of bytes from outside
	$(BIN)/python -m tests.fuzz --inputs $${INPUTS:-1000000}

year: $(STAMP)            ## a year of daily syncs of 116 resources, with faults: the tree is the truth, and what it cost
	$(BIN)/pytest -m slow tests/test_year.py -s

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

messages: $(STAMP)        ## what is said in the source goes into the catalogues; translate what is new in the .po, and run it again
	$(BIN)/python -m packing.messages

bench: $(STAMP)           ## measurements against real peers: nginx, curl, aria2, openssl
	$(BIN)/python -m bench

lock: $(STAMP)            ## pin what the tests run with
	$(BIN)/pip freeze --exclude-editable --exclude inspire-mirror | LC_ALL=C sort -f > requirements-test.lock

wheels: $(BUILD)/wheels/.made   ## fetch and build what `make install` installs; the only step of it that needs a network

install: $(BUILD)/wheels/.made  ## install below PREFIX
	$(PYTHON) -B -m packing.install install $(PLACES) --wheels $(BUILD)/wheels --tools $(BUILD)/tools $(INSTALL_OPTIONS)

uninstall:                      ## remove exactly that; config and mirror are kept
	$(PYTHON) -B -m packing.install uninstall $(PLACES)

deb:                            ## a Debian package, in build/
	rm -rf build/deb
	$(MAKE) install PYTHON=/usr/bin/python3 DESTDIR=build/deb PREFIX=/usr SYSCONFDIR=/etc ZSHDIR=/usr/share/zsh/vendor-completions \
		INSTALL_OPTIONS=--no-compile
	rm -f build/inspire-mirror_*.deb
	/usr/bin/python3 packing/deb.py build/deb build

$(BUILD)/tools/.made:
	$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed; name one with: make PYTHON=python3.11") if sys.version_info < (3, 11) else None'
	$(PYTHON) -m venv --clear $(BUILD)/tools
	touch $(BUILD)/tools/.made

# What others have made changes rarely, and is not fetched again for a change of ours.
$(BUILD)/wheels/.made: $(BUILD)/needed/.made $(shell find mirror -name '*.py' -o -name '*.mo')
	rm -rf $(BUILD)/wheels
	$(BUILD)/tools/bin/python -m pip wheel $(PIP_QUIET) --no-deps --wheel-dir $(BUILD)/wheels .
	ln $(BUILD)/needed/*.whl $(BUILD)/wheels
	touch $@

$(BUILD)/needed/.made: $(BUILD)/tools/.made pyproject.toml requirements-test.lock
	rm -rf $(BUILD)/needed
	$(BUILD)/tools/bin/python -m pip wheel $(PIP_QUIET) --constraint requirements-test.lock --wheel-dir $(BUILD)/needed .
	rm $(BUILD)/needed/inspire_mirror-*.whl
	touch $@

$(STAMP): pyproject.toml requirements-test.lock
	$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed; name one with: make PYTHON=python3.11") if sys.version_info < (3, 11) else None'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --requirement requirements-test.lock --editable .
	touch $@

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache inspire-mirror-demo build
