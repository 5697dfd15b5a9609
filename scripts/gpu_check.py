#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""All checks and measurements that need an NVIDIA GPU, in one call of less than eight minutes.

`.venv/bin/python scripts/gpu_check.py` runs the kernels' tests on the GPU, measures each kernel
against the bandwidth of the memory and what invariance costs, steps the decoder of the `orin`
preset through CUDA graphs beside the plain one, and a session of the shipped checkpoint beside one
that asks the host and one without kernels. Leaves benchmarks/results/<device>.json and
<device>.png. Without a GPU it says so and ends well.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch

ROOT = Path(__file__).resolve().parents[1]
# After the warm-up the windows of the full layers are full.
TEST_S, TURNS, WARM_UP_TURNS = 150, 400, 220
COPY_BYTES = 1 << 30


def main() -> int:
    """Runs everything; returns 1 if a check failed."""
    parser = argparse.ArgumentParser(description=__doc__.partition('\n')[0])
    parser.add_argument('--output', type=Path, default=ROOT / 'benchmarks' / 'results')
    parser.add_argument('--turns', type=int, default=TURNS)
    parser.add_argument(
        '--train', type=float, default=0, metavar='MINUTES', help='then train on from nano'
    )
    options = parser.parse_args()
    if not torch.cuda.is_available():
        print('gpu_check: no CUDA device here, nothing is checked or measured')
        return 0
    import triton

    begun = time.perf_counter()
    device = torch.cuda.get_device_name()
    results: dict = {'device': device, 'torch': torch.__version__, 'triton': triton.__version__}
    results['capability'] = list(torch.cuda.get_device_capability())
    failed = []
    parts: dict[str, Callable[[dict], None]] = {
        'tests': run_tests,
        'bandwidth': measure_bandwidth,
        'bits': check_bits,
        'kernels': measure_kernels,
        'invariance': measure_invariance,
        'decoder': lambda found: measure_decoder(found, options.turns),
        'session': lambda found: measure_session(found, options.turns),
    }
    if options.train:
        parts['training'] = lambda found: train(found, options.train, options.output)
    for name, part in parts.items():
        try:
            part(results)
        except Exception as error:  # what was measured so far must not be lost
            results[f'{name}_error'] = f'{type(error).__name__}: {error}'
            failed.append(name)
        print(f'{name}: {time.perf_counter() - begun:.0f} s since the start', flush=True)
    results['seconds'] = round(time.perf_counter() - begun, 1)
    unwanted = ('tests_failed', 'recompilations', 'session_recompilations')
    if any(results.get(name) for name in unwanted) or not results.get('same_bits'):
        failed.append('checks')
    write(results, options.output)
    return 1 if failed else 0


def run_tests(results: dict) -> None:
    """Runs tests/kernels on the device, less the compilation for other GPUs."""
    command = [sys.executable, '-m', 'pytest', 'tests/kernels', '-q', '-m', 'not slow']
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=TEST_S)
    print(done.stdout[-3000:])
    for word in ('passed', 'failed'):
        found = re.search(rf'(\d+) {word}', done.stdout)
        results[f'tests_{word}'] = int(found[1]) if found else 0
    if done.returncode and not results['tests_failed']:
        raise RuntimeError(done.stdout[-500:] + done.stderr[-500:])


def time_ms(work: Callable[[], object], repeats: int = 30) -> float:
    """Median time of a piece of work in a CUDA graph, milliseconds."""
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        work()
    stream.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        work()
    return _median_ms(graph.replay, repeats)


def _median_ms(work: Callable[[], object], repeats: int) -> float:
    events = [[torch.cuda.Event(enable_timing=True) for _ in range(2)] for _ in range(repeats)]
    for _ in range(3):
        work()
    for start, end in events:
        start.record()
        work()
        end.record()
    torch.cuda.synchronize()
    return float(np.median([start.elapsed_time(end) for start, end in events]))


def measure_bandwidth(results: dict) -> None:
    """Reads and writes as fast as a large copy does, GB/s."""
    source = torch.empty(COPY_BYTES, dtype=torch.int8, device='cuda').random_(-127, 127)
    target = torch.empty_like(source)
    copy_ms = _median_ms(lambda: target.copy_(source), 10)
    results['bandwidth_gb_s'] = round(2 * COPY_BYTES / copy_ms / 1e6, 1)


