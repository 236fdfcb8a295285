"""Which settings make a run what it is, and how two runs' settings differ."""

import json

from ml_collections import ConfigDict

from minc_tf.training.config import (
    FIXED_SECTIONS,
    MACHINE_SETTINGS,
    default_config,
    to_json,
)


def complete(config: ConfigDict) -> dict:
    """Settings as JSON has them; what they leave out is as by default."""
    given = json.loads(to_json(config))
    default = json.loads(to_json(default_config()))
    merged = {**default, **given}
    for section in FIXED_SECTIONS:
        merged[section] = {**default[section], **given.get(section, {})}
    rate = default["optimizer"]["predictor_rate"]
    merged["optimizer"].setdefault("predictor_rate", rate)
    return merged


def changed_settings(
    old: ConfigDict, new: ConfigDict, longer: bool = False
) -> str:
    """The first settings that make two runs different, or empty.

    `longer`: the new settings may ask for more epochs.
    """
    before, after = _flat(complete(old)), _flat(complete(new))
    keys = [k for k in {**before, **after} if before.get(k) != after.get(k)]
    keys = [k for k in keys if not k.startswith(MACHINE_SETTINGS)]
    if longer and keys == ["epochs"] and old.epochs < new.epochs:
        return ""
    shown = [f"{k}: {before.get(k)!r} -> {after.get(k)!r}" for k in keys[:3]]
    return ", ".join(shown) + (", ..." if len(keys) > 3 else "")


def _flat(settings, prefix=""):
    flat = {}
    for key, value in settings.items():
        if isinstance(value, dict):
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat
