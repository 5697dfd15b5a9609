# SPDX-License-Identifier: Apache-2.0
"""Our step of the decoder against the public code, re-prefill, and what memory could give.

A micro-turn reads 4 tokens (boundary, picture, two of sound) and writes 2, as in `presets.md`.
"""

from __future__ import annotations

from collections.abc import Callable

import inkling
import torch
from stopwatch import Times, ratio, side_by_side

from interaction_node.model.interaction_net import InteractionNet
from interaction_node.model.interface import TURN_S
from interaction_node.model.plain_decoder import Decoder, PlainDecoder, make_decoder
from interaction_node.model.transformer import Transformer, TransformerState

READ, WRITTEN = 4, 2
MAX_APPEND = 16
TOLERANCE = 1e-3
UNBOUNDED_S = 600


def measure(net: InteractionNet, rounds: int) -> dict[str, float]:
    """Compares steps of the decoder; every ratio is of sides measured in turn.

    Args:
        net: With a bounded window, in evaluation mode, on the CPU.
        rounds: Micro-turns of each side.

    Returns:
        Flat figures; times are processor milliseconds, medians.
    """
    ours = net.transformer
    public = _faster_attention(ours)
    check_equal(ours, public)
    sides = {
        'ours': _ours(ours, make_decoder(ours)),
        'ours_before': _ours(ours, PlainDecoder(ours)),
        'hf_cache': _theirs(inkling.CachedInkling(public, ours.config.full_window), ours),
    }
    times = side_by_side(sides, rounds, 'decoder and cache of transformers')
    long = inkling.CachedInkling(public, None)
    grown = _theirs(long, ours)
    inkling.stretch(long, round(UNBOUNDED_S / TURN_S) * (READ + WRITTEN))
    sides = {'ours': sides['ours'], 'hf_unbounded': grown}
    unbounded = side_by_side(sides, max(5, rounds // 4), 'cache of ten minutes')
    quiet = side_by_side(
        {
            'ours': _ours(ours, make_decoder(ours), 0),
            'hf_cache': _theirs(inkling.CachedInkling(public, ours.config.full_window), ours, 0),
        },
        rounds,
        'silent micro-turns',
    )
    refill = _refill(ours, public, max(3, rounds // 20))
    return {
        'decoder_ms_p50': times['ours'].median_ms,
        'decoder_ms_p99': times['ours'].percentile_ms(99),
        'decoder_before_ms_p50': times['ours_before'].median_ms,
        'hf_cache_ms_p50': times['hf_cache'].median_ms,
        'speedup_vs_hf_cache': ratio(times['hf_cache'], times['ours']),
        'speedup_vs_before': ratio(times['ours_before'], times['ours']),
        'hf_unbounded_10min_ms_p50': unbounded['hf_unbounded'].median_ms,
        'speedup_vs_hf_unbounded_10min': ratio(unbounded['hf_unbounded'], unbounded['ours']),
        'decoder_silent_ms_p50': quiet['ours'].median_ms,
        'hf_cache_silent_ms_p50': quiet['hf_cache'].median_ms,
        'speedup_vs_hf_cache_silent': ratio(quiet['hf_cache'], quiet['ours']),
        **refill,
        **_floor(ours, times['ours']),
    }


@torch.inference_mode()
def check_equal(ours: Transformer, public) -> None:
    """Both sides do the same work: past a full window, their logits agree.

    Raises:
        AssertionError: They don't.
    """
    cached = inkling.CachedInkling(public, ours.config.full_window)
    decoder, state = make_decoder(ours), ours.init_state(1, MAX_APPEND)
    generator = torch.Generator().manual_seed(0)
    for length in [MAX_APPEND] * (ours.config.full_window // MAX_APPEND + 1) + [4, 1, 1, 3]:
        x_tD = torch.randn(length, ours.config.width, generator=generator)
        expected = cached.append(x_tD)
        found = decoder.logits(decoder.append([x_tD], [state])[0][-1:])[0]
        torch.testing.assert_close(found, expected, atol=TOLERANCE, rtol=TOLERANCE)


def fill(decoder: Decoder, state: TransformerState, width: int, tokens: int) -> None:
    """Appends noise until a state has seen so many tokens."""
    while state.appended < tokens:
        length = min(MAX_APPEND, tokens - state.appended)
        decoder.append([torch.randn(length, width)], [state])


def micro_turn(
    decoder: Decoder, state: TransformerState, x_tD: torch.Tensor, written: int = WRITTEN
) -> None:
    """Reads the tokens of a micro-turn and writes as many as are decoded."""
    logits = decoder.logits(decoder.append([x_tD], [state])[0][-1:])
    for _ in range(written):
        logits = decoder.logits(decoder.append([decoder.embed(logits.argmax(-1))], [state])[0])


def _ours(ours: Transformer, decoder: Decoder, written: int = WRITTEN) -> Callable[[], None]:
    state, width = ours.init_state(1, MAX_APPEND), ours.config.width
    x_tD = torch.randn(READ, width)

    @torch.inference_mode()
    def step() -> None:
        micro_turn(decoder, state, x_tD, written)

    with torch.inference_mode():
        fill(decoder, state, width, ours.config.full_window + MAX_APPEND)
    return step


def _theirs(
    cached: inkling.CachedInkling, ours: Transformer, written: int = WRITTEN
) -> Callable[[], None]:
    x_tD = torch.randn(READ, ours.config.width)

    @torch.inference_mode()
    def step() -> None:
        logits = cached.append(x_tD)
        for _ in range(written):
            logits = cached.append(ours.embed(logits.argmax()[None, None])[0])

    for _ in range(ours.config.full_window // 64 + 1):
        cached.append(torch.randn(64, ours.config.width))
    return step


def _faster_attention(ours: Transformer):
    """The public model with the attention that is faster here; bf16 is not, at this size."""
    models = {name: inkling.build(ours, name) for name in ('eager', 'sdpa')}
    window = ours.config.full_window
    sides = {n: _theirs(inkling.CachedInkling(m, window), ours) for n, m in models.items()}
    times = side_by_side(sides, 10, 'attention of transformers')
    return models[min(times, key=lambda name: times[name].median_ms)]


def _refill(ours: Transformer, public, rounds: int) -> dict[str, float]:
    """Against reading the window anew each micro-turn, by whichever code does that faster."""
    x_TD = torch.randn(ours.config.full_window, ours.config.width)

    @torch.inference_mode()
    def forward() -> None:
        ours.logits(ours(x_TD[None])[:, -1])

    sides = {
        'ours': _ours(ours, make_decoder(ours)),
        'public': inkling.refill(public, x_TD),
        'forward': forward,
    }
    times = side_by_side(sides, rounds, 'reading the window anew', warm_up=1)
    faster = min(('public', 'forward'), key=lambda name: times[name].median_ms)
    return {
        'reprefill_ms_p50': times[faster].median_ms,
        'speedup_vs_reprefill': ratio(times[faster], times['ours']),
    }


def _floor(ours: Transformer, taken: Times) -> dict[str, float]:
    """The time that reading weights, keys and values once a pass would take by itself."""
    config = ours.config
    weights = sum(p.numel() for name, p in ours.named_parameters() if 'embedding' not in name)
    state = ours.init_state(1, MAX_APPEND)
    held = sum(t.numel() for block in state.blocks for t in block.tensors())
    # Weights are packed as fp16, the memory is fp32.
    turn_bytes = (1 + WRITTEN) * (2 * weights + 4 * held)
    source, target = torch.ones(2, 32 << 20).unbind(0)
    copies = side_by_side({'copy': lambda: target.copy_(source)}, 9, 'bandwidth')['copy']
    rate = 2 * 4 * source.numel() / (copies.median_ms / 1e3)
    floor_ms = 1e3 * turn_bytes / rate
    return {
        'turn_megabytes': turn_bytes / 1e6,
        'bandwidth_gb_s': rate / 1e9,
        'bandwidth_floor_ms': floor_ms,
        'bandwidth_share': floor_ms / taken.median_ms,
        'layers': config.layers,
        'window_tokens': config.full_window,
    }
