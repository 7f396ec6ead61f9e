# SPDX-License-Identifier: BSD-3-Clause
#
# A thin door to meson: each target can be the first command ever typed on a fresh Debian 12 as
# root (git and make are there). What a target needs is in .ci/packages.txt.

BUILD ?= build
# true: a warning ends the build
WERROR ?= false
# seconds for each fuzz target
FUZZ_SECONDS ?= 60
# seconds of churn for each kind of mapping, and seeds of the differential tester, in `make soak`
SOAK_SECONDS ?= 60
SOAK_SEEDS ?= 5000
# 1: `make bench` measures less, and for a shorter time
QUICK ?= 0
# more options for `meson setup`
MESON_ARGS ?=

MAKEFLAGS += --no-print-directory
configure = $(if $(wildcard $(1)/build.ninja),meson configure $(1) -Dwerror=$(WERROR) $(2),\
	meson setup $(1) -Dwerror=$(WERROR) $(2) $(MESON_ARGS))
release = $(call configure,$(BUILD),-Dtests=$(1) -Dbench=$(1))

.PHONY: help deps build run demo test sanitize soak bench fuzz lint format install clean

help:  ## this list
	@sed -n 's/^\([a-z]*\):.*## /  make \1\t/p' $(MAKEFILE_LIST) | expand -t 18

deps:  ## install every Debian package that any target needs
	@.ci/deps build test fuzz lint

build:  ## compile the programs into build/
	@.ci/deps build
	@$(if $(wildcard $(BUILD)/build.ninja),true,$(call release,auto))
	@ninja -C $(BUILD)

run: build  ## ten seconds of SYN flood against a full table, on embedded ports
	$(BUILD)/dataplane/flood/sluice-flood $(ARGS)

demo:  ## a NAT gateway between two network namespaces, with a real client and server
	@.ci/deps build test
	@$(call release,enabled) >/dev/null
	@ninja -C $(BUILD)
	@tests/e2e/demo --build $(BUILD)

test:  ## every test, also under sanitizers; ends with the count
	@.ci/deps build test
	@tests/run.py --build $(BUILD) --werror $(WERROR)

sanitize:  ## the sanitizer part of `make test` alone
	@.ci/deps build test
	@tests/run.py --build $(BUILD) --werror $(WERROR) --only asan --only tsan

soak:  ## a million mappings under churn, and thousands of seeds against the kernel (15 minutes)
	@.ci/deps build test
	@$(call release,enabled) >/dev/null
	@ninja -C $(BUILD) tests/nat/nat_churn
	$(BUILD)/tests/nat/nat_churn --independent --mappings 1000000 --addresses 16 --seconds $(SOAK_SECONDS)
	$(BUILD)/tests/nat/nat_churn --dependent --mappings 1000000 --addresses 16 --seconds $(SOAK_SECONDS)
	tests/differential/run --build $(BUILD) --seeds $(SOAK_SEEDS)

bench:  ## measure, and write build/report/index.html (QUICK=1: in less than five minutes)
	@.ci/deps build test
	@$(call release,enabled) >/dev/null
	@ninja -C $(BUILD)
	@python3 bench/report.py --build $(BUILD) $(if $(filter-out 0,$(QUICK)),--quick)

fuzz:  ## every libFuzzer target for FUZZ_SECONDS
	@.ci/deps build test fuzz
	@tests/fuzz/run --build $(BUILD)-fuzz --seconds $(FUZZ_SECONDS)

lint:  ## format, names, spelling, licences, layers
	@.ci/deps build test lint
	@$(call release,enabled) >/dev/null
	@tests/lint/run --build $(BUILD)

format:  ## let clang-format rewrite the sources
	@.ci/deps lint
	@git ls-files -co --exclude-standard '*.cpp' '*.hpp' | xargs clang-format-14 -i

install: build  ## install programs and manual pages (PREFIX and DESTDIR as with meson)
	meson install -C $(BUILD) --no-rebuild

clean:  ## remove what was built
	rm -rf $(BUILD) $(BUILD)-asan $(BUILD)-tsan $(BUILD)-fuzz