def make_decoder(int8: bool = False):
    """The decoder of the `orin` preset with random weights, plain in bf16 and through kernels."""
    from interaction_node.model.fused import FusedTransformer
    from interaction_node.model.presets import preset
    from interaction_node.model.transformer import Transformer

    torch.manual_seed(0)
    plain = Transformer(preset('orin').config).to('cuda').eval().requires_grad_(False)
    return plain.bfloat16(), FusedTransformer(plain, torch.bfloat16, int8)


def check_bits(results: dict) -> None:
    """Compares a whole sequence with two splits of it, and one session with two, bit for bit."""
    plain, fused = make_decoder()
    x_BTD = fused.embed(torch.randint(0, 8192, (2, 600), device='cuda'))
    whole = fused.forward(x_BTD)
    same = torch.equal(fused.forward(x_BTD[:1]), whole[:1])
    for lengths in ([14, 1, 1, 1, 3] * 30, [16] * 37 + [8]):
        state = fused.init_state(2, 16, 'cuda')
        pieces = [fused.append(piece, state) for piece in x_BTD.split(lengths, dim=1)]
        same &= torch.equal(torch.cat(pieces, dim=1), whole)
    results['same_bits'] = same
    wanted = plain(x_BTD.bfloat16()).float()
    results['error_to_plain'] = float((whole.float() - wanted).norm() / wanted.norm())


def measure_kernels(results: dict) -> None:
    """Times the kernels with weights that no cache holds; share of the bandwidth."""
    _, fused = make_decoder()
    _, fused_int8 = make_decoder(int8=True)
    table = {}
    for kind, decoder in (('bf16', fused), ('int8', fused_int8)):
        for tokens in (1, 14):
            x_ND = torch.randn(tokens, decoder.config.width, device='cuda').bfloat16()
            table[f'moe_{kind}_{tokens}'] = _measure_moe(decoder, x_ND, results)
    results['bandwidth_share_moe'] = table['moe_bf16_1']['bandwidth_share']
    grouped, ours = _compare_with_grouped()
    table['moe_bf16_1']['speedup_vs_plain_grouped'] = round(grouped / ours, 2)
    table['flow_step'] = _measure_flow(results)
    results['kernels'] = table


def _experts(decoder) -> list:
    from interaction_node.model.fused import FusedExperts

    return [b._mlp for b in decoder._blocks if isinstance(b._mlp, FusedExperts)]


def _measure_moe(decoder, x_ND: torch.Tensor, results: dict) -> dict:
    """All mixtures of the decoder one after another: more weights than a cache holds."""
    from interaction_node.kernels.moe_gather_gemv import moe, route

    config, layers = decoder.config, _experts(decoder)
    picking = (config.experts_per_token, config.route_scale, config.shared_expert_sink)
    routes = [route(x_ND, m._router, m._bias, m._scale, *picking) for m in layers]

    def work() -> None:
        for layer, (experts, weights) in zip(layers, routes, strict=True):
            moe(x_ND, experts, weights, *layer._weights)

    spent_ms = time_ms(work)
    size = layers[0]._weights[0].values.element_size()
    expert = 3 * config.width * config.expert_width * size
    used = sum(len(experts.unique()) + config.shared_experts for experts, _ in routes)
    return _share(spent_ms, used * expert, results) | {'layers': len(layers)}


def _share(spent_ms: float, read_bytes: float, results: dict) -> dict:
    rate = read_bytes / spent_ms / 1e6
    return {
        'ms': round(spent_ms, 4),
        'gb_s': round(rate, 1),
        'bandwidth_share': round(rate / results['bandwidth_gb_s'], 3),
    }


def _compare_with_grouped() -> tuple[float, float]:
    """Times of all mixtures for one token: plain PyTorch and ours, both in graphs."""
    plain, fused = make_decoder()
    x = torch.randn(1, 1, fused.config.width, device='cuda').bfloat16()
    layers = [
        b.mlp
        for b, kind in zip(plain.blocks, plain.config.mlp_types, strict=True)
        if kind == 'sparse'
    ]
    grouped = time_ms(lambda: [layer(x) for layer in layers])
    ours = time_ms(lambda: [layer(x[0]) for layer in _experts(fused)])
    return grouped, ours


