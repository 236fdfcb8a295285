"""Where recipes are: files of one's own, and those of the library.

Imports nothing of theirs: commands list and find recipes before Keras.
"""

import ast
import difflib
import os
import pathlib

#: What stands before the names of the library's own.
PREFIX = "minc_tf:"


def library_recipes() -> dict[str, pathlib.Path]:
    """The library's recipes: shapes/minc.py has the name `"shapes:minc"`."""
    package = pathlib.Path(__file__).parent
    # Installed, or in a checkout.
    folder = package / "recipes"
    if not folder.is_dir():
        folder = package.parent / "recipes"
    found = {}
    for path in sorted(folder.glob("**/*.py")):
        if _get_config(path):
            parts = path.relative_to(folder).with_suffix("").parts
            found[":".join(parts)] = path
    return found


def recipe_lines() -> list[str]:
    """One line for each of the library's recipes: what to call it, and what.

    The name has the argument that the recipe takes by default.
    """
    rows = []
    for name, path in library_recipes().items():
        defaults = _get_config(path).args.defaults
        argument = [ast.literal_eval(value) for value in defaults]
        docstring = ast.get_docstring(ast.parse(path.read_text()))
        rows.append(
            (PREFIX + ":".join([name, *argument]), docstring.splitlines()[0])
        )
    width = max((len(name) for name, _ in rows), default=0)
    return [f"{name:<{width}}  {line}" for name, line in rows]


def locate(recipe: str | os.PathLike) -> tuple[str, list[str]]:
    """The path of a recipe, and a list of its argument, if it has one.

    `"FILE.py:ARGUMENT"` or `"minc_tf:NAME:ARGUMENT"`, also without argument.
    """
    recipe = os.fspath(recipe)
    if recipe.startswith(PREFIX):
        return _locate_named(recipe)
    parts = recipe.split(":")
    for count in range(len(parts), 0, -1):
        path = ":".join(parts[:count])
        if os.path.isfile(path):
            rest = parts[count:]
            return path, [":".join(rest)] if rest else []
    path = pathlib.Path(parts[0])
    # What once was a file a method.
    table = pathlib.Path(f"{path.parent}.py")
    if len(parts) == 1 and path.suffix == ".py" and table.is_file():
        hint = f"; did you mean '{table}:{path.stem}'?"
    else:
        # A path in a checkout, or a name without what stands before it.
        words = list(path.with_suffix("").parts)
        if "recipes" in words:
            del words[: words.index("recipes") + 1]
        hint = _hint(":".join([*words, *parts[1:]]))
    raise FileNotFoundError(f"recipe {parts[0]!r} does not exist{hint}")


def _locate_named(recipe):
    """The same of one of the library's."""
    name = recipe.removeprefix(PREFIX).replace("/", ":")
    found = library_recipes()
    for known, path in found.items():
        if name == known:
            return str(path), []
        if name.startswith(f"{known}:"):
            return str(path), [name.removeprefix(f"{known}:")]
    raise FileNotFoundError(
        f"recipe {recipe!r} is none of the library's, "
        f"{', '.join(PREFIX + known for known in found)}{_hint(name)}"
    )


def _hint(name):
    """The end of a sentence, with the library's recipe of a similar name."""
    near = difflib.get_close_matches(name, library_recipes(), n=1)
    return f"; did you mean {PREFIX + near[0]!r}?" if near else "."


def _get_config(path):
    """The definition of a file's `get_config`; None where it has none."""
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.FunctionDef) and node.name == "get_config":
            return node
    return None
