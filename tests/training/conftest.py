"""Fixtures of the tests that start training in processes of their own."""

import pytest

from tests.training.runs import write_config, write_corpus


@pytest.fixture(scope="session")
def corpus(tmp_path_factory):
    """A folder of pairs to train on."""
    return write_corpus(tmp_path_factory.mktemp("corpus"))


@pytest.fixture(scope="session")
def config(tmp_path_factory):
    """A config file; the programs compiled for it are kept beside it, for all tests."""
    return write_config(tmp_path_factory.mktemp("config"))
