"""How a report writes numbers: names, units, and which are better."""

import math
import re

#: Names that a column's own would not tell, and what the number says.
_KNOWN = {
    "loss": ("Loss", "what is minimised"),
    "knn_accuracy": (
        "kNN accuracy",
        "of the features, by nearest neighbours among labelled images",
    ),
    "chi2_information": (
        "χ² information",
        "lower bound of what the two views share, on training batches",
    ),
    "chi2_information_held_out": (
        "χ² information, held out",
        "the same on images that are not trained on",
    ),
    "chi2_information_held_out_minc": (
        "χ² information, held out, MINC's form",
        "with the second moment of training",
    ),
    "learning_rate": ("Learning rate", "of the step that comes next"),
    "images_per_second": ("Images per second", "without the first step"),
    "seconds": ("Training time", "in seconds"),
    "tensorflow": ("TensorFlow", ""),
    "embedding_std": (
        "Spread of embeddings",
        "0 where all images point the same way, up to 1",
    ),
    "embedding_rank": (
        "Rank of embeddings",
        "directions in which those of a few hundred images vary",
    ),
    "effective_rank": (
        "Effective rank",
        "directions that the embeddings use",
    ),
    "effective_rank_held_out": (
        "Effective rank, held out",
        "the same on images that are not trained on",
    ),
    "embedding_std_min": (
        "Least spread of a dimension",
        "0 where a dimension tells no images apart",
    ),
    "embedding_std_mean": ("Mean spread of dimensions", "at best near 1"),
    "rank_me": ("RankMe", "a soft count of the dimensions used"),
    "alignment": ("Alignment", "distance of the two views of an image"),
    "uniformity": ("Uniformity", "lower where embeddings spread evenly"),
    "second_moment_trace": (
        "Trace of the second moment",
        "mean squared norm of the embeddings",
    ),
    "rate": ("Rate of the second moment", "share that a batch replaces"),
}

#: Words whose spelling a column's name cannot have.
_SPELLED = {"chi2": "χ²", "knn": "kNN", "map": "mAP"}

_MINUS = "\N{MINUS SIGN}"

_HIGHER = re.compile(r"accuracy|recall|(^|_)map(_|$)|images_per_second")
_SHARES = re.compile(r"accuracy|recall|(^|_)map(_|$)|share")
_CHOICES = re.compile(r"_(l2|learning_rate|held_out_accuracy|images)$")


def title(key: str) -> str:
    """The name of a number for a reader."""
    if key in _KNOWN:
        return _KNOWN[key][0]
    share = re.fullmatch(r"captured_share_(\d+)", key)
    if share:
        return f"Information in the first {share[1]} coordinates"
    text = re.sub(r"_k(\d+)", r", k = \1", key).replace("_", " ")
    for plain_name, name in _SPELLED.items():
        text = re.sub(rf"\b{plain_name}\b", name, text)
    named = text.startswith(tuple(_SPELLED.values()))
    return text if named else text[:1].upper() + text[1:]


def meaning(key: str) -> str:
    """What the number says, empty where the name says it."""
    return _KNOWN.get(key, ("", ""))[1]


def is_share(key: str) -> bool:
    """Whether the number is a share of 1, to be shown in per cent."""
    return bool(_SHARES.search(key))


def is_choice(key: str) -> bool:
    """Whether an evaluation chose the number, rather than measured it."""
    return bool(_CHOICES.search(key))


def is_better_higher(key: str) -> bool:
    """Whether more of the number is better, in all runs."""
    return bool(_HIGHER.search(key)) and not is_choice(key)


def show(key: str, value) -> str:
    """A value, list of values, or anything else as text, with its unit."""
    if value is None:
        return "—"
    if isinstance(value, list):
        return ", ".join(show(key, item) for item in value)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return str(value)
    if not math.isfinite(value):
        return str(value)
    if is_share(key):
        return f"{100 * value:.1f} %"
    if key == "seconds":
        return duration(value)
    if abs(value) >= 1000 or value == int(value):
        return f"{value:,.0f}".replace("-", _MINUS)
    return plain(value, 4)


def plain(value: float, digits: int = 6) -> str:
    """A number with that many digits at most, and a minus of full length."""
    return f"{value:.{digits}g}".replace("-", _MINUS)


def moment(date) -> str:
    """A date of ISO 8601, to the minute, as 2026-01-31 14:05."""
    found = re.match(r"(\d{4}-\d\d-\d\d)T(\d\d:\d\d)", str(date))
    return " ".join(found.groups()) if found else str(date)


def duration(seconds: float) -> str:
    """Seconds as the two largest units that they have."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    parts = ((days, "d"), (hours, "h"), (minutes, "min"), (seconds, "s"))
    first = next(i for i, (count, _) in enumerate(parts) if count)
    return " ".join(f"{count} {unit}" for count, unit in parts[first:][:2])
