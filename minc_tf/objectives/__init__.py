"""What is minimised: Keras layers from two embeddings to a scalar loss."""

from minc_tf._imports import register_classes
from minc_tf.objectives.barlow_twins import BarlowTwins
from minc_tf.objectives.base import OBJECTIVES, Objective
from minc_tf.objectives.endpoint import Endpoint
from minc_tf.objectives.fmicl import FMICL
from minc_tf.objectives.minc import MINC
from minc_tf.objectives.mio import MIO
from minc_tf.objectives.negative_cosine import NegativeCosine
from minc_tf.objectives.nt_xent import NTXent
from minc_tf.objectives.spectral import SpectralContrastive
from minc_tf.objectives.tico import TiCo
from minc_tf.objectives.vicreg import VICReg, VICRegCtr, VICRegExp

__all__ = [
    "FMICL",
    "MINC",
    "MIO",
    "OBJECTIVES",
    "BarlowTwins",
    "Endpoint",
    "NTXent",
    "NegativeCosine",
    "Objective",
    "SpectralContrastive",
    "TiCo",
    "VICReg",
    "VICRegCtr",
    "VICRegExp",
]

register_classes()
