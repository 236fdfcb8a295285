"""Data sets that TensorFlow Datasets downloads and prepares."""

import os
import pathlib
import shutil
import socket
import urllib.parse
import urllib.request

_CONNECT_SECONDS = 10.0
# How many of a data set's servers are asked whether they are there.
_SERVERS = 3


def prepare(builder, name: str, data_dir: str | None) -> None:
    """Download and prepare a data set, or say in one line why not.

    Nothing half-made is left behind. `data_dir` is for the message alone.
    """
    root = pathlib.Path(builder._data_dir_root)
    folders = (root / "downloads", root / builder.name)
    before = {path for folder in folders for path in _below(folder)}
    new = not root.exists()
    done = False
    try:
        if not any(map(_is_whole, _below(folders[0] / builder.name))):
            _check_network(builder.url_infos)
        builder.download_and_prepare()
        done = True
    except MemoryError:
        raise
    except Exception as error:
        # Whatever a data set's own code leads to; --debug shows all of it.
        cause = " ".join(str(error).split())
        place = "data_dir" if data_dir is None else f"data_dir={data_dir!r}"
        raise ValueError(
            f"name={name!r} could not be downloaded and prepared "
            f"({type(error).__name__}: {_shortened(cause)}); set data_dir to a "
            f"folder where it is prepared ({place} has none), or prepare it "
            "where there is a network"
        ) from error
    finally:
        if not done:
            for folder in folders:
                _remove_half_made(folder, before)
            if new and root.is_dir() and not any(root.iterdir()):
                root.rmdir()


def _check_network(url_infos):
    """Raise an `OSError` if none of the servers is there.

    The download itself would try for minutes, a server after the other.
    """
    if urllib.request.getproxies():
        return
    parts = map(urllib.parse.urlsplit, url_infos)
    ports = {"http": 80, "https": 443, "ftp": 21}
    places = {
        (part.hostname, part.port or ports[part.scheme])
        for part in parts
        if part.hostname and part.scheme in ports
    }
    fault = None
    for host, port in sorted(places)[:_SERVERS]:
        try:
            socket.create_connection((host, port), _CONNECT_SECONDS).close()
            return
        except OSError as error:
            fault = ConnectionError(f"{host} cannot be reached: {error}")
    if fault is not None:
        raise fault


def _below(folder):
    return [folder, *folder.rglob("*")] if folder.exists() else []


def _is_whole(path):
    """Tell whether a download is here already, in part or as a whole."""
    return path.is_file() and not any(".tmp." in part for part in path.parts)


def _remove_half_made(folder, before):
    """Remove new files that are not whole, and folders left empty."""
    for path in sorted(_below(folder), reverse=True):
        if path in before or not path.exists():
            continue
        half = ".tmp." in path.name or "incomplete" in path.name
        if half and path.is_dir():
            shutil.rmtree(path)
        elif half or path.name.endswith(".INFO"):
            path.unlink()
        elif path.is_dir() and not os.listdir(path):
            path.rmdir()


def _shortened(text, most=300):
    return text if len(text) <= most else f"{text[:most]}..."
