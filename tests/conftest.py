"""Prepares TensorFlow once, before any test imports it."""
import os

os.environ['CUDA_VISIBLE_DEVICES'] = '-1'

from utils import runtime  # noqa: F401,E402
