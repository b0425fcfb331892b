"""What the launcher's options do to a process: its own, and with ``--children`` those below."""

from __future__ import annotations

from greenify._launcher.options import Command

__all__ = ["apply"]


def apply(command: Command) -> None:
    """Patch this process, and turn on the features, as the options say.

    Raises:
        GreenifyError: as of `greenify.patch_all`.
    """
    from greenify.features import ask
    from greenify.patches import patch_all

    ask(command.features)
    patch_all(
        only=command.only,
        skip=command.skip,
        offload=command.offload or (),
        native=command.native or (),
    )
