# SPDX-License-Identifier: Apache-2.0
"""Runs a small language model as a server on the loopback interface, in a process of its own.

The planner starts it: a process of low priority never takes the processor from the conversation,
and a crash in native code ends only this. It ends when its standard input closes, so it can't
outlive the planner. Its API key comes in the environment variable `EMBEDDED_SERVER_KEY`.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
from collections.abc import Sequence
from typing import Any

KEY_VARIABLE = 'EMBEDDED_SERVER_KEY'


def main(args: Sequence[str] | None = None) -> int:
    """Loads the model, prints one line of JSON with `url` or `error`, serves until stdin closes."""
    options = _options(args)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; stdin ends us
    os.nice(options.nice)
    report = os.fdopen(os.dup(1), 'w')
    os.dup2(2, 1)  # native code may print to standard output
    try:
        server = _serve(options)
    except Exception as error:  # whatever llama.cpp raises goes to the planner, in words
        print(json.dumps({'error': str(error) or type(error).__name__}), file=report, flush=True)
        return 1
    print(json.dumps({'url': server.listening_address}), file=report, flush=True)
    sys.stdin.read()
    # The destructor waits for open requests; nobody is left who would read them.
    os._exit(0)


def _options(args: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--model', required=True, help='model file, GGUF')
    parser.add_argument('--threads', type=int, default=1)
    parser.add_argument('--parallel', type=int, default=1, help='requests at a time')
    parser.add_argument('--context', type=int, default=1024, help='tokens of one request')
    parser.add_argument('--nice', type=int, default=10)
    return parser.parse_args(args)


def _serve(options: argparse.Namespace) -> Any:
    import xllamacpp

    parameters = xllamacpp.CommonParams()
    parameters.model.path = options.model
    parameters.n_ctx = options.context * options.parallel
    parameters.n_parallel = options.parallel
    parameters.cpuparams.n_threads = options.threads
    parameters.cpuparams_batch.n_threads = options.threads
    parameters.n_threads_http = options.parallel + 1
    parameters.api_keys = [os.environ[KEY_VARIABLE]]
    parameters.cache_ram_mib = 64
    parameters.ui = False
    parameters.verbosity = 0
    return xllamacpp.Server(parameters)


if __name__ == '__main__':
    sys.exit(main())
