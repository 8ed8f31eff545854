# make demo, make check and make test are for everybody; see CONTRIBUTING.md for the rest.
GO ?= go

MODULE = github.com/raidpi/raidpi

# The release that the sources lead to. A tag vX.Y.Z is version X.Y.Z, and vX.Y.Z-rcN
# is X.Y.Z~rcN; all else is named after its commit, and sorts before the release for dpkg.
NEXT = 0.1.0
ifndef VERSION
VERSION := $(shell ./packaging/version $(NEXT))
ifeq ($(VERSION),)
$(error these sources have no version: see above, or set VERSION)
endif
endif
# The moment of the sources, for files that are dated, and its day: no clock that
# says an earlier one is right.
ifndef SOURCE_DATE_EPOCH
SOURCE_DATE_EPOCH := $(shell git log -1 --format=%ct 2>/dev/null || date -r CHANGELOG.md +%s)
endif
BUILT ?= $(shell date -u -d @$(SOURCE_DATE_EPOCH) +%Y-%m-%d)
# -buildvcs=false: a checkout that belongs to another user, as in a container,
# builds too; VERSION says what was built.
BUILD = CGO_ENABLED=0 $(GO) build -trimpath -buildvcs=false -ldflags "-s -w -buildid= -X main.version=$(VERSION) -X main.built=$(BUILT)"

# Where the size of an int or the alignment of a word can matter.
WORDS = ./internal/catalog/... ./internal/raid ./internal/budget ./internal/zmtp ./internal/wire/... \
	./internal/chunkstore/... ./internal/stripe \
	./internal/placement ./internal/object/... ./internal/config ./internal/identity ./internal/reconcile

.PHONY: simulate build e2e e2e-idle e2e-packages deb package-files apt-repo dist release-check demo test test-setup test-system test-32 test-arm lint bench fuzz proto clean help

help:
	@echo "make demo    start an array, kill a node, read a file back (ONCE=1: then end; PORT=9001;"
	@echo "             GRACE=10s: what a dead node held is made again so soon)"
	@echo "make check   vet, and the tests that take little, in a minute"
	@echo "make test    that, 50 seeds of make simulate, and all that needs neither root nor other programs, in five"
	@echo "make test-system every test with the race detector, those too that need root, mounts and Debian's programs; installs these"
	@echo "make test-32 what depends on the size of a word, as 32-bit code; make test-arm: all builds for the first Raspberry Pi"
	@echo "make e2e-arm boot emulated machines with the packages on them, as root"
	@echo "make build   the three programs, into bin/"
	@echo "make deb     Debian packages, into dist/ (ARCHS=\"amd64 arm64 armhf\"; VERSION=1.2.3)"
	@echo "make apt-repo a signed repository of these, dist/apt (KEY=fingerprint of the key)"
	@echo "make dist    packages, raidctl for laptops, lists of modules and checksums, into dist/"
	@echo "make e2e     hosts with systemd that install these and store files while all goes wrong; as root, with cgroup v1 (ROUNDS=2)"
	@echo "make e2e-idle ten minutes of an idle array on such hosts"
	@echo "make lint    gofmt, go vet, staticcheck"
	@echo "make simulate an array in one process and a time of its own, broken in ways that a seed decides (SEEDS=1000; SEED=17: that one, with its log)"
	@echo "make bench   measure the array on this machine (QUICK=1: a short round)"
	@echo "make fuzz    every fuzzer for a while (FUZZTIME=3s)"
	@echo "make proto   generate the Protobuf code anew"

build:
	@mkdir -p bin
	$(BUILD) -o bin/ ./cmd/raid-controller ./cmd/raid-node ./cmd/raidctl

.PHONY: version
version:
	@echo "$(VERSION)"

# Debian packages, into DIST. What is in them says .goreleaser.yaml.
DIST ?= dist
ARCHS ?= amd64 arm64 armhf
PACKAGING = CGO_ENABLED=0 $(GO) run -trimpath -buildvcs=false ./packaging -version "$(VERSION)" -epoch "$(SOURCE_DATE_EPOCH)" -dist "$(DIST)"

deb: package-files $(ARCHS:%=programs-%)
	@$(PACKAGING) -archs "$(ARCHS)"

# What the packages of all architectures share: man pages and completions, which are
# taken from the programs, changelogs, and licences.
package-files:
	@mkdir -p $(DIST)/build/host && rm -rf $(DIST)/build/share
	@$(BUILD) -o $(DIST)/build/host/ ./cmd/raid-controller ./cmd/raid-node
	@CGO_ENABLED=0 SOURCE_DATE_EPOCH="$(SOURCE_DATE_EPOCH)" $(GO) run -trimpath -buildvcs=false ./packaging/manual \
		-bin $(DIST)/build/host -out $(DIST)/build/share -version "$(VERSION)"
	@$(PACKAGING) -share

