"""The folder of a run: whose it is."""

import json
import os
import shutil

from ml_collections import ConfigDict

from minc_tf._files import replacing
from minc_tf._run_folder import RunFolder
from minc_tf.training.config import to_json
from minc_tf.training.identity import changed_settings, complete


class Workdir(RunFolder):
    """The rule that a run's folder holds one run."""

    def check(self, config: ConfigDict, overwrite: bool = False) -> None:
        """Check that a run with these settings may have the folder."""
        places = (self.path, *self.path.absolute().parents)
        place = next(path for path in places if path.exists())
        if place.is_dir() and not os.access(place, os.W_OK | os.X_OK):
            raise PermissionError(
                f"workdir {str(self.path)!r} cannot be written to: no "
                f"permission in {str(place)!r}, or a read-only file system."
            )
        if not self.config.exists():
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
        elif not overwrite:
            saved = self.read_config()
            changed = changed_settings(saved, config, self.finished(saved))
            if changed and not changed_settings(saved, config, longer=True):
                raise ValueError(
                    f"workdir {str(self.path)!r} holds a run of "
                    f"{saved.epochs} epochs that has not ended; let it end "
                    f"before it goes on to config.epochs={config.epochs}."
                )
            if changed:
                raise ValueError(
                    f"workdir {str(self.path)!r} holds a run of other "
                    f"settings ({changed}); choose another folder, or pass "
                    "--overwrite to remove that run."
                )

    def claim(self, config: ConfigDict, overwrite: bool = False) -> None:
        """Make the folder this run's; `overwrite` clears another's first."""
        self.check(config, overwrite)
        if overwrite:
            self._clear()
        self.path.mkdir(parents=True, exist_ok=True)
        with replacing(self.config) as part:
            part.write_text(to_json(config))
        # A run that is trained for longer has not ended any more.
        if not self.finished(config):
            self.summary.unlink(missing_ok=True)

    def finished(self, config: ConfigDict) -> bool:
        """Whether the run with these settings ended, and left its results."""
        if not self.summary.exists():
            return False
        summary = json.loads(self.summary.read_text())
        # Before runs could end early, they ended with their last epoch.
        return summary.get("epochs", summary["epoch"]) == config.epochs

    def read_config(self) -> ConfigDict:
        """Return the settings of the run in this folder."""
        if not self.config.exists():
            raise FileNotFoundError(
                f"workdir {str(self.path)!r} holds no run: there is no "
                f"{self.config.name}."
            )
        try:
            saved = json.loads(self.config.read_text())
        except json.JSONDecodeError as error:
            raise ValueError(
                f"{self.config} is not the settings of a run: {error}"
            ) from error
        return ConfigDict(complete(ConfigDict(saved)))

    def _clear(self):
        # Not the settings, which mark the folder as a run's.
        files = (self.model, self.metrics, self.timing, self.summary)
        files += (self.spectrum, self.log)
        files += (self.embedding, self.evaluation, self.report)
        for file in files:
            file.unlink(missing_ok=True)
        for folder in (self.checkpoints, self.events, self.pictures):
            shutil.rmtree(folder, ignore_errors=True)
