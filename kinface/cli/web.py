"""``kinface web``."""

from __future__ import annotations

from pathlib import Path

from swinface.choices import SHIPPED
from swinface.files import InputError, describe_install


def web(*, model: list[Path] | None = None, swinface: Path = SHIPPED, port: int = 0) -> None:
    """Compare photos in a browser, and read reports there.

    Drop photos of two people, or of father, mother and child. The page shows the faces found, where the scores lie
    among those of relatives and strangers, which regions of the faces matter, and age, expression and attributes.
    Nothing is stored and nothing leaves this computer: the printed address can be reached only from here. Ctrl-C stops
    the server.

    Parameters
    ----------
    model
        Folder of a trained kinship model; repeat the option for several. By default both that come with the package,
        shipped and shipped-debiased.
    swinface
        Folder of the SwinFace that tells age, expression and attributes; by default the one that comes with the
        package.
    port
        Port of this computer; by default any that is free.
    """
    try:
        from kinface.web.app import open_server
    except ModuleNotFoundError as error:
        if error.name != "flask":
            raise
        raise InputError(
            f"pages need packages that are not installed: {describe_install('web')} installs them."
        ) from None
    from kinface.models.examine import BOTH, Examiner

    server, address = open_server(Examiner(model or BOTH, swinface), port)
    print(f"Open {address} in a browser. Ctrl-C stops the server.", flush=True)
    server.serve_forever()
