"""The pages of the reference: every name that a package makes public.

Read from the sources, without an import: `__all__`, and where each name is
from.
"""

import ast
import dataclasses
import pathlib
import re

#: In the order of the reference.
PACKAGES = (
    "minc_tf",
    "minc_tf.objectives",
    "minc_tf.models",
    "minc_tf.augment",
    "minc_tf.data",
    "minc_tf.optimizers",
    "minc_tf.training",
    "minc_tf.evaluation",
    "minc_tf.search",
    "minc_tf.diagnostics",
    "minc_tf.report",
    "minc_tf.export",
)


@dataclasses.dataclass
class Package:
    """A package, as its `__init__.py` says.

    Attributes:
        name: string.
        names: the public names, in alphabetical order.
        origins: dict from names to the modules that hold them.
        remarks: dict from names of constants to the comments above them.
    """

    name: str
    names: list[str]
    origins: dict[str, str]
    remarks: dict[str, str]

    @property
    def page(self) -> str:
        """Path of its page on the site."""
        return f"reference/{self.name.removeprefix('minc_tf.')}.md"


def read_package(root: pathlib.Path, name: str) -> Package:
    """Reads the `__init__.py` of a package below `root`."""
    text = (root / name.replace(".", "/") / "__init__.py").read_text()
    tree = ast.parse(text)
    lists, origins = {}, {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign):
            lists[node.targets[0].id] = node.value
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                origins[alias.asname or alias.name] = node.module
    names = list(_strings(lists["__all__"], lists))
    remarks = {}
    for each in names:
        # Constants made here, or in the module of the name.
        module = origins.get(each, name)
        if not each.isupper():
            continue
        path = root / module.replace(".", "/")
        file = (
            path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
        )
        text = file.read_text()
        if re.search(rf"^{each}\b.* = ", text, re.M):
            remarks[each] = _remark(text, each)
    return Package(name, sorted(names, key=str.lower), origins, remarks)


def _strings(node, lists):
    """The strings of a list, those of the names in it among them."""
    for element in getattr(node, "elts", None) or node.keys:
        if isinstance(element, ast.Starred):
            yield from _strings(lists[element.value.id], lists)
        else:
            yield element.value


def _remark(text, name):
    """The `#:` comment above an assignment."""
    found = re.search(rf"((?:^#: ?.*\n)+){name}\b", text, re.M)
    if found is None:
        raise ValueError(f"{name} must have a comment '#: ...' above it.")
    return re.sub(r"^#: ?", "", found[1], flags=re.M).strip()


def pages(root: pathlib.Path) -> dict[str, str]:
    """The pages of the reference, by their paths on the site."""
    packages = [read_package(root, name) for name in PACKAGES]
    found = {package.page: _page(package, packages) for package in packages}
    rows = [
        f"| [{package.name}]({package.page.removeprefix('reference/')}) | "
        f"{_first_line(root, package.name)} |"
        for package in packages
    ]
    table = "\n".join(["| package | what |", "| --- | --- |", *rows])
    found["reference/index.md"] = (
        "# Reference\n\nEvery public name, from the docstrings. Names that "
        f"begin with `_`, and modules that are not named here, may change."
        f"\n\n{table}\n"
    )
    return found


def _first_line(root, name):
    path = root / name.replace(".", "/") / "__init__.py"
    return ast.get_docstring(ast.parse(path.read_text())).split("\n")[0]


def _page(package, packages):
    """A page: what the package is, then its names."""
    parts = [
        f"# {package.name}",
        _directive(
            package.name,
            members=False,
            show_root_heading=False,
            show_root_toc_entry=False,
        ),
    ]
    for name in package.names:
        home = _home(package, name, packages)
        path = f"{package.name}.{name}"
        if home is package:
            parts.append(_directive(path, heading_level=2))
            if name in package.remarks:
                parts.append(package.remarks[name])
        elif home is None:
            other = f"{name}.md"
            parts.append(
                f"## {name} {{ #{path} data-toc-label='{name}' }}\n\n"
                f"The package [{path}]({other})."
            )
        else:
            other = home.page.removeprefix("reference/")
            full = f"{home.name}.{name}"
            parts.append(
                f"## {name} {{ #{path} data-toc-label='{name}' }}\n\n"
                f"The same as [{full}]({other}#{full})."
            )
    return "\n\n".join(parts) + "\n"


def _home(package, name, packages):
    """The package on whose page a name is described; None for a package."""
    if f"{package.name}.{name}" in PACKAGES:
        return None
    origin = package.origins.get(name, package.name)
    holders = [p for p in packages if name in p.names and p is not packages[0]]
    for holder in holders:
        if origin == holder.name or origin.startswith(f"{holder.name}."):
            return holder
    return package


def _directive(path, **options):
    """What mkdocstrings replaces by an object's docstring."""
    lines = [
        f"        {key}: {str(value).lower()}" for key, value in options.items()
    ]
    return "\n".join([f"::: {path}", "    options:", *lines])
