# Everything that people and CI type. `make` alone says what there is.
# Paths may hold spaces, so recipes quote them and no path is a target.
.DEFAULT_GOAL := help
.PHONY: help up down kind kind-down kind-node images test check format bench control-plane clean
SHELL := /bin/sh
INPUT ?= .
# Words of the command line alone: an environment may have a MODEL or a RUNNER of its own.
given = $(if $(filter command,$(origin $1)),$($1))
chosen = $(if $(call given,MODEL),--model "$(MODEL)") $(if $(call given,RUNNER),--runner "$(RUNNER)")
# A key is for `watchbill start` alone, which puts it into a Secret: what is installed does not see it.
environment = env -u ANTHROPIC_API_KEY -u ANTHROPIC_AUTH_TOKEN -u CLAUDE_CODE_OAUTH_TOKEN scripts/environment
in = venv=$$($(environment) $1) && export PATH="$$venv/bin:$$PATH"

help:  ## what there is
	@sed -n 's/^\([a-z-]*\):.*## /make \1\t/p' Makefile | expand -t 16

up:  ## start the system and run the quickstart on INPUT (default: this folder); MODEL=scripted or RUNNER=claude: with Claude Code
	@$(call in,$(if $(strip $(chosen)),claude,user)) && exec watchbill start --quickstart "$(INPUT)" $(chosen)

down:  ## stop the system; nothing is lost
	@$(call in,user) && exec watchbill stop

kind:  ## the same with real pods: a kind cluster, images of this checkout, the quickstart on INPUT (needs Docker)
	@$(call in,user) && exec scripts/kind up "$(INPUT)"

kind-down:  ## delete that cluster and all that is in it
	@$(call in,user) && exec scripts/kind down

kind-node:  ## build kind and its node image from source, for where no image registry can be reached (needs Go, root)
	@exec scripts/kind-node build

images:  ## build the images watchbill/operator, watchbill/agent and watchbill/broker (needs Docker)
	@eval "$$(scripts/docker-engine env)" && exec scripts/images build

test:  ## what a user runs: no Go, no Docker, no root, within 5 minutes (`make check` runs the long ones too)
	@$(call in,development) && exec pytest -n 4 --dist loadfile -m "not claude and not long"

check:  ## everything that CI runs: with Claude Code, and on real Kubernetes once `make control-plane` has built it
	@$(call in,complete) && exec scripts/check

control-plane:  ## build the real control plane that tests can run on (needs Go; the second time is instant)
	@$(call in,development) && exec scripts/control-plane build

format:  ## format and mend what can be mended
	@$(call in,development) && ruff format . && ruff check --fix .

bench:  ## measure; prints the table of docs/benchmarks.md
	@$(call in,complete) && PYTHONPATH=tests exec python -m benchmarks

clean:  ## remove the environment and caches
	@rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
