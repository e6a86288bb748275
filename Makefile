# Targets of the project; bare `make` lists them. CI runs the same ones.
GO       ?= go
GOFLAGS  ?=
FUZZTIME ?= 10s
DATA     ?= .cache/dev
UNIT      = $(shell $(GO) list ./... | grep -v '/e2e')

export CGO_ENABLED ?= 0

.PHONY: help
help: ## list the targets
	@awk -F':.*## ' '/^[a-z0-9-]+:.*## /{printf "  %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: setup
setup: ## install the Debian packages that the tests need (root)
	tools/setup

.PHONY: build
build: ## build bin/manifold
	$(GO) build -o bin/manifold ./cmd/manifold

.PHONY: check
check: ## gofmt, vet, house rules, unit tests, race detector, short fuzz
	tools/gofmt-check
	$(GO) vet ./...
	$(MAKE) --no-print-directory test race
	tools/fuzz 3s

.PHONY: test
test: ## unit tests only
	$(GO) test -timeout 10m $(UNIT)

.PHONY: race
race: ## unit tests under the race detector; needs a C compiler, which CI must have
	tools/race $(filter-out %/tools/package %/internal/lint,$(UNIT)) # those have one goroutine and much to do

.PHONY: fuzz
fuzz: ## every fuzz target for FUZZTIME
	tools/fuzz $(FUZZTIME)

.PHONY: e2e
e2e: ## end-to-end tests through real NFS clients (root)
	$(GO) test -count=1 -timeout 45m -p 1 ./e2e/...

.PHONY: ftpssh-10k
ftpssh-10k: ## trees of 10,000 files through the clients of FTP and SFTP (root)
	MANIFOLD_FTPSSH_FILES=10000 $(GO) test -count=1 -timeout 60m -v ./e2e/ftpssh -run 'TestTree|TestSSHFS'

.PHONY: smbtorture
smbtorture: ## Samba's suite for SMB in full, with its report (root, 5 min)
	$(GO) test -count=1 -v -timeout 30m ./e2e/suites/smbtorture -args -full -update

.PHONY: smb-tree
smb-tree: ## 11,000 files in over SMB, identical over NFS, and back (root, 5 min)
	MANIFOLD_TREE="$$($(GO) env GOROOT)/src" $(GO) test -count=1 -timeout 30m -v ./e2e/smb -run TestKernel_sameTreeAsNFS

.PHONY: gen
gen: ## regenerate documents and golden files that are derived from code
	$(GO) generate ./...
	$(GO) test ./cmd/manifold ./internal/control/cli ./internal/control/rest ./internal/node ./internal/ports -update

.PHONY: bench
bench: ## compare with NFS-Ganesha through the kernel client (root, 40 min)
	$(GO) test ./e2e/bench -run '^$$' -bench '^BenchmarkNFS$$' -benchtime 1x -timeout 2h -args -dirsync $(BENCHFLAGS)

.PHONY: bench-ftp
bench-ftp: ## compare FTP with vsftpd and SFTP with OpenSSH (root, 10 min)
	$(GO) test ./e2e/bench -run '^$$' -bench 'FTP|SFTP' -benchtime 1x -timeout 2h -args $(BENCHFLAGS)

.PHONY: bench-smb
bench-smb: ## compare SMB with Samba through smbclient (root, 20 min)
	$(GO) test ./e2e/bench -run '^$$' -bench SMB -benchtime 1x -timeout 2h -args $(BENCHFLAGS)

.PHONY: bench-cifs
bench-cifs: ## compare SMB with Samba through the kernel's client (root, 5 min)
	$(GO) test ./e2e/bench -run '^$$' -bench CIFS -benchtime 1x -timeout 1h -args -rows seq,meta -rounds 3 -mib 256 -files 2000 $(BENCHFLAGS)

.PHONY: bench-s3
bench-s3: ## compare S3 with MinIO and versitygw: MINIO_BIN, VERSITYGW_BIN (root, 20 min)
	$(GO) test ./e2e/bench -run '^$$' -bench S3 -benchtime 1x -timeout 2h -args $(BENCHFLAGS)

.PHONY: bench-rest
bench-rest: ## requests a second and p99 of the REST API, 1 GiB up and down (root, 3 min)
	$(GO) test ./e2e/bench -run '^$$' -bench REST -benchtime 1x -timeout 30m

.PHONY: bench-many
bench-many: ## memory and latency with 8,000 connections of NFS, 5,000 sessions of SMB (root, 3 min)
	$(GO) test ./e2e/bench -run '^$$' -bench Many -benchtime 1x -timeout 30m -args $(BENCHFLAGS)

.PHONY: bench-read
bench-read: build ## a cached read of 1 GiB over NFS beside a plain copy over TCP (1 min)
	bin/manifold bench --nfs --files 1000 --large-mib 1024

.PHONY: s3list
s3list: ## list an S3 bucket of a million keys: page times and memory (20 min)
	MANIFOLD_S3_KEYS=1000000 $(GO) test -count=1 -v -timeout 2h -run TestS3_listing ./internal/node

.PHONY: s3big
s3big: ## S3 clients with 10,000 files and 5 GiB in parts (root, 20 GiB of disk, 1 h)
	MANIFOLD_S3_FILES=10000 MANIFOLD_S3_BIG=5368709120 $(GO) test -count=1 -v -timeout 3h ./e2e/s3

.PHONY: package
package: ## dist/*.deb and dist/*.rpm (the latter needs rpmbuild)
	$(GO) run ./tools/package -out dist

.PHONY: dev
dev: build ## a throw-away node on high ports
	mkdir -p $(DATA)
	bin/manifold serve --data $(DATA) --port-offset 20000

