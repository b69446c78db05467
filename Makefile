# Everything sets itself up on a fresh Debian or Ubuntu machine with python3, python3-venv, make and g++.
PYTHON ?= python3
BIN := .venv/bin
KERNELS := $(wildcard edge/compounding/*.cu edge/compounding/*.cuh edge/compounding/*.cpp edge/compounding/*.h)

.PHONY: help demo test check fuzz bench gpu-check fake-gpu-check deb boot-test image qemu-test clean

help:  ## this list
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 12

demo: .venv/runtime  ## a simulated probe, the whole device, and files for 3D Slicer in demo-out/
	$(BIN)/sonosweep demo --out demo-out

test: .venv/dev  ## all checks and tests
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/pytest -n 2 --dist loadfile

check: .venv/dev  ## lint and types only
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

fuzz: .venv/dev  ## 100,000 random and mutated wire messages, as many of OpenIGTLink, 1,000 mutants of each foreign file format
	$(BIN)/python tests/firmware_bridge/fuzz_wire.py --count 100000
	$(BIN)/python tests/edge/openigtlink/fuzz_igtl.py --count 100000
	$(BIN)/python tests/edge/files/fuzz_foreign.py --count 1000

bench: .venv/dev  ## what this machine does per second, and how accurately
	$(BIN)/sonosweep bench

gpu-check: .venv/dev  ## everything that needs a CUDA device, with a sheet in bench/results/ (pycuda is built for it)
	$(BIN)/python bench/gpu_check.py

fake-gpu-check: .venv/fakecuda/ready  ## the CUDA backend through the real pycuda, on a driver that computes on the CPU
	LD_LIBRARY_PATH=$(CURDIR)/.venv/fakecuda PYTHONPATH=$(CURDIR)/.venv/fakecuda/site $(BIN)/pytest -m gpu tests/edge/compounding

deb: .venv/dev  ## Debian packages in dist/: arm64 for JetPack 6 and 7, arm64 and amd64 for Debian 12 (FLAVOURS="amd64-cp311" for one)
	$(BIN)/python packaging/deb.py $(FLAVOURS)

boot-test: .venv/dev  ## as root: the amd64 package installed, booted under systemd in a container, killed and hung (KILLS=20 HANGS=20: so often each); figures are printed
	$(BIN)/pytest -m boot -s tests/power_cut tests/boot --ignore tests/boot/qemu $(if $(KILLS),--kills $(KILLS)) $(if $(HANGS),--hangs $(HANGS))

image: .venv/dev  ## TREE=... of amd64 or arm64 (packaging/rootfs.py was there): dist/image with a disk, a kernel and an initrd for QEMU
	$(BIN)/python packaging/image.py $(TREE) dist/image

qemu-test: .venv/dev  ## as root: the image of the package (ARCH=arm64: of that one) booted in full emulation, and a sweep from a tablet to a saved volume
	$(BIN)/pytest -m boot -s tests/boot/qemu $(if $(ARCH),--arch $(ARCH))

clean:  ## remove what make made
	rm -rf .venv build dist demo-out *.egg-info edge/compounding/*.so

.venv/bin/python:
	@$(PYTHON) -c 'import ensurepip, venv' || { echo "python3-venv is missing: sudo apt install python3-venv"; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --upgrade pip setuptools wheel

.venv/runtime: .venv/bin/python pyproject.toml setup.py $(KERNELS)
	rm -rf sonosweep.egg-info  # a stale one would hide new commands from the tests
	PYTHONWARNINGS=ignore $(BIN)/pip install --quiet --no-build-isolation --editable .
	touch $@

.venv/dev: .venv/runtime
	PYTHONWARNINGS=ignore $(BIN)/pip install --quiet --no-build-isolation --editable ".[dev]"
	touch $@

.venv/fakecuda/ready: .venv/dev $(wildcard tests/fake_cuda/*) $(KERNELS)
	$(BIN)/python tests/fake_cuda/prepare.py --fake .venv/fakecuda
	touch $@
