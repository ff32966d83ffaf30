"""Helper models of the attacks are replaced by small stand-ins, unless a test asks for the real ones."""

import pytest
from attack_models import fake_filler, fake_similarity


@pytest.fixture(autouse=True, scope="session")
def stand_in_models():
    patch = pytest.MonkeyPatch()
    patch.setattr("zobench.attacks.word_attack.load_filler", fake_filler)
    patch.setattr("zobench.attacks.word_attack.load_similarity", fake_similarity)
    yield
    patch.undo()