def _measure_flow(results: dict) -> dict:
    """One step of the flow head with random weights, against the plain head in a graph."""
    from interaction_node.kernels.flow_step import flow_step, pack
    from interaction_node.model.flow_head import Condition, FlowHead

    head = FlowHead(['go']).cuda().eval().requires_grad_(False)
    width, heads, layers = head.config.width, head.config.heads, head.config.layers
    weights = pack(head.state_dict(), layers, heads, torch.bfloat16)
    x, modulation = torch.randn(1, 10, 82).cuda(), torch.randn(1, 6, width).cuda()
    memory = torch.randn(1, layers, 34, 2 * width).cuda().bfloat16()
    known = torch.ones(1, 34, dtype=torch.bool).cuda()
    condition = Condition(torch.randn(1, 34, width).cuda(), known, torch.randn(1, width).cuda())
    half = torch.full((1,), 0.5).cuda()
    spent_ms = time_ms(lambda: flow_step(x, modulation, memory, known, weights, 0.5))
    plain_ms = time_ms(lambda: head.velocity(x, half, condition))
    read = weights.matrices_LX.numel() * 2
    return _share(spent_ms, read, results) | {'speedup_vs_plain': round(plain_ms / spent_ms, 2)}


def measure_invariance(results: dict) -> None:
    """What it costs that bits depend on nothing else, percent: fixed tiles, and fixed splits.

    Products are compared with cuBLAS, which tiles as it likes. A pass of the decoder is compared
    with the quickest of other lengths of split: an attention that need not agree with a whole
    sequence would choose that one.
    """
    from torch.nn import functional

    from interaction_node.kernels import append_attention
    from interaction_node.kernels.linear import linear

    _, fused = make_decoder()
    for tokens in (1, 14):
        weights = [weight for block in fused._blocks for weight in (block._qkvr, block._out)]
        inputs = {w.values.shape[1]: torch.randn(tokens, w.values.shape[1]) for w in weights}
        inputs = {size: x.cuda().bfloat16() for size, x in inputs.items()}
        pairs = [(inputs[weight.values.shape[1]], weight) for weight in weights]
        ours = time_ms(lambda p=pairs: [linear(x, weight) for x, weight in p])
        free = time_ms(lambda p=pairs: [functional.linear(x, w.values) for x, w in p])
        results[f'invariance_cost_products_{tokens}'] = round(100 * (ours / free - 1), 1)
        x_BtD = fused.embed(torch.randint(0, 8192, (1, tokens), device='cuda'))
        kept, times = append_attention.SPLIT, {}
        for split in (64, 128, 256, 512, 1024):
            state = fused.init_state(1, 16, 'cuda')
            state.position.fill_(6_000)  # every window is full
            append_attention.SPLIT = split
            times[split] = time_ms(lambda x=x_BtD, s=state: fused.append(x, s))
        append_attention.SPLIT = kept
        cost = 100 * (times[kept] / min(times.values()) - 1)
        results[f'invariance_cost_splits_{tokens}'] = round(cost, 1)


