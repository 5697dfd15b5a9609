# SPDX-License-Identifier: Apache-2.0
"""English as Germans, French and Spaniards say it, for the voices that SVOX Pico has of them.

espeak-ng says which sounds an English text has; each becomes the nearest that the other language
has, in X-SAMPA, which Pico reads in <phoneme> tags.
"""

from __future__ import annotations

from . import ipa

_COMMON = {sound: sound for sound in 'pbtdkfvszmnlj'} | {'ɡ': 'g', 'x': 'k', 'ʔ': 't', 'ɾ': 't'}
_COMMON |= {'ˈ': '"', 'tʃ': 'tS', 'i': 'i', 'ᵻ': 'i'}
_GERMAN = (
    'ʃ S, ʒ Z, dʒ dZ, θ s, ð d, ŋ N, h h, w v, ɹ R, r R, iː i:, i i:, ɪ I, ᵻ I, eɪ e:, ɛ E, æ E, '
    'ɑː a:, ɔː O, ɔ O, oː O, oʊ o:, ʊ U, uː u:, ʌ a, ə @, ɐ @, ɚ 6, ɜː 9, aɪ aI, aʊ aU, ɔɪ OY'
)
_FRENCH = (
    'ʃ S, ʒ Z, dʒ dZ, θ s, ð z, ŋ N, w w, ɹ R, r R, iː i, ɪ i, eɪ Ej, ɛ E, æ a, ɑː a, ɔː O, ɔ O, '
    'oː O, oʊ o, ʊ u, uː u, ʌ 9, ə 9, ɐ 9, ɚ 9R, ɜː 9, aɪ aj, aʊ au, ɔɪ Oj'
)
_SPANISH = (
    'ʃ tS, ʒ tS, dʒ jj, θ T, ð d, ŋ n, h x, w w, ɹ r, r r, v b, z s, iː i, ɪ i, eɪ ej, ɛ e, æ a, '
    'ɑː a, ɔː o, ɔ o, oː o, oʊ ow, ʊ u, uː u, ʌ a, ə a, ɐ a, ɚ er, ɜː e, aɪ aj, aʊ aw, ɔɪ oj'
)


def _table(pairs: str) -> dict[str, str]:
    return _COMMON | dict(pair.split(' ') for pair in pairs.split(', '))


SOUNDS = {'de-DE': _table(_GERMAN), 'fr-FR': _table(_FRENCH), 'es-ES': _table(_SPANISH)}


def spoken(text: str, language: str) -> str:
    """English text as Pico's voice of another language is to read it, word by word in X-SAMPA.

    Args:
        text: words with commas and an end mark, which are kept.
        language: 'de-DE', 'fr-FR' or 'es-ES'.

    Raises:
        CalledProcessError: espeak-ng failed.
    """
    parts = []
    for part in text[:-1].split(','):
        words = [''.join(ipa.spelt(word, SOUNDS[language])) for word in ipa.sounds(part)]
        parts.append(' '.join(f"<phoneme alphabet='xsampa' ph='{word}'/>" for word in words))
    return ', '.join(parts) + text[-1]
