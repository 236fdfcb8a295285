"""Every method, as an objective, a predictor and a target setting."""

import dataclasses
import inspect
from collections.abc import Mapping, Sequence
from typing import Any

import keras

from minc_tf._checks import check_choice
from minc_tf._pixels import PIXELS
from minc_tf.models.assembly import assemble
from minc_tf.models.other_weights import CosineMomentum
from minc_tf.models.two_view import TwoViewModel
from minc_tf.objectives import OBJECTIVES, Objective


@dataclasses.dataclass(frozen=True)
class Method:
    """What makes a method: heads, objective and target, as on CIFAR-10.

    Attributes:
        summary: string, what is compared with what.
        reference: string, where it was published.
        objective_name: string, the objective as settings name it.
        arguments: dict, arguments of its class that differ from the
            defaults.
        projector: dict, arguments of `minc_tf.models.mlp`.
        predictor: dict, arguments of `mlp`, or None for no predictor.
        target_momentum: float, momentum of the target network at the first
            step, or None for no target network.
        constant_predictor_rate: bool, whether the predictor trains at the
            peak learning rate throughout.
    """

    summary: str
    reference: str
    objective_name: str
    arguments: Mapping = dataclasses.field(default_factory=dict)
    projector: Mapping = dataclasses.field(default_factory=dict)
    predictor: Mapping | None = None
    target_momentum: float | None = None
    constant_predictor_rate: bool = False

    @property
    def objective(self) -> type[Objective]:
        """The class of the objective."""
        return OBJECTIVES.find(self.objective_name, "Method.objective_name")

    def objective_arguments(self, dim: int, /, **changes: Any) -> dict:
        """The objective's arguments for embeddings of `dim` dimensions."""
        given = {**self.arguments, **changes}
        if "dim" in inspect.signature(self.objective).parameters:
            given.setdefault("dim", dim)
        return given

    def predictor_arguments(
        self, dim: int, widths: Sequence[int] | None = None
    ) -> dict:
        """The predictor's arguments; its outputs have `dim` dimensions."""
        given = dict(self.predictor)
        given["widths"] = (*(widths or given["widths"])[:-1], dim)
        return given

    def parts(
        self,
        projector_widths: Sequence[int] | None = None,
        predictor_widths: Sequence[int] | None = None,
        **objective: Any,
    ) -> dict:
        """Objective and heads, as `assemble` and a run's settings have them."""
        projector = dict(self.projector)
        if projector_widths is not None:
            projector["widths"] = tuple(projector_widths)
        # What is wrong with no widths at all, `mlp` says.
        dim = projector["widths"][-1] if projector["widths"] else 0
        arguments = self.objective_arguments(dim, **objective)
        predictor = {}
        if self.predictor is not None:
            predictor = self.predictor_arguments(dim, predictor_widths)
        return {
            "objective": {"name": self.objective_name, **arguments},
            "projector": projector,
            "predictor": predictor,
        }


_MINC = "Guo et al. 2025, arXiv 2504.16667"
_SPECTRAL = "HaoChen et al. 2021, arXiv 2106.04156"
_SIMCLR = "Chen et al. 2020, arXiv 2002.05709"
_DCL = "Yeh et al. 2022, arXiv 2110.06848"
_GARRIDO = "Garrido et al. 2023, arXiv 2206.02574"
_BYOL = "Grill et al. 2020, arXiv 2006.07733"
_SIMSIAM = "Chen & He 2021, arXiv 2011.10566"
_VICREG = "Bardes et al. 2022, arXiv 2105.04906"
_FMICL = "Lu et al. 2023, arXiv 2402.10150"
_MIO = "Manna et al. 2021, arXiv 2111.12664"
_BARLOW = "Zbontar et al. 2021, arXiv 2103.03230"
_TICO = "Zhu et al. 2022, arXiv 2206.10698"

_SMALL = {"widths": (2048, 128)}
_EIGEN = {"widths": (2048, 1000)}
_WIDE = {"widths": (2048, 2048, 2048), "final_bias": False}
_BYOL_PROJECTOR = {"widths": (4096, 256)}
_BYOL_LOSS = {"form": "distance", "weight": 2.0}


def _contrastive(what, reference, **arguments):
    """A row of the NT-Xent family."""
    return Method(
        f"each view against the 2B - 2 views of other images: {what}",
        reference,
        "nt_xent",
        arguments,
        _SMALL,
    )


