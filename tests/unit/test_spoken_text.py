# SPDX-License-Identifier: Apache-2.0
"""What the planner hands over can be spoken, whatever a language model writes."""

import itertools
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interaction_node.sentence_stream import SentenceStream
from interaction_node.spoken_text import shortened, speakable

SPOKEN = re.compile(r"([a-z]+(['-][a-z]+)*'?[.,?!]?( |$))*")
WRITTEN = st.text(
    st.sampled_from(list("abcxyzABC 0123456789.,;:!?'-*#_`()[]<>%$&\n°é–1")), max_size=80
)


@pytest.mark.parametrize(
    ('written', 'spoken'),
    [
        ('Start in the **kitchen**!', 'start in the kitchen!'),
        ('1. Go out.\n2. Come in.\n', 'go out. come in.'),
        ('# Plan\n- one\n- two', 'plan. one. two'),
        ('It takes 25 minutes.', 'it takes twenty five minutes.'),
        ('In 1969 it cost $3.50.', 'in nineteen sixty nine it cost three point five dollars.'),
        ('1,500 steps', 'one thousand five hundred steps'),
        ('20% of 3-4 people', 'twenty percent of three to four people'),
        ('The 2nd door at 7:05', 'the second door at seven oh five'),
        ("It's -5°C", "it's minus five degrees celsius"),
        ('See [this page](https://a.b/c) 😀', 'see this page'),
        ('Café Zoë – at 8:00', "cafe zoe, at eight o'clock"),
        ('Really?! Yes...', 'really? yes.'),
        ('...', ''),
        ('99999999999999999', 'nine ' * 16 + 'nine'),
    ],
)
def test_writing_becomes_speech(written, spoken):
    assert speakable(written) == spoken


@given(WRITTEN)
def test_only_words_and_pauses_are_left(written):
    assert SPOKEN.fullmatch(speakable(written))


@given(st.text(max_size=60))
def test_any_text_is_speakable(written):
    assert SPOKEN.fullmatch(speakable(written))


@given(WRITTEN)
def test_speech_stays_as_it_is(written):
    spoken = speakable(written)
    assert speakable(spoken) == spoken


def test_long_speech_ends_after_a_sentence_or_a_word():
    assert shortened('one two. three four', 14) == 'one two.'
    assert shortened('one two three', 9) == 'one two'
    assert shortened('one two', 7) == 'one two'


@given(WRITTEN, st.integers(1, 60))
def test_speech_keeps_to_the_limit(written, limit):
    assert len(speakable(written, limit)) <= limit


def sentences(text: str, cuts: list[int]) -> tuple[list[str], str]:
    stream = SentenceStream()
    found = []
    edges = [0, *sorted(cut % (len(text) + 1) for cut in cuts), len(text)]
    for start, end in itertools.pairwise(edges):
        found += stream.push(text[start:end])
    return found, stream.rest


@given(st.lists(st.integers(0, 200), max_size=30))
def test_sentences_do_not_depend_on_how_the_stream_is_cut(cuts):
    text = 'Ask Dr. Who at 3.5 metres. 1. Then "go!" Now?\n2) Wait... e.g. here. Half a'
    found, rest = sentences(text, cuts)
    assert found == [
        'Ask Dr. Who at 3.5 metres.',
        '1. Then "go!"',
        'Now?',
        '2) Wait...',
        'e.g. here.',
    ]
    assert rest.strip() == 'Half a'
