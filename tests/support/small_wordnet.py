# SPDX-License-Identifier: Apache-2.0
"""A folder laid out as WordNet's, with a few examples of use."""

_LINES = (
    '  1 This software and database is being provided to you, the LICENSEE, "as is we say".',
    '00001740 03 n 01 entity 0 000 | that which exists; "an entity of great size"; "1 + 1 is 2"',
    '00002000 30 v 01 run 0 000 + 02 00 | move fast; "Don\'t run--you\'ll be out of breath"',
    '00003000 30 v 01 go 0 000 + 02 00 | travel; "go to the kitchen now"; "What does he want?"',
    '00004000 03 n 01 dog 0 000 | an animal; "a dog"; "The dog barked all night, as ever."',
)


def write_wordnet(folder):
    """Writes into a folder; returns it."""
    words = [f'{a}{b}' for a in 'kvzx' for b in ('orm', 'ilp', 'ust', 'ebb', 'oon')]
    more = [
        f'{place:08d} 03 n 01 thing 0 000 | one of many; "a {word} thing lay in the box"'
        for place, word in enumerate(words)
    ]
    (folder / 'data.noun').write_text('\n'.join([*_LINES, *more]), encoding='latin-1')
    return folder