def _fmicl(divergence, title):
    """A row of the f-MICL family."""
    return Method(
        f"Gaussian kernel of pairs against that of other pairs: {title}",
        _FMICL,
        "fmicl",
        {"divergence": divergence},
        _SMALL,
    )


#: All methods by name: the one table behind `build`, recipes and benchmarks.
METHODS: dict[str, Method] = {
    "minc": Method(
        "each view with its pair, and with the running second moment",
        _MINC,
        "minc",
        {"mu": 10.0},
        _EIGEN,
    ),
    "minc_target": Method(
        "MINC, the second view from a moving average of the network",
        f"{_MINC}; target network: {_BYOL}",
        "minc",
        {"mu": 10.0},
        _EIGEN,
        target_momentum=0.99,
    ),
    "spectral": Method(
        "each view with its pair, and with the other views of other images",
        _SPECTRAL,
        "spectral",
        {"mu": 1.0},
        {**_EIGEN, "final_norm": True, "final_bias": False},
    ),
    "simclr": _contrastive("cosine", _SIMCLR, temperature=0.5),
    "simclr_sq": _contrastive(
        "squared cosine", _GARRIDO, temperature=0.5, similarity="square"
    ),
    "simclr_abs": _contrastive(
        "absolute cosine", _GARRIDO, temperature=0.5, similarity="absolute"
    ),
    "dcl": _contrastive(
        "cosine, decoupled", _DCL, temperature=0.1, decoupled=True
    ),
    "dcl_sq": _contrastive(
        "squared cosine, decoupled",
        _GARRIDO,
        temperature=0.1,
        similarity="square",
        decoupled=True,
    ),
    "dcl_abs": _contrastive(
        "absolute cosine, decoupled",
        _GARRIDO,
        temperature=0.1,
        similarity="absolute",
        decoupled=True,
    ),
    "byol": Method(
        "prediction from one view with the target's embedding of the other",
        _BYOL,
        "negative_cosine",
        _BYOL_LOSS,
        _BYOL_PROJECTOR,
        predictor={"widths": (4096, 256)},
        target_momentum=0.99,
    ),
    "linear_byol": Method(
        "BYOL with a linear predictor",
        _BYOL,
        "negative_cosine",
        _BYOL_LOSS,
        _BYOL_PROJECTOR,
        predictor={"widths": (256,), "final_bias": False},
        target_momentum=0.99,
    ),
    "simsiam": Method(
        "prediction from one view with the embedding of the other",
        _SIMSIAM,
        "negative_cosine",
        projector={**_WIDE, "final_norm": True},
        predictor={"widths": (512, 2048)},
        constant_predictor_rate=True,
    ),
    "vicreg": Method(
        "pairs; variance and covariance of the dimensions",
        _VICREG,
        "vicreg",
        projector=_WIDE,
    ),
    "vicreg_exp": Method(
        "VICReg with a log-sum-exp of the covariances",
        _GARRIDO,
        "vicreg_exp",
        projector=_WIDE,
    ),
    "vicreg_ctr": Method(
        "VICReg-exp with images in the place of dimensions",
        _GARRIDO,
        "vicreg_ctr",
        projector=_WIDE,
    ),
    "fmicl_kl": _fmicl("kl", "Kullback-Leibler"),
    "fmicl_js": _fmicl("js", "Jensen-Shannon"),
    "fmicl_pearson": _fmicl("pearson", "Pearson chi-square"),
    "fmicl_hellinger": _fmicl("hellinger", "squared Hellinger"),
    "fmicl_tsallis": _fmicl("tsallis", "Tsallis"),
    "fmicl_vlc": _fmicl("vlc", "Vincze-Le Cam"),
    "mio": Method(
        "each pair, and each pair of different images, as binary choices",
        _MIO,
        "mio",
        projector=_SMALL,
    ),
    "mio_improved": Method(
        "MIO with an upper bound of the repulsion",
        _MIO,
        "mio",
        {"form": "improved"},
        _SMALL,
    ),
    "barlow_twins": Method(
        "correlations of the dimensions of two views with the identity",
        _BARLOW,
        "barlow_twins",
        projector=_WIDE,
    ),
    "tico": Method(
        "each view with its pair, and with the running covariance",
        _TICO,
        "tico",
        {"rho": 20.0},
        _BYOL_PROJECTOR,
        target_momentum=0.99,
    ),
}


