"""The course of a training as a picture."""

from __future__ import annotations

from pathlib import Path

from dsmooth.errors import BadRun
from dsmooth.training.checkpoints import TrainingFolder

__all__ = ["draw_learning_curve"]

_TITLES = {
    "psnr": "PSNR of held-out images (dB)",
    "accuracy": "accuracy after the denoiser, held-out images (%)",
}


def draw_learning_curve(out: Path) -> Path:
    """`out/learning_curve.svg`: loss, PSNR and accuracy at each evaluation, over the steps; raises BadRun without one."""
    rows = TrainingFolder(out).course()
    if not rows:
        raise BadRun(f"{out}: expected a training with at least one evaluation, found none")
    steps = [row["step"] for row in rows]
    panels: dict[str, dict[str, list[float]]] = {"loss (smoothed)": {"": [row["loss"] for row in rows]}}
    for kind, title in _TITLES.items():
        lines: dict[str, list[float]] = {}
        for row in rows:
            for name, value in row["scores"].get(kind, {}).items():
                if isinstance(value, dict):
                    for sigma, share in value.items():
                        lines.setdefault(f"{name}, sigma {sigma}", []).append(100.0 * share)
                else:
                    lines.setdefault(f"sigma {name}", []).append(value)
        if lines:
            panels[title] = lines

    import matplotlib

    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "dsmooth", "font.size": 9}):
        from matplotlib.backends.backend_svg import FigureCanvasSVG
        from matplotlib.figure import Figure

        figure = Figure(figsize=(6.4, 2.6 * len(panels)), layout="constrained")
        FigureCanvasSVG(figure)
        every_axes = figure.subplots(len(panels), 1, squeeze=False, sharex=True)[:, 0]
        for axes, (title, lines) in zip(every_axes, panels.items(), strict=True):
            for name, values in lines.items():
                axes.plot(
                    steps, values, marker=".", markersize=3, linewidth=1.2, label=name.replace("$", r"\$") or None
                )
            axes.set_ylabel(title)
            axes.grid(alpha=0.3)
            if any(lines):
                axes.legend(frameon=False, fontsize=7)
        every_axes[-1].set_xlabel("step")
        path = out / "learning_curve.svg"
        figure.savefig(path, metadata={"Date": None})
    return path
