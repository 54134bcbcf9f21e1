"""The option of commands that can work on a Ray cluster."""

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from app.resources import Resources

RayAddress = Annotated[
    str | None,
    typer.Option(
        "--ray",
        metavar="ADDRESS",
        help="Work on the Ray cluster with this head, HOST:PORT; `local`: one of this machine alone.",
    ),
]


def use_ray(resources: "Resources", address: str | None) -> "Resources":
    """The same, encoding on the cluster that the option names, however little there is to encode.

    Without the option the cluster of the settings is taken, where there is one, for what is much.
    """
    from app.encoders import RayUse

    if address is not None:
        resources.encoders.ray = RayUse(address, min_chars=0)
    elif resources.settings.ray_address is not None:
        resources.encoders.ray = RayUse(resources.settings.ray_address)
    return resources