# What is missing is built before; what changed since a commit is built anew. Asked for
# together with deb it waits for that, also with -j.
DEBS = $(foreach a,$(ARCHS),$(foreach p,raid-controller raid-node raidctl,$(DIST)/$(p)_$(VERSION)-1_$(a).deb))
apt-repo: | $(filter deb,$(MAKECMDGOALS))
	@missing="$(if $(findstring .dirty,$(VERSION)),yes)"; for deb in $(DEBS); do [ -e "$$deb" ] || missing=yes; done; \
	[ -z "$$missing" ] || $(MAKE) --no-print-directory deb VERSION="$(VERSION)"
	@GO="$(GO)" DIST="$(DIST)" VERSION="$(VERSION)" EPOCH="$(SOURCE_DATE_EPOCH)" ARCHS="$(ARCHS)" KEY="$(KEY)" NEXT_KEY="$(NEXT_KEY)" OTHERS="$(OTHERS)" ./packaging/apt-repo

# Everything that a release has. KEY signs the checksums.
LAPTOPS = linux_amd64 linux_arm64 linux_arm6 darwin_amd64 darwin_arm64 windows_amd64
dist: deb $(LAPTOPS:%=laptop-%)
	@rm -f "$(DIST)/checksums.txt.asc" # of other checksums
	@CGO_ENABLED=0 $(GO) run -trimpath -buildvcs=false ./packaging/release -version "$(VERSION)" -epoch "$(SOURCE_DATE_EPOCH)" -dist "$(DIST)"
	$(if $(KEY),gpg --batch --yes --local-user "$(KEY)" --digest-algo SHA512 --armor --output "$(DIST)/checksums.txt.asc" --detach-sign "$(DIST)/checksums.txt")

laptop-%:
	@mkdir -p "$(DIST)/build/$*"
	GOOS=$(word 1,$(subst _, ,$*)) GOARCH=$(patsubst arm6,arm,$(word 2,$(subst _, ,$*))) GOARM=6 GOAMD64=v1 GOARM64=v8.0 $(BUILD) -o "$(DIST)/build/$*/" ./cmd/raidctl

# Needs unzip; see packaging/release-check.
release-check:
	@GO="$(GO)" ./packaging/release-check

# armhf is for the first Raspberry Pi and the Zero too: ARM version 6.
programs-amd64: GOENV = GOARCH=amd64 GOAMD64=v1
programs-arm64: GOENV = GOARCH=arm64 GOARM64=v8.0
programs-armhf: GOENV = GOARCH=arm GOARM=6
programs-%:
	@$(if $(GOENV),,echo "ARCHS: $* is none of amd64, arm64, armhf" >&2; exit 1)
	@mkdir -p $(DIST)/build/$*
	GOOS=linux $(GOENV) $(BUILD) -o $(DIST)/build/$*/ ./cmd/raid-controller ./cmd/raid-node ./cmd/raidctl

PORT ?= 9000
demo: build
	@CGO_ENABLED=0 $(GO) build -trimpath -buildvcs=false -o bin/demo ./test/demo
	@exec bin/demo -port $(PORT) $(if $(GRACE),-grace $(GRACE)) $(if $(filter 1,$(ONCE)),-once)

bench: build
	@CGO_ENABLED=0 $(GO) build -trimpath -buildvcs=false -o bin/bench ./test/bench
	@exec bin/bench $(if $(filter 1,$(QUICK)),-quick) $(if $(ONLY),-only '$(ONLY)')

# As many processes at once as there are processors, of one each, with a Go runtime that
# leaves nothing to chance: so a seed replays.
SEEDS ?= 1000
simulate:
	@mkdir -p bin
	@if $(GO) run -buildvcs=false ./test/sim/determined -go $(GO) -dir bin/_determined; \
	then set -- -tags determined -overlay bin/_determined/overlay.json; \
	else echo "Without that, seeds replay now and then."; set --; fi; \
	CGO_ENABLED=0 $(GO) test -c -vet=off "$$@" -o bin/sim ./test/sim
	@bin/sim -test.run '^TestSimulation$$' -test.timeout 0 $(if $(SEED),-first $(SEED) -seeds 1 -log info,-seeds $(SEEDS) -twice 10) -jobs $$(nproc)

# Tests are compiled as a plain go test compiles them, and share its cache. What needs
# root, other programs or a certain kernel has the build tag system.

# What start no programs and wait for little. An earlier result of the same code is
# taken; all others run anew, since go test does not know of programs that they start.
LONG = ./internal/catalog ./internal/chunkstore ./internal/controller ./internal/httpapi ./internal/httpserver ./internal/mdns ./internal/node \
	./internal/raidctl ./internal/repair ./internal/wire ./internal/zmtp \
	./cmd/... ./packaging/... ./test/...
