# Sexton. 'make help' lists what there is to do.
VERSION := 0.1.0
BUILD   ?= build
CC      ?= gcc
ifeq ($(origin CC),default)
CC := gcc
endif
PREFIX  ?= /usr/local
DESTDIR ?=

# Debian 12's names. Build: what the program needs; check: what its tests and checks need besides.
PACKAGES_BUILD := gcc libc6-dev pkg-config libcurl4-openssl-dev libssl-dev libjansson-dev libev-dev libinih-dev \
	libsqlite3-dev libyaml-dev uthash-dev libmicrohttpd-dev
PACKAGES_CHECK := shellcheck check clang clang-tidy clang-format cppcheck libclang-rt-14-dev openssl curl jq sqlite3
# For the manifests; any kubectl will do.
PACKAGES_CHECK += $(if $(shell command -v kubectl),,kubernetes-client)
PACKAGES_E2E   := $(PACKAGES_CHECK) ca-certificates xz-utils dpkg-dev procps
PACKAGES_BENCH := valgrind
# yq is what turns YAML into JSON. Prometheus is unpacked, not installed: tests/monitoring/assets
PACKAGES_MONITORING := curl jq yq
PACKAGES_IMAGE := buildah crun mmdebstrap debian-archive-keyring ca-certificates iproute2 jq openssl

WARNINGS := -Wall -Wextra -Werror -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wwrite-strings -Wformat=2
CFLAGS   ?= -O2 -g
ALL_CFLAGS := -std=gnu17 -D_GNU_SOURCE -DSEXTON_VERSION='"$(VERSION)"' $(WARNINGS) -pthread -Iinclude $(CFLAGS) $(EXTRA_CFLAGS)
LIBS     := -lcurl -ljansson -lev -linih -lsqlite3 -lyaml -lmicrohttpd -lcrypto -lpthread
SIM_LIBS := -lmicrohttpd -ljansson -lpthread