def methods() -> list[str]:
    """Names every method that `build` knows.

    Returns:
        list of strings; `minc_tf.models.METHODS` holds what each consists of.

    Example:
    ```python
    import minc_tf

    for name in minc_tf.methods():
        print(name, "-", minc_tf.models.METHODS[name].summary)
    ```
    """
    return list(METHODS)


def find_method(name: str) -> Method:
    """Looks a method up.

    Args:
        name: string, one of `methods()`.

    Returns:
        The `Method`.

    Raises:
        ValueError: for an unknown name, with the nearest.
    """
    return METHODS[check_choice("method", name, METHODS)]


def build(
    method: str,
    encoder: keras.Model,
    *,
    projector_widths: Sequence[int] | None = None,
    predictor_widths: Sequence[int] | None = None,
    target_momentum: float | None = None,
    steps: int | None = None,
    micro_batches: int = 1,
    views: keras.Layer | None = None,
    value_range: tuple[float, float] | None = PIXELS,
    name: str | None = None,
    **objective_arguments: Any,
) -> TwoViewModel:
    """Builds the model of a method, with its published heads and settings.

    Args:
        method: string, one of `minc_tf.methods()`.
        encoder: Keras model from images (B, H, W, C) to features (B, F).
        projector_widths: dimensions of the projector's layers, if other than
            the method's; the last is that of the embedding.
        predictor_widths: the same for the predictor, of methods that have
            one; the last must be the embedding's.
        target_momentum: float in [0, 1], momentum of the target network at
            the first step, of methods that have one.
        steps: int, number of training steps: the momentum of a target network
            rises to one along a cosine (`CosineMomentum`). Without it the
            momentum is constant; methods without a target need no number.
        micro_batches: see `TwoViewModel`.
        views: layer that makes both views from images in the train step, such
            as `minc_tf.augment.TwoViews`; see `TwoViewModel`.
        value_range: `(low, high)`, the range of the pixels that the model is
            given; see `TwoViewModel`.
        name: string, the model's name.
        **objective_arguments: arguments of the objective's class, if other
            than the method's.

    Returns:
        A `TwoViewModel` (`MINCModel` where the objective is MINC), not
        compiled.

    Raises:
        ValueError: for an unknown method, an argument that the method has no
            use for, or one out of range.

    Example:
    ```python
    import minc_tf

    encoder = minc_tf.models.small_resnet(filters=(8, 16))
    model = minc_tf.build(
        "simclr", encoder, projector_widths=(32, 16), temperature=0.2
    )
    model.compile(optimizer="adam")
    ```
    """
    row = find_method(method)
    _check_used(method, row, predictor_widths, target_momentum)
    known = inspect.signature(row.objective).parameters
    for key in objective_arguments:
        if key not in known:
            raise ValueError(
                f"build: {key!r} is no argument of {row.objective.__name__}; "
                f"valid are {', '.join(known)}."
            )
    parts = row.parts(projector_widths, predictor_widths, **objective_arguments)
    if predictor_widths is not None:
        dim = parts["projector"]["widths"][-1]
        if predictor_widths[-1] != dim:
            raise ValueError(
                "build: the last of predictor_widths must be the embedding's "
                f"dimension, {dim}; received {tuple(predictor_widths)}."
            )
    momentum = row.target_momentum
    if momentum is not None:
        momentum = momentum if target_momentum is None else target_momentum
        momentum = (
            momentum if steps is None else CosineMomentum(momentum, steps)
        )
    return assemble(
        encoder,
        **parts,
        target_momentum=momentum,
        micro_batches=micro_batches,
        views=views,
        value_range=value_range,
        name=name,
    )


def _check_used(method, row, predictor_widths, target_momentum):
    """Raises a ValueError for an argument without effect."""
    if row.predictor is None and predictor_widths is not None:
        raise ValueError(
            f"build: {method} has no predictor; received predictor_widths="
            f"{predictor_widths!r}."
        )
    if row.target_momentum is None and target_momentum is not None:
        raise ValueError(
            f"build: {method} has no target network; received "
            f"target_momentum={target_momentum!r}."
        )
