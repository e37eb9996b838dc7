"""The fuzz targets run, on a few inputs of a fixed seed; for more: ``python -m tests.fuzz TARGET --minutes 10``."""

import importlib
import random

import pytest

from tests.fuzz.__main__ import TARGETS, mutate

INPUTS = 150


@pytest.mark.parametrize("name", TARGETS)
def test_a_target_finds_nothing(name: str) -> None:
    target = importlib.import_module(f"tests.fuzz.fuzz_{name}")
    seeds = target.seeds()
    generator = random.Random(7)
    for content in seeds:
        target.one(content)
    for _ in range(INPUTS):
        target.one(mutate(generator.choice(seeds), seeds, generator))