SOURCES  := $(sort $(wildcard controller/*/*.c))
OBJECTS  := $(SOURCES:%.c=$(BUILD)/%.o)
SIM      := $(sort $(wildcard tests/kubesim/sim_*.c))
PROTOBUF := tests/protobuf/schema.c tests/protobuf/encode.c tests/protobuf/decode.c
TELL     := tests/protobuf/tell.c
UNIT     := $(sort $(wildcard tests/unit/*.c))
SCENARIOS := $(sort $(wildcard tests/scenarios/*.c))
SIMULATION := $(sort $(wildcard tests/sim/*.c))
INTEGRATION := $(sort $(wildcard tests/integration/*.c))
SHIMS    := $(patsubst tests/shims/%.c,$(BUILD)/shim-%.so,$(sort $(wildcard tests/shims/*.c)))
FUZZ     := $(patsubst tests/fuzz/fuzz_%.c,%,$(sort $(wildcard tests/fuzz/fuzz_*.c)))
ALL_C    := $(shell find controller include tests -name '*.[ch]' 2>/dev/null)

.DEFAULT_GOAL := all
.DELETE_ON_ERROR:
.PHONY: FORCE all help demo run check check-variant check-corpora lint coverage e2e soak torture bench bench-tools bench-micro bench-profile fuzz sim mutants format install uninstall clean \
	release image image-base check-image check-monitoring packages-build packages-check packages-bench packages-e2e packages-image packages-monitoring

help: ## list the targets
	@grep -hE '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z0-9-]+):.*## (.*)/\1\t\2/' | \
		while IFS="$$(printf '\t')" read -r name text; do printf '  %-16s %s\n' "$$name" "$$text"; done

all: packages-build $(BUILD)/sexton ## build build/sexton

# $(1): the packages. As root on Debian they are installed, elsewhere they are listed.
define need_packages
@missing=; for p in $(1); do \
	dpkg-query -W -f '$${Status}' $$p 2>/dev/null | grep -q 'ok installed' || missing="$$missing $$p"; done; \
if [ -n "$$missing" ]; then \
	if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
		echo "make: installing missing packages with apt-get:$$missing"; \
		{ apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -yq --no-install-recommends $$missing; } \
			>/dev/null </dev/null || { echo "make: apt-get could not install:$$missing" >&2; exit 1; }; \
	else \
		echo "make: these packages are missing (names as in Debian 12):$$missing" >&2; \
		echo "make: as root, 'make' installs them with apt-get; elsewhere, install them and run make again" >&2; exit 1; \
	fi; \
fi
endef

packages-build:
	$(call need_packages,$(PACKAGES_BUILD))
packages-check:
	$(call need_packages,$(PACKAGES_BUILD) $(PACKAGES_CHECK))
packages-bench:
	$(call need_packages,$(PACKAGES_BUILD) $(PACKAGES_BENCH))
packages-e2e:
	$(call need_packages,$(PACKAGES_BUILD) $(PACKAGES_E2E))
packages-monitoring:
	$(call need_packages,$(PACKAGES_BUILD) $(PACKAGES_MONITORING))
packages-image:
	$(call need_packages,$(PACKAGES_IMAGE))

# The flags a tree was built with: when they change, everything is built again.
FLAGS_NOW := $(CC) $(ALL_CFLAGS) $(EXTRA_LDFLAGS)
$(BUILD)/flags: FORCE
	@mkdir -p $(@D)
	@printf '%s\n' '$(subst ','\'',$(FLAGS_NOW))' | cmp -s - $@ || printf '%s\n' '$(subst ','\'',$(FLAGS_NOW))' >$@
FORCE:

$(BUILD)/%.o: %.c $(BUILD)/flags | packages-build
	@mkdir -p $(@D)
	$(CC) $(ALL_CFLAGS) -MMD -MP -c $< -o $@

$(BUILD)/sexton: $(BUILD)/controller/main.o $(OBJECTS)
	$(CC) $(ALL_CFLAGS) $^ $(EXTRA_LDFLAGS) $(LIBS) -o $@

$(BUILD)/kubesim: $(SIM:%.c=$(BUILD)/%.o) $(PROTOBUF:%.c=$(BUILD)/%.o)
	$(CC) $(ALL_CFLAGS) $^ $(EXTRA_LDFLAGS) $(SIM_LIBS) -o $@

# JSON as a real API server's protobuf.
$(BUILD)/proto-encode: $(BUILD)/tests/protobuf/convert.o $(PROTOBUF:%.c=$(BUILD)/%.o)
	$(CC) $(ALL_CFLAGS) $^ $(EXTRA_LDFLAGS) -ljansson -o $@

$(BUILD)/unit: $(UNIT:%.c=$(BUILD)/%.o) $(PROTOBUF:%.c=$(BUILD)/%.o) $(TELL:%.c=$(BUILD)/%.o) $(OBJECTS)
	$(CC) $(ALL_CFLAGS) $^ $(EXTRA_LDFLAGS) $(LIBS) -lssl $$(pkg-config --libs check) -o $@

# The network and the loop are replaced at link time.
SCENARIO_FAKES := controller/base/loop.o controller/kube/http.o controller/history/writer.o
$(BUILD)/scenarios: $(SCENARIOS:%.c=$(BUILD)/%.o) $(PROTOBUF:%.c=$(BUILD)/%.o) $(filter-out $(SCENARIO_FAKES:%=$(BUILD)/%),$(OBJECTS))
	$(CC) $(ALL_CFLAGS) $^ $(EXTRA_LDFLAGS) $(filter-out -lev -lcurl,$(LIBS)) $$(pkg-config --libs check) -o $@

# The malloc family is replaced at link time, for all libraries. Not with clang's sanitizers, which are linked in.
$(BUILD)/tests/torture/alloc.o: ALL_CFLAGS += $(if $(findstring fsanitize,$(CFLAGS)),-fno-sanitize=all -DALLOC_ASAN)
$(BUILD)/torture-scenarios: $(BUILD)/tests/torture/scenarios.o $(BUILD)/tests/torture/alloc.o \
		$(filter-out %/main.o,$(SCENARIOS:%.c=$(BUILD)/%.o)) $(PROTOBUF:%.c=$(BUILD)/%.o) \
		$(filter-out $(SCENARIO_FAKES:%=$(BUILD)/%),$(OBJECTS))
	$(CC) $(ALL_CFLAGS) -rdynamic $^ $(EXTRA_LDFLAGS) $(filter-out -lev -lcurl,$(LIBS)) $$(pkg-config --libs check) -o $@

$(BUILD)/torture: $(BUILD)/tests/torture/main.o $(BUILD)/tests/torture/paths.o $(BUILD)/tests/torture/alloc.o $(TELL:%.c=$(BUILD)/%.o) $(OBJECTS)
	$(CC) $(ALL_CFLAGS) -rdynamic $^ $(EXTRA_LDFLAGS) $(LIBS) -o $@

# The same three, but for machines of which there are several.
$(BUILD)/sim: $(SIMULATION:%.c=$(BUILD)/%.o) $(PROTOBUF:%.c=$(BUILD)/%.o) $(filter-out $(SCENARIO_FAKES:%=$(BUILD)/%),$(OBJECTS))
	$(CC) $(ALL_CFLAGS) $^ $(EXTRA_LDFLAGS) $(filter-out -lev -lcurl,$(LIBS)) -o $@

$(BUILD)/integration: $(INTEGRATION:%.c=$(BUILD)/%.o) $(PROTOBUF:%.c=$(BUILD)/%.o) $(OBJECTS)
	$(CC) $(ALL_CFLAGS) $^ $(EXTRA_LDFLAGS) $(LIBS) $$(pkg-config --libs check) -o $@

# Preloaded by tests. Never with a sanitizer of its own: it comes before theirs.
$(BUILD)/shim-%.so: tests/shims/%.c tests/shims/clock.h | packages-build
	@mkdir -p $(@D)
	$(CC) -std=gnu17 -D_GNU_SOURCE $(WARNINGS) -O2 -g -fPIC -shared $< -o $@

$(BUILD)/replay-%: $(BUILD)/tests/fuzz/fuzz_%.o $(BUILD)/tests/fuzz/replay.o $(TELL:%.c=$(BUILD)/%.o) $(OBJECTS)
	$(CC) $(ALL_CFLAGS) $^ $(EXTRA_LDFLAGS) $(LIBS) -o $@

$(BUILD)/fuzz-%: $(BUILD)/tests/fuzz/fuzz_%.o $(TELL:%.c=$(BUILD)/%.o) $(OBJECTS)
	$(CC) $(ALL_CFLAGS) -fsanitize=fuzzer $^ $(EXTRA_LDFLAGS) $(LIBS) -o $@

demo: packages-build ## build, and show the main job on a simulated cluster
	@$(MAKE) --no-print-directory -s -j$$(nproc) $(BUILD)/sexton $(BUILD)/kubesim
	@tests/demo $(BUILD)

DRY_RUN ?= 1
run: all ## run the controller against the cluster of KUBECONFIG; deletes nothing unless DRY_RUN=0
	$(BUILD)/sexton run $(if $(filter 0,$(DRY_RUN)),--store sqlite:$(BUILD)/history.db,--dry-run)

# --- the image ---

# As the image has it. Two builds of the same sources with the same compiler are the same file, wherever they are built.
RELEASE_CFLAGS  := -O2 -D_FORTIFY_SOURCE=2 -fstack-protector-strong -fstack-clash-protection -ffile-prefix-map=$(CURDIR)=.
RELEASE_LDFLAGS := -s -pie -Wl,-z,relro,-z,now,--as-needed,--build-id=sha1
release: packages-build ## build build/release/sexton, hardened, stripped and reproducible
	@$(MAKE) --no-print-directory BUILD=$(BUILD)/release CFLAGS='$(RELEASE_CFLAGS)' EXTRA_LDFLAGS='$(RELEASE_LDFLAGS)' \
		$(BUILD)/release/sexton

IMAGE     ?= sexton:$(VERSION)
IMAGE_TAR ?=
BASE      ?=
image: ## build the image IMAGE=sexton:VERSION with buildah, podman or docker; BASE=Debian 12, IMAGE_TAR=FILE for an archive of it
	@VERSION=$(VERSION) manifests/build-image '$(IMAGE)' '$(BASE)' '$(IMAGE_TAR)'

BASE_TAR ?= $(BUILD)/base.tar
image-base: packages-image ## BASE_TAR=build/base.tar: Debian 12 by mmdebstrap, for 'make image BASE=' where no registry can be reached
	@manifests/build-base $(BASE_TAR)

check-image: packages-image packages-build ## build the image twice, compare, and run it; as root
	@$(MAKE) --no-print-directory -s -j$$(nproc) $(BUILD)/kubesim
	@tests/image "$(MAKE)"

# --- checks ---

check-monitoring: packages-monitoring ## alerts and dashboard of manifests/overlays/monitoring, with a real Prometheus
	@$(MAKE) --no-print-directory -s -j$$(nproc) $(BUILD)/sexton $(BUILD)/kubesim
	@SEXTON_BIN=$(BUILD)/sexton KUBESIM_BIN=$(BUILD)/kubesim tests/monitoring/run

SANITIZE := -O1 -g -fno-omit-frame-pointer -fsanitize=address,undefined -fno-sanitize-recover=all

check: packages-check ## build with gcc and clang, lint, and pass the tests
	@tests/check "$(MAKE)"

# What one tree of objects is tested with.
check-variant: $(BUILD)/sexton $(BUILD)/kubesim $(SHIMS) $(BUILD)/unit $(if $(SCENARIOS),$(BUILD)/scenarios) \
		$(if $(INTEGRATION),$(BUILD)/integration) $(FUZZ:%=$(BUILD)/replay-%)

check-corpora: $(FUZZ:%=$(BUILD)/replay-%)

lint: packages-check ## clang-tidy, cppcheck, layering, clang-format
	@tests/lint

coverage: packages-check ## line coverage of controller/, from the tests of 'make check'
	@tests/coverage build/coverage

$(BUILD)/e2e-proxy: $(BUILD)/tests/e2e/proxy.o
	$(CC) $(ALL_CFLAGS) $^ $(EXTRA_LDFLAGS) -o $@

e2e: packages-e2e all $(BUILD)/e2e-proxy $(BUILD)/proto-encode $(BUILD)/shim-clock.so ## tests on a real kube-apiserver and etcd
	tests/e2e/run

soak: packages-check ## what takes minutes: 100,000 Jobs, silent peers and failing requests by the clock on the wall
	@$(MAKE) --no-print-directory -s -j$$(nproc) $(BUILD)/sexton $(BUILD)/kubesim $(SHIMS) $(BUILD)/integration
	SEXTON_BIN=$(BUILD)/sexton KUBESIM_BIN=$(BUILD)/kubesim $(BUILD)/integration soak soak-minutes soak-bounds

$(BUILD)/bench-client: $(BUILD)/tests/bench/client.o
	$(CC) $(ALL_CFLAGS) $^ $(EXTRA_LDFLAGS) -lssl -lcrypto -o $@

$(BUILD)/micro: $(BUILD)/tests/bench/micro.o $(PROTOBUF:%.c=$(BUILD)/%.o) $(OBJECTS)
	$(CC) $(ALL_CFLAGS) $^ $(EXTRA_LDFLAGS) $(LIBS) -o $@

# What the benchmarks consist of. They are to be built before anything is measured.
bench-tools: $(BUILD)/sexton $(BUILD)/kubesim $(BUILD)/e2e-proxy $(BUILD)/bench-client $(BUILD)/micro $(BUILD)/unit

BENCH ?=
bench: packages-e2e packages-bench all ## measurements on a real kube-apiserver and etcd, beside others, and build/bench.json; BENCH=--quick takes five minutes instead of twenty
	@$(MAKE) --no-print-directory -s -j$$(nproc) bench-tools
	@tests/bench/run --json $(BUILD)/bench.json $(BENCH)

bench-micro: packages-check packages-bench ## each part by itself: how much a second, and how many instructions, compared with the last ones
	@$(MAKE) --no-print-directory -s -j$$(nproc) $(BUILD)/micro
	@tests/bench/micro $(BUILD)/micro

bench-profile: packages-check packages-bench ## where the instructions of a list and of a drain go
	@$(MAKE) --no-print-directory -s -j$$(nproc) bench-tools
	@tests/bench/profile

S ?= 2000
torture: packages-check ## fail the allocations of each path and scenario one by one: all, where there are not many more than S=2000
	@$(MAKE) --no-print-directory -s -j$$(nproc) $(BUILD)/torture $(BUILD)/torture-scenarios $(BUILD)/kubesim
	$(BUILD)/torture -s $(S)
	KUBESIM_BIN=$(BUILD)/kubesim $(BUILD)/torture -s 100 'online *'
	$(BUILD)/torture-scenarios -s $(S)

SEEDS ?= 1000
SEED  ?= $$(date +%s)000
sim: packages-check ## the simulation: SEEDS=1000 worlds of 2,000 steps, from SEED on
	@$(MAKE) --no-print-directory -s -j$$(nproc) $(BUILD)/sim
	@$(BUILD)/sim --seed $(SEED) --seeds $(SEEDS)

mutants: packages-check ## break the product on purpose, line by line, and see the simulation notice
	@tests/sim/mutate "$(MAKE)"

T ?= 30
fuzz: packages-check ## run each fuzz target for T=30 seconds
	@$(MAKE) --no-print-directory -s -j$$(nproc) BUILD=build/fuzz CC=clang CFLAGS="$(SANITIZE) -fsanitize=fuzzer-no-link" \
		$(FUZZ:%=build/fuzz/fuzz-%)
	@for f in $(FUZZ); do echo "fuzz $$f:"; mkdir -p build/fuzz/found/$$f; \
		build/fuzz/fuzz-$$f -max_total_time=$(T) -timeout=10 -rss_limit_mb=1024 -print_final_stats=1 -verbosity=0 \
			-artifact_prefix=build/fuzz/found/$$f/ build/fuzz/found/$$f tests/fuzz/corpus/$$f 2>&1 | \
			grep -E 'stat::number_of_executed|ERROR|SUMMARY|artifact' ; \
		ls build/fuzz/found/$$f | grep -E '^(crash|leak|timeout|oom)-' && exit 1 || true; done

format: packages-check ## clang-format everything
	clang-format -i $(ALL_C)

install: all ## install below PREFIX (/usr/local) and DESTDIR
	install -D -m 755 $(BUILD)/sexton $(DESTDIR)$(PREFIX)/bin/sexton
	ln -sf sexton $(DESTDIR)$(PREFIX)/bin/kubectl-sexton
	install -D -m 644 manifests/sexton.1 $(DESTDIR)$(PREFIX)/share/man/man1/sexton.1

uninstall: ## take away what install put there
	rm -f $(DESTDIR)$(PREFIX)/bin/sexton $(DESTDIR)$(PREFIX)/bin/kubectl-sexton $(DESTDIR)$(PREFIX)/share/man/man1/sexton.1

clean: ## remove what was built
	rm -rf build

-include $(shell find $(BUILD)/controller $(BUILD)/tests -name '*.d' 2>/dev/null)