.PHONY: check
check:
	$(GO) vet ./...
	$(GO) test $(filter-out $(shell $(GO) list $(LONG)),$(shell $(GO) list -f '{{if or .TestGoFiles .XTestGoFiles}}{{.ImportPath}}{{end}}' ./...))

# The long packages go first, so that none runs alone in the end, and one more at a time
# than there are processors, for most wait more than they compute. What needs no debugger
# is linked without its tables.
TEST = $(GO) test -count=1 -p $$(($$(nproc) + 1)) -vet=off -ldflags=-w -timeout 20m
# SYSTEM=1 adds what test-system does, which runs all of that with the race detector.
test: check
	$(MAKE) --no-print-directory simulate SEEDS=$(if $(filter file,$(origin SEEDS)),50,$(SEEDS))
	$(if $(filter 1,$(SYSTEM)),$(MAKE) --no-print-directory test-system,$(TEST) -parallel 4 ./test/e2e ./internal/controller $(LONG))

# A program with the race detector waits a second before it exits, for races that are
# just being reported; a twentieth will do where daemons are ended hundreds of times.
# SQLite's own code is C in another shape, and is ten times slower with the detector.
RACE = -race -tags system "-gcflags=modernc.org/sqlite/lib=-race=false"
test-system: test-setup
	CGO_ENABLED=1 GORACE=atexit_sleep_ms=50 $(TEST) $(RACE) ./test/e2e ./internal/controller ./internal/catalog ./test/arm ./test/packages ./...

# All that make test-system and, on a machine without gcc, make test compile.
.PHONY: test-compile
test-compile:
	CGO_ENABLED=1 $(GO) list $(RACE) -test -export -deps ./... >/dev/null
	CGO_ENABLED=0 $(GO) list -test -export -deps ./... >/dev/null

test-setup:
	@./test/setup
	@if [ "$$(id -u)" = 0 ]; then for arch in arm64 armhf; do ./test/arm/prepare install $$arch >/dev/null || exit; done; fi

# 32-bit code, run natively or under qemu; Go has no race detector there. It is compiled
# as in the packages, for which it is anyway.
test-32: test-setup
	CGO_ENABLED=0 env $$(GO="$(GO)" ./test/word32) $(TEST) -trimpath $(WORDS)

# The first Raspberry Pi and the Zero.
test-arm:
	CGO_ENABLED=0 GOARCH=arm GOARM=6 $(GO) build -trimpath -buildvcs=false ./...

# Whole machines of arm64 and armhf, by qemu-system; as root, on Debian. IDLE is how
# long one is watched that does nothing, POWER_LOSSES how often another loses its power.
IDLE ?= 1m
POWER_LOSSES ?= 3
.PHONY: e2e-arm
e2e-arm:
	$(GO) test -tags system,armboot -count=1 -v -timeout 90m ./test/arm -idle $(IDLE) -power-losses $(POWER_LOSSES)

lint:
	@unformatted=$$(gofmt -l cmd internal packaging test); \
	if [ -n "$$unformatted" ]; then echo "not formatted, run gofmt -w on:"; echo "$$unformatted"; exit 1; fi
	$(GO) vet -tags nspawn,armboot,system,determined ./...
	$(GO) tool staticcheck -tags nspawn,armboot,system,determined ./...

# Hosts with a real systemd, made by systemd-nspawn. They install packages of amd64:
# those of this version, and those of one after it for the test of upgrades.
ROUNDS ?= 2
E2E = $(GO) test -tags nspawn -count=1 -timeout 30m -parallel 8 -v
e2e: e2e-packages
	$(E2E) ./test/nspawn
	$(E2E) ./test/e2e/pis -dist "$(abspath $(DIST))" -rounds $(ROUNDS)

e2e-idle: e2e-packages
	$(E2E) -run SixHosts ./test/e2e/pis -dist "$(abspath $(DIST))" -idle 10m -idle-only

e2e-packages:
	@./test/nspawn/setup
	@$(MAKE) --no-print-directory deb apt-repo ARCHS=amd64 VERSION="$(VERSION)" KEY=
	@DIST="$(DIST)" VERSION="$(VERSION)" EPOCH="$(SOURCE_DATE_EPOCH)" ARCHS=amd64 MAKE="$(MAKE)" ./test/e2e/pis/next

FUZZTIME ?= 10s
fuzz:
	@GO="$(GO)" ./test/fuzz $(FUZZTIME)

PROTOC_GEN = protoc -I proto --plugin=protoc-gen-go=bin/protoc-gen-go --go_out=. --go_opt=module=$(MODULE)
proto:
	@mkdir -p bin
	$(GO) build -o bin/protoc-gen-go google.golang.org/protobuf/cmd/protoc-gen-go
	$(PROTOC_GEN) messages.proto trailer.proto

clean:
	rm -rf bin dist
