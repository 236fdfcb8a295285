"""Images that a run holds out where its data have no test split."""

import copy
import logging
import os

from ml_collections import ConfigDict

from minc_tf.data import npz

_LOGGER = logging.getLogger(__name__)
#: The part that is held out where nothing is said.
_PART = 0.1


def with_held_out(config: ConfigDict) -> ConfigDict:
    """Settings in which slices of a split stand for `data.holdout`."""
    section = config.data
    part = section.holdout
    if part is None:
        part = _PART if _is_one_split(section) else 0.0
        if part:
            _LOGGER.info(
                "there is no test split; a tenth of the images is held out "
                "(config.data.holdout)"
            )
    if not part:
        return config
    config = copy.deepcopy(config)
    kept = f"{100.0 * (1.0 - part):.10g}%"
    split = section.split
    config.data.update(
        split=f"{split}[:{kept}]", test_split=f"{split}[{kept}:]", holdout=0.0
    )
    return config


def _is_one_split(section):
    """Whether the data are one split, and a test split is expected."""
    path, name = section.data_dir, section.name
    if (section.split, section.test_split) != ("train", "test"):
        return False
    if path is None:
        path = os.path.expanduser(name)
        name = "folder" if os.path.isdir(path) else "npz"
    if name == "folder":
        from minc_tf.data import folder  # it needs TensorFlow

        return folder.is_one_split(path)
    return name == "npz" and npz.is_one_split(path)
