"""The suite that every algorithm of trialbus passes. `python -m pytest` in this folder."""

from hill_climbing import DESCRIPTION

from trialbus.testkit.algorithm_contract import AlgorithmContract
from trialbus.testkit.algorithm_runs import Subject


class TestHillClimbing(AlgorithmContract):
    subject = Subject(description=DESCRIPTION, follows_distributions=False)
