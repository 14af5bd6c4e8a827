"""Result files as Python values: `from utils.read_results import load_results`; see
classification/results/read_results.py."""
from classification.results.predictions import load_predictions  # noqa: F401
from classification.results.read_results import load_config, load_results, test_curves  # noqa: F401
