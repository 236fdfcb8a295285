"""The settings of runs, as a report compares them."""

import json
from collections.abc import Sequence


def flatten(settings: dict, prefix: str = "") -> dict:
    """Settings of sections as `section.key`."""
    flat = {}
    for key, value in settings.items():
        if isinstance(value, dict) and value:
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def changes(settings: dict, defaults: dict) -> list[tuple]:
    """What settings set otherwise than the defaults: (key, value, default)."""
    default = flatten(json.loads(json.dumps(defaults)))
    return [
        (key, text(value), text(default[key]) if key in default else None)
        for key, value in flatten(settings).items()
        if key not in default or value != default[key]
    ]


def differences(runs: Sequence[dict]) -> list[tuple]:
    """Settings in which runs differ: (key, values), None where one lacks it."""
    flat = [flatten(settings) for settings in runs]
    rows = []
    for key in dict.fromkeys(key for settings in flat for key in settings):
        values = [text(s[key]) if key in s else None for s in flat]
        if len(set(values)) > 1:
            rows.append((key, values))
    return rows


def text(value) -> str:
    """A value as JSON has it; strings without quotes, none for null."""
    if value is None:
        return "none"
    return value if isinstance(value, str) else json.dumps(value)


def headline(config: dict) -> str:
    """What a run is, in a line: method, data, encoder, length."""

    def named(section, key="name"):
        found = config.get(section)
        return found.get(key) if isinstance(found, dict) else None

    subject = [named("objective"), named("data") and f"on {named('data')}"]
    parts = [
        " ".join(filter(None, subject)),
        named("encoder"),
        "epochs" in config and f"{config['epochs']} epochs",
        "batch_size" in config and f"batch {config['batch_size']}",
    ]
    return " · ".join(str(part) for part in parts if part)
