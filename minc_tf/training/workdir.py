"""The folder of a run: what is in it, and whose it is."""

import json
import os
import pathlib
import shutil

from ml_collections import ConfigDict

from minc_tf.training.config import (
    FIXED_SECTIONS,
    default_config,
    to_json,
)


class Workdir:
    """Paths in a run's folder, and the rule that it holds one run.

    Args:
        path: path of the folder; created when it is claimed.

    Attributes:
        config: `config.json`, the resolved settings.
        checkpoint: `last.weights.h5`, everything needed to go on.
        model: `model.keras`, the whole model, at the end.
        metrics: `metrics.csv`, a row an epoch.
        events: `events/`, for TensorBoard.
        pictures: `pictures/`, PNG files.
        summary: `summary.json`, at the end.
    """

    def __init__(self, path: str | os.PathLike):
        """See the class."""
        self.path = pathlib.Path(path)
        self.config = self.path / "config.json"
        self.checkpoint = self.path / "last.weights.h5"
        self.model = self.path / "model.keras"
        self.metrics = self.path / "metrics.csv"
        self.events = self.path / "events"
        self.pictures = self.path / "pictures"
        self.summary = self.path / "summary.json"

    def check(self, config: ConfigDict, overwrite: bool = False) -> None:
        """Checks that a run with these settings may have the folder.

        Args:
            config: the run's settings.
            overwrite: bool, whether another run may be in it.

        Raises:
            ValueError: if the folder holds files that are no run's, or a run
                of other settings and `overwrite` is false.
        """
        if not self.config.exists():
            places = (self.path, *self.path.parents)
            place = next(path for path in places if path.exists())
            if not place.is_dir():
                raise ValueError(
                    f"workdir {str(self.path)!r} must be a folder; "
                    f"{str(place)!r} is a file."
                )
            if self.path.is_dir() and any(self.path.iterdir()):
                raise ValueError(
                    f"workdir {str(self.path)!r} is not empty and holds no "
                    "run; choose a new folder."
                )
        elif not overwrite and self._saved() != _complete(config):
            changed = _changed(self._saved(), _complete(config))
            raise ValueError(
                f"workdir {str(self.path)!r} holds a run of other settings "
                f"({changed}); choose another folder, or pass --overwrite to "
                "remove that run."
            )

    def claim(self, config: ConfigDict, overwrite: bool = False) -> None:
        """Makes the folder that of a run with these settings.

        Args:
            config: the run's settings.
            overwrite: bool, remove another run's files first (files that no
                run writes are left alone).

        Raises:
            ValueError: as `check`.
        """
        self.check(config, overwrite)
        if overwrite:
            self._clear()
        self.path.mkdir(parents=True, exist_ok=True)
        part = self.config.with_suffix(".tmp")
        part.write_text(to_json(config))
        os.replace(part, self.config)

    def read_config(self) -> ConfigDict:
        """The settings of the run in this folder.

        Raises:
            FileNotFoundError: if there is no run.
        """
        if not self.config.exists():
            raise FileNotFoundError(
                f"workdir {str(self.path)!r} holds no run: there is no "
                f"{self.config.name}."
            )
        return ConfigDict(self._saved())

    def _saved(self) -> dict:
        return _complete(ConfigDict(json.loads(self.config.read_text())))

    def _clear(self):
        # Not the settings, which mark the folder as a run's.
        files = (self.checkpoint, self.model, self.metrics, self.summary)
        for file in files:
            file.unlink(missing_ok=True)
        for folder in (self.events, self.pictures):
            shutil.rmtree(folder, ignore_errors=True)


def _complete(config: ConfigDict) -> dict:
    """Settings as JSON has them; what they leave out is as by default."""
    given = json.loads(to_json(config))
    default = json.loads(to_json(default_config()))
    merged = {**default, **given}
    for section in FIXED_SECTIONS:
        merged[section] = {**default[section], **given.get(section, {})}
    rate = default["optimizer"]["predictor_rate"]
    merged["optimizer"].setdefault("predictor_rate", rate)
    return merged


def _changed(old: dict, new: dict) -> str:
    """The first settings that differ, as `key: old -> new`."""
    before, after = _flat(old), _flat(new)
    keys = [k for k in {**before, **after} if before.get(k) != after.get(k)]
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
