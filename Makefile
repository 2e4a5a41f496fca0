# Everything that people and CI type. `make` alone says what there is.
# Paths may hold spaces, so recipes quote them and no path is a target.
.DEFAULT_GOAL := help
.PHONY: help up down test check format bench control-plane clean
SHELL := /bin/sh
INPUT ?= .
pytest = pytest -n 4 --dist loadfile
user = venv=$$(scripts/environment user) && export PATH="$$venv/bin:$$PATH"
development = venv=$$(scripts/environment development) && export PATH="$$venv/bin:$$PATH"

help:  ## what there is
	@sed -n 's/^\([a-z-]*\):.*## /make \1\t/p' Makefile | expand -t 16

up:  ## start the system and run the quickstart on INPUT (default: this folder)
	@$(user) && exec watchbill start --quickstart "$(INPUT)"

down:  ## stop the system; nothing is lost
	@$(user) && exec watchbill stop

test:  ## what a user runs: no Go, no Docker, no root, within 5 minutes
	@$(development) && exec $(pytest)

check:  ## everything that CI runs; on real Kubernetes too, once `make control-plane` has built it
	@$(development) && exec scripts/check

control-plane:  ## build the real control plane that tests can run on (needs Go; the second time is instant)
	@$(development) && exec scripts/control-plane build

format:  ## format and mend what can be mended
	@$(development) && ruff format . && ruff check --fix .

bench:  ## measure; prints the table of docs/benchmarks.md
	@$(development) && PYTHONPATH=tests exec python -m benchmarks

clean:  ## remove the environment and caches
	@rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
