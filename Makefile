# Roost. Users need two targets: `make run` and `make test`. `make help` lists the others.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := all

VERSION  := 0.1.0
REVISION := $(shell git rev-parse --short HEAD 2>/dev/null || echo unknown)

# SAN=address,undefined builds and tests under those sanitizers, in a build folder of its own.
SAN     ?=
FLAVOUR := $(if $(SAN),san-$(subst $(comma),-,$(SAN)),release)
comma   := ,
BUILD   ?= build/$(FLAVOUR)

CC       ?= cc
WARN     := -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wconversion -Werror
OPT      ?= -O2
CPPFLAGS += -Iinclude -D_GNU_SOURCE -DROOST_VERSION='"$(VERSION)"' -DROOST_REVISION='"$(REVISION)"'
CFLAGS   += -std=c11 $(OPT) -g $(WARN) -fno-strict-aliasing -fstack-protector-strong $(SANFLAGS)
SANFLAGS := $(if $(SAN),-fsanitize=$(SAN) -fno-sanitize-recover=all -fno-omit-frame-pointer)
LDFLAGS  += $(SANFLAGS) -Wl,-z,relro,-z,now
LDLIBS   += -lev -lwslay -lssl -lcrypto -lyaml -lm

LAYERS   := base codec core net proto proc
SRCS     := $(wildcard $(LAYERS:%=src/%/*.c))
OBJS     := $(SRCS:src/%.c=$(BUILD)/src/%.o)
LIB      := $(BUILD)/libroost.a
PROGRAMS := $(patsubst cmd/%,%,$(wildcard cmd/*))
BINS     := $(PROGRAMS:%=$(BUILD)/%)

UNITS    := $(wildcard tests/unit/*/test_*.c)
UNITBINS := $(UNITS:tests/%.c=$(BUILD)/tests/%)
TESTLIB  := $(patsubst tests/lib/%.c,$(BUILD)/tests/lib/%.o,$(wildcard tests/lib/*.c))
WRAP     := -Wl,--wrap=malloc,--wrap=calloc,--wrap=realloc

.PHONY: all
all: $(BINS) ## build the programs

$(BUILD)/src/%.o: src/%.c
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS) $(CFLAGS) -MMD -MP -c -o $@ $<

$(BUILD)/cmd/%.o: cmd/%.c
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS) $(CFLAGS) -MMD -MP -c -o $@ $<

$(LIB): $(OBJS)
	@rm -f $@
	$(AR) rcs $@ $^

define program
$(BUILD)/$(1): $(patsubst cmd/%.c,$(BUILD)/cmd/%.o,$(wildcard cmd/$(1)/*.c)) $(LIB)
	$$(CC) $$(LDFLAGS) -o $$@ $$^ $$(LDLIBS)
endef
$(foreach p,$(PROGRAMS),$(eval $(call program,$(p))))

# A unit test includes the .c it tests; everything else comes from the library.
$(BUILD)/tests/lib/%.o: tests/lib/%.c
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS) -Itests/lib $(CFLAGS) -MMD -MP -c -o $@ $<

$(BUILD)/tests/%: tests/%.c $(TESTLIB) $(LIB)
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS) -Itests/lib -Isrc -I. $(CFLAGS) -MMD -MP -MF $@.d -o $@ $< $(TESTLIB) $(LDFLAGS) $(WRAP) $(LIB) -lcmocka $(LDLIBS)

.PHONY: units
units: $(UNITBINS)
	@for t in $(UNITBINS); do $$t; done

.PHONY: clean
clean:
	rm -rf build

-include $(OBJS:.o=.d) $(UNITBINS:%=%.d)
