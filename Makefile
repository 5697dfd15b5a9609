# SPDX-License-Identifier: Apache-2.0
# Everything here runs in .venv, which scripts/setup.sh makes; `make setup` again costs a moment.

SHELL := /bin/bash
VENV := $(CURDIR)/.venv
RUN := $(VENV)/bin/python
TEST_TIMEOUT_S ?= 120
ARGS ?=

export AMENT_PREFIX_PATH := $(VENV)$(if $(AMENT_PREFIX_PATH),:$(AMENT_PREFIX_PATH))
export ROS_AUTOMATIC_DISCOVERY_RANGE ?= LOCALHOST
ifdef ROS_DISTRO
export LD_LIBRARY_PATH := $(VENV)/lib$(if $(LD_LIBRARY_PATH),:$(LD_LIBRARY_PATH))
endif

.DEFAULT_GOAL := help
.PHONY: help setup demo live test eval bench train voice hearing skills report lint

help:  ## list the commands
	@echo 'make COMMAND [ARGS="--more --options"]'
	@grep -E '^[a-z]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  %-8s %s\n", $$1, $$2}'

setup:  ## make or update the environment .venv
	@scripts/setup.sh

demo: setup  ## show what it does: a conversation through the whole ROS graph, no device needed
	$(RUN) -m interaction_node.demo $(ARGS)

live: setup  ## talk to it: this machine's microphone and loudspeaker
	$(RUN) -m interaction_node.live $(ARGS)

# Tests of real time can fail on a machine that is busy with something else: what failed is tried once more.
test: setup  ## run all tests
	OMP_NUM_THREADS=1 $(RUN) -m pytest tests --timeout $(TEST_TIMEOUT_S) $(ARGS) || { \
	  echo 'once more, what failed:'; \
	  OMP_NUM_THREADS=1 $(RUN) -m pytest tests --timeout $(TEST_TIMEOUT_S) --last-failed $(ARGS); }

eval: setup  ## score the model on stand-in test sets
	@scripts/fetch_human_speech.sh || true
	$(RUN) -m interaction_node.model.evaluation.run $(ARGS)

bench: setup  ## measure a step of the model on this machine, side by side with others
	$(RUN) benchmarks/run.py $(ARGS)

train: setup  ## train the model anew
	$(RUN) -m interaction_node.model.train $(ARGS)

voice: setup  ## let two speech recognisers judge the robot's voice
	@scripts/judge.sh voice $(ARGS)

hearing: setup  ## let a speech recogniser and the model hear the same
	@scripts/judge.sh hearing $(ARGS)

skills: setup  ## teach the robot the new skills, places and phrases of config/skills.yaml
	@[ -x .venv-data/bin/python ] || scripts/setup_data.sh
	OMP_NUM_THREADS=2 $(RUN) -m interaction_node.model.teach --skills '$(or $(SKILLS),config/skills.yaml)' $(ARGS)

report: setup  ## make a page of a recording: make report BAG=folder [OUTPUT=folder]
	@test -n '$(BAG)' || { echo 'say which recording: make report BAG=folder'; exit 2; }
	$(RUN) -m interaction_node.report --bag '$(BAG)' --output '$(or $(OUTPUT),out/report)' $(ARGS)

lint: setup  ## check style and types
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	scripts/check_types.sh
