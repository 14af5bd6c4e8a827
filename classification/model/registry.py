"""The table of selections, and a method made from a row of the table of models."""
from classification.model.cnn_apd_model import additive_decomposition
from classification.model.cnn_baseline_model import FixedPattern, SingleNetwork
from classification.model.cnn_bruteforce_model import BruteForce
from classification.model.cnn_channel_gate_model import channel_gate
from classification.model.cnn_darts_model import Darts
from classification.model.cnn_den_model import DEN
from classification.model.cnn_dfcnn_model import LL_hybrid_DFCNN_minibatch
from classification.model.cnn_ewc_model import EWC
from classification.model.cnn_lasem_model import FixedLasem, GroupedLasem, Lasem
from classification.model.cnn_prognn_model import ProgNN
from utils.utils_env_cl import MODELS

SELECTIONS = {'hybrid': FixedPattern, 'hybrid_dfcnn': LL_hybrid_DFCNN_minibatch, 'single_network': SingleNetwork,
              'apd': additive_decomposition, 'channel_gate': channel_gate, 'prognn': ProgNN, 'ewc': EWC, 'den': DEN,
              'lasem': Lasem, 'lasemg': GroupedLasem, 'lasem_fixed': FixedLasem, 'darts': Darts, 'bruteforce': BruteForce}


def make_method(model_type, setting):
    """The method of a canonical model type."""
    return SELECTIONS[MODELS[model_type].selection](setting)
