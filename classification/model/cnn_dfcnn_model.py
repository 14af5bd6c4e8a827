"""DF-CNN with a fixed transfer pattern (Lee, Stokes & Eaton, IJCAI 2019)."""
from classification.model.cnn_baseline_model import FixedPattern


class LL_hybrid_DFCNN_minibatch(FixedPattern):
    """Hybrid_DFCNN: the layers of the pattern are made from a shared knowledge base, the others are task-specific.

    The mechanism is `mechanisms.Deconvolution`; everything else is a fixed pattern like any other.
    """
