"""What setup.cfg cannot say: where recipes go, and the README's links."""

import pathlib
import re

from setuptools import find_packages, setup

readme = pathlib.Path(__file__).with_name("README.md").read_text("utf-8")


def without_link(match):
    """A link to a file beside the README as text: pages of packages lack it."""
    text, target = match.groups()
    if target.startswith(("http:", "https:")):
        return match.group()
    path = target.partition("#")[0]
    return text if text == path else f"{text} ({path})"


setup(
    long_description=re.sub(r"\[([^]]+)\]\(([^)]+)\)", without_link, readme),
    packages=[*find_packages(include=["minc_tf*"]), "minc_tf.recipes"],
    # They are written beside the library, which a reader opens first.
    package_dir={"minc_tf.recipes": "recipes"},
)
