# Each target is a few lines; what they do is in scripts/, bench/, conformance/ and vm/. Root, on a Debian machine.
BUILT   := $(or $(CARGO_TARGET_DIR),target)
# of the environment too: sudo CROCI=… make demo
CROCI   ?= $(BUILT)/dist/croci
CORM    ?= $(BUILT)/dist/corm
PREFIX  ?= /usr/local
export CARGO_TERM_COLOR ?= auto

.DEFAULT_GOAL := help
.PHONY: help build test test-old-kernels test-packages cross deb release reproducible test-image test-callers test-critest test-engines faults faults-full fuzz powercut demo lint doc conformance conformance-docs conformance-official test-vm test-vm-full bench account bench-image bench-build bench-shim budgets install uninstall manual docs errors session deps clean

help: ## List these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-22s %s\n", $$1, $$2 }' Makefile

build: ## Build the static release binaries croci and corm (TARGET=aarch64-unknown-linux-gnu: for another processor)
	TARGET=$(TARGET) scripts/toolchain scripts/build-release.sh

test: ## Install what the tests need, then run every test (unit, and as root against the kernel)
	scripts/toolchain scripts/test.sh

faults: ## Each verb killed, and a system call of it failed, at a sample of its calls (SWEEP_VERB=create: that verb alone)
	scripts/faults.sh

faults-full: ## The same at every system call
	scripts/faults.sh --full

test-image: ## corm over btrfs, overlay and copy, with registries and other tools (AUFS_KERNEL=FILE: and a real AUFS)
	scripts/test-image.sh

test-critest: build ## Kubernetes' critest by croci's shim and by runc's shim with croci; CRITEST: the program
	RUNTIME=$(CROCI) scripts/test-critest.sh

test-callers: ## Podman, containerd, Buildah and Docker drive croci (RUNTIME=crun, runc or a path: another runtime)
	scripts/test-callers.sh

test-engines: ## Podman's and Buildah's own tests with croci and crun side by side (SUITES="podman:030,075 buildah"; an hour)
	scripts/test-engines.sh $(SUITES)

fuzz: ## Run each fuzz target for FUZZ_SECONDS (600) from its corpus
	scripts/fuzz.sh

powercut: ## Cut the power of corm's store at points of ten verbs on ext4, XFS and btrfs; POWERCUTS=40 for each
	scripts/powercut.sh

demo: ## Both programs shown in a minute: each command as one would type it (CROCI=, CORM=: these binaries, without a build)
	scripts/demo.sh

lint: ## Formatting, clippy, shell scripts, licences of all dependencies
	scripts/lint.sh

doc: ## The documentation of the library, without a warning
	RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --document-private-items --locked --quiet

conformance: build ## Our conformance suite against the release binary, as a table (RUNTIME=/path: another one, whose failures are no error)
	RUST_BACKTRACE=1 cargo run --quiet --locked -p conformance -- --format table --runtime $(or $(RUNTIME),$(CROCI)) || [ $$? = 1 -a -n "$(RUNTIME)" ]

conformance-docs: build ## Write docs/generated/conformance.md from runs of our suite, here and on pure cgroup v2
	scripts/conformance-docs.sh $(CROCI)

conformance-official: build ## The suite of opencontainers/runtime-tools, on the native and the cgroup v1 view
	conformance/official/run-all $(or $(RUNTIME),$(CROCI))

test-old-kernels: ## Lifecycle, security and conformance as on Linux 5.10, 5.4 and 4.18, by a filter
	scripts/toolchain scripts/test-old-kernels.sh

test-packages: build ## The Debian packages in a bare root: install, upgrade, remove; Podman with croci from the package
	scripts/apt-install dpkg-dev lintian
	scripts/deb.sh
	scripts/test-packages.sh

cross: ## Check the code for five processors, and run unit tests of one under qemu (TARGETS="aarch64 s390x")
	scripts/toolchain scripts/cross.sh $(TARGETS)

deb: build ## Debian packages of croci and corm in target/deb
	scripts/deb.sh

release: ## Programs, packages, vendored source, bill of materials and checksums in target/release-files
	scripts/toolchain scripts/release.sh

reproducible: ## Build the release in two directories and compare the bytes
	scripts/toolchain scripts/reproducible.sh

test-vm: ## A sample of the tests on pure cgroup v2, in guests without and with systemd, as root and not
	scripts/test-vm.sh

test-vm-full: ## The same with every test that makes containers, and the conformance suite by both managers
	scripts/test-vm.sh --full

budgets: build ## What each verb costs, counted without a clock, against bench/budgets
	@if ! grep -q musl $(BUILT)/dist/croci.target; then echo "skipped: budgets: they are those of croci with musl"; exit 0; fi; \
	status=0; bench/budgets.py $(CROCI) || status=$$?; [ $$status = 77 ] || exit $$status

bench: build ## croci against the fastest peer, on cgroup v1 and v2; N=100 samples, WRITE=1 into the documents (see bench/README.md)
	bench/run $(CROCI)

account: build ## Where each microsecond of run, create and exec is spent; N=50 runs, WRITE=1 into the documents
	bench/account $(CROCI) $(if $(WRITE),--write)

bench-image: build ## corm against umoci and Podman: unpacking, bundles, containers; N=5 rounds
	scripts/deps-image.sh
	bench/image.py $(CORM) $(CROCI) --n $(or $(N),5)

bench-build: build ## corm build against buildah bud, cold, cached and with one file changed; N=5 rounds, WRITE=1 into docs/generated/build.md
	bench/build.py $(CORM) $(CROCI) --n $(or $(N),5) $(if $(WRITE),--write)

bench-shim: build ## croci's shim of containerd against runc's, with runc and with croci; N=50 rounds, WRITE=1 into docs/generated/shim.md
	bench/shim.py $(BUILT)/dist --n $(or $(N),50) $(if $(WRITE),--write)

install: build ## Install croci and corm below PREFIX (/usr/local), with their man pages and completions
	scripts/install.sh $(DESTDIR)$(PREFIX) $(CROCI) $(CORM)
	install -D -m 0755 -t $(DESTDIR)$(PREFIX)/bin $(BUILT)/dist/containerd-shim-croci-v2

uninstall: ## Remove what `make install` has installed
	scripts/install.sh --remove $(DESTDIR)$(PREFIX) croci corm
	rm -f $(DESTDIR)$(PREFIX)/bin/containerd-shim-croci-v2

manual: ## Write the man pages and completions in packaging/ from the tables of flags
	scripts/toolchain cargo run --quiet --locked -p manual -- packaging

docs: ## The guides, references and figures as a site in target/docs-site, by mdBook
	scripts/toolchain scripts/docs.sh

errors: build ## Provoke 300 failures with croci, runc and crun, and corm and Podman, and write docs/generated/errors.md
	scripts/apt-install runc crun podman busybox-static openssl
	CROCI=$(CROCI) CORM=$(CORM) scripts/errors.py docs/generated/errors.md

session: build ## Record the session that the README shows, by a real run (docs/generated/session.svg)
	CROCI=$(CROCI) CORM=$(CORM) scripts/session.py docs/generated/session.svg

deps: ## Install the Debian packages that the tests and the demo need
	scripts/deps.sh

clean: ## Remove what was built
	cargo clean
