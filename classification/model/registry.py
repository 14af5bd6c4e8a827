"""The table of selections, and a method made from a row of the table of models."""
from classification.model.cnn_baseline_model import FixedPattern, SingleNetwork
from classification.model.cnn_bruteforce_model import BruteForce
from classification.model.cnn_darts_model import Darts
from classification.model.cnn_den_model import DEN
from classification.model.cnn_dfcnn_model import LL_hybrid_DFCNN_minibatch
from classification.model.cnn_lasem_model import FixedLasem, GroupedLasem, Lasem
from utils.utils_env_cl import MODELS

SELECTIONS = {'hybrid': FixedPattern, 'hybrid_dfcnn': LL_hybrid_DFCNN_minibatch, 'single_network': SingleNetwork,
              'lasem': Lasem, 'lasemg': GroupedLasem, 'lasem_fixed': FixedLasem, 'darts': Darts, 'bruteforce': BruteForce,
              'den': DEN}


def make_method(model_type, setting):
    """The method of a canonical model type."""
    return SELECTIONS[MODELS[model_type].selection](setting)
