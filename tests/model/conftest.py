# SPDX-License-Identifier: Apache-2.0
"""What tests of the phrase bank's plans share."""

import pytest
from small_wordnet import write_wordnet

from interaction_node.model.data import open_talk


@pytest.fixture
def wordnet(tmp_path_factory, monkeypatch):
    """A small WordNet in the place of the installed one, which a machine may not have."""
    folder = write_wordnet(tmp_path_factory.mktemp('wordnet'))
    monkeypatch.setattr(open_talk, 'WORDNET', folder)
    open_talk._sentences.cache_clear()
    yield
    open_talk._sentences.cache_clear()