def measure_decoder(results: dict, turns: int) -> None:
    """Steps micro-turns: through graphs, through kernels without graphs, and the plain decoder."""
    from interaction_node.model.captured import Captured
    from interaction_node.model.fused_decoder import FusedDecoder
    from interaction_node.model.presets import cost, preset

    choice = preset('orin')
    plain, fused = make_decoder()
    decoder = FusedDecoder(fused)
    x_tD = decoder.embed(torch.randint(0, 8192, (choice.prefill_tokens,), device='cuda'))

    def turn_of(append: Callable[[torch.Tensor], object]) -> Callable[[], None]:
        def turn() -> None:
            append(x_tD)
            for _ in range(choice.decode_steps):
                append(x_tD[:1])

        return turn

    state, logits = decoder.init_state(16), Captured(fused.logits, x_tD[:1])
    compiled: list[str] = []
    _count_compilations(compiled)
    graphs = turn_of(lambda x: logits(decoder.append([x], [state])[0][-1:]))
    steps = _time_turns(graphs, turns, results)
    loose = fused.init_state(1, 16, 'cuda')
    for length in range(1, 17):
        fused.append(x_tD[:1].expand(1, length, -1), loose)
    results['recompilations'] = len(compiled)
    for percent in (50, 99):
        results[f'step_ms_p{percent}'] = round(float(np.percentile(steps, percent)), 3)
    floor_ms = cost(choice).floor_ms(results['bandwidth_gb_s'])
    results['step_floor_ms'] = round(floor_ms, 3)
    results['bandwidth_share_decode'] = round(floor_ms / results['step_ms_p50'], 3)
    results['steps_ms'] = [round(step, 3) for step in steps]
    few = max(1, turns // 4)
    kernels = turn_of(lambda x: fused.logits(fused.append(x[None], loose)[:, -1]))
    eager = _time_turns(kernels, few, {})
    results['speedup_vs_kernels_without_graphs'] = round(np.median(eager) / np.median(steps), 2)
    old = plain.init_state(1, 16, torch.bfloat16, 'cuda')
    bare = turn_of(lambda x: plain.logits(plain.append(x[None].bfloat16(), old)[:, -1]))
    naive = _time_turns(bare, few, {})
    results['speedup_vs_plain'] = round(np.median(naive) / np.median(steps), 2)


def measure_session(results: dict, turns: int) -> None:
    """Steps the shipped checkpoint with its voice, and in turn two others.

    One asks the host after every token, as it would where graphs can't branch; one has the plain
    decoder.
    """
    from interaction_node.model.plain_decoder import PlainDecoder
    from interaction_node.model.session import Session, load_session

    ours = load_session(device='cuda')
    asking = ours.sibling()
    asking._graphs = None
    slow, voice = PlainDecoder(ours._net.transformer), ours._voice.sibling()
    plain = Session(ours._net, ours._vocabulary, voice, 'cuda', slow)
    results['session_branches'] = ours._graphs is not None
    compiled: list[str] = []
    times: dict[str, list[float]] = {'session': [], 'session_asking': [], 'session_plain': []}
    same = 0
    for turn in _micro_turns(WARM_UP_TURNS + turns):
        if turn.index == WARM_UP_TURNS:
            _count_compilations(compiled)
            allocated = _device_memory()
        found = []
        for name, session in zip(times, (ours, asking, plain), strict=True):
            begun = time.perf_counter()
            found.append(session.step(turn))
            if turn.index >= WARM_UP_TURNS:
                times[name].append((time.perf_counter() - begun) * 1e3)
        same += found[0].text == found[2].text and found[0].control == found[2].control
    for name, spent in times.items():
        for percent in (50, 99):
            results[f'{name}_ms_p{percent}'] = round(float(np.percentile(spent, percent)), 3)
    for name in ('asking', 'plain'):
        ratio = np.median(times[f'session_{name}']) / np.median(times['session'])
        results[f'session_speedup_vs_{name}'] = round(float(ratio), 2)
    results['session_same_decisions'] = round(same / (WARM_UP_TURNS + turns), 3)
    results['session_recompilations'] = len(compiled)
    now = _device_memory()
    results['session_grown_bytes'], results['session_device_allocations'] = (
        after - before for after, before in zip(now, allocated, strict=True)
    )
    ours.close()


def train(results: dict, minutes: float, folder: Path) -> None:
    """Trains the shipped checkpoint on, with what .cache/bank or .cache/features hold; exports it.

    Every core but two mixes sessions; there are two shapes to compile.
    """
    run = folder / 'train'
    feeders = max(1, (os.cpu_count() or 1) - 2)
    module = [
        sys.executable,
        '-m',
        'interaction_node.model.train',
        '--init',
        'model/nano.safetensors',
    ]
    limits = ['--minutes', str(minutes), '--decay-minutes', str(minutes / 2), '--device', 'cuda']
    shapes = ['--compile', '--tokens', '24576', '--lengths', '384', '768']
    data = ['--variants', '1', '--feeders', str(feeders), '--heard-weight', '0.7']
    subprocess.run([*module, *limits, *shapes, *data, '--folder', str(run)], cwd=ROOT, check=True)
    rows = [json.loads(line) for line in (run / 'curves.jsonl').read_text().splitlines()]
    last = rows[-1]
    results['training_feeders'], results['training_steps'] = feeders, 20 * len(rows)
    for name in ('step_s', 'wait_s', 'tokens', 'heard_correct', 'out_correct'):
        results[f'training_{name}'] = last[name]
    module = [sys.executable, '-m', 'interaction_node.model.export', '--train', str(run)]
    voice = ['--speech', 'model/nano.safetensors', '--output', str(folder / 'nano.safetensors')]
    subprocess.run([*module, *voice], cwd=ROOT, check=True)


def _micro_turns(count: int) -> Iterator:
    """Micro-turns with noise to hear, pictures, and now and then a line of text."""
    from interaction_node.model.interface import TURN_S, TURN_SAMPLES, MicroTurn, Role, TextInput

    rng = np.random.default_rng(0)
    pcm = rng.integers(-3000, 3000, (2, 8, TURN_SAMPLES)).astype(np.int16)
    pictures = rng.integers(0, 255, (8, 2, 240, 320, 3)).astype(np.uint8)
    line = TextInput(Role.USER, 'what can you see now')
    for i in range(count):
        text = (line,) if i % 10 == 9 else ()
        yield MicroTurn(i, i * TURN_S, pcm[0, i % 8], pcm[1, i % 7], pictures[i % 8], text=text)


def _device_memory() -> tuple[int, int]:
    """Bytes that are taken, and how often memory was asked of the device so far."""
    return torch.cuda.memory_allocated(), torch.cuda.memory_stats()['num_device_alloc']


def _count_compilations(compiled: list[str]) -> None:
    """Notes every kernel that is compiled from now on."""
    from triton import knobs

    def note(*args, **named) -> None:
        compiled.append(str(named.get('fn') or args))

    knobs.runtime.jit_post_compile_hook = note


def _time_turns(turn: Callable[[], None], turns: int, results: dict) -> list[float]:
    """Times of micro-turns as a caller sees them, milliseconds; mean power, watts."""
    query = ['nvidia-smi', '--query-gpu=power.draw', '--format=csv,noheader,nounits', '-lms', '100']
    try:
        meter = subprocess.Popen(query, stdout=subprocess.PIPE, text=True)
    except OSError:
        meter = None
    found = []
    for index in range(WARM_UP_TURNS + turns):
        begun = time.perf_counter()
        with torch.inference_mode():
            turn()
        torch.cuda.synchronize()
        if index >= WARM_UP_TURNS:
            found.append((time.perf_counter() - begun) * 1e3)
    if meter is not None:
        meter.terminate()
        watts = [float(w) for w in re.findall(r'^\d+\.\d+$', meter.communicate()[0], re.MULTILINE)]
        if watts:
            results['power_w'] = round(float(np.mean(watts)), 1)
            results['energy_per_turn_j'] = round(results['power_w'] * np.mean(found) / 1e3, 3)
    return found


def write(results: dict, folder: Path) -> None:
    """Leaves the figures and a picture, named by device."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / (re.sub(r'[^a-z0-9]+', '-', results['device'].lower()).strip('-') + '.json')
    steps = results.pop('steps_ms', [])
    path.write_text(json.dumps(results, indent=1) + '\n', encoding='utf-8')
    print(json.dumps(results, indent=1))
    draw(results, steps, path.with_suffix('.png'))
    print(f'left in {path} and {path.with_suffix(".png")}')


def draw(results: dict, steps: list[float], path: Path) -> None:
    """Draws shares of the bandwidth and the times of micro-turns."""
    import matplotlib as mpl

    mpl.use('Agg')
    from matplotlib import pyplot

    figure, (left, right) = pyplot.subplots(1, 2, figsize=(11, 4), layout='constrained')
    shares = {k: v['bandwidth_share'] for k, v in results.get('kernels', {}).items()}
    shares['whole step'] = results.get('bandwidth_share_decode', 0.0)
    left.barh(list(shares), list(shares.values()))
    left.axvline(0.7, linestyle=':', color='black')
    left.set(xlabel='share of the bandwidth of a large copy', xlim=(0, 1), title=results['device'])
    right.hist(steps, bins=60)
    right.set(xlabel='micro-turn of the orin preset, ms', ylabel='micro-turns')
    figure.savefig(path, dpi=110)


if __name__ == '__main__':
    sys.exit(main())
