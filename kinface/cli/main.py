"""``kinface COMMAND``: from a copy of FIW to a fairness report. See ``swinface.cli.main`` for how commands are run."""

from __future__ import annotations

import sys

from swinface.cli.main import run

COMMANDS = {
    "demo": ("kinface.cli.demo:demo", "the whole job on synthetic families: no data needed, a few minutes"),
    "prepare": ("kinface.cli.prepare:prepare", "check a copy of FIW and write its tables"),
    "fit": ("kinface.training.fit:fit", "train a kinship model"),
    "sweep": ("kinface.cli.sweep:sweep", "an ablation: methods, lambdas and seeds, measured alike"),
    "verify": ("kinface.cli.verify:verify", "two photos: kin or not"),
    "score": ("kinface.cli.score:score", "score a list of pairs with a model or with embeddings"),
    "embed": ("kinface.cli.embed:embed", "embed every face"),
    "pairs": ("kinface.cli.pairs:pairs", "draw non-kin pairs matched to the kin pairs of a list"),
    "report": ("kinface.cli.report:report", "for whom it fails: fairness report of a scored list"),
    "probe": ("kinface.cli.probe:probe", "what fresh probes read of race and gender from embeddings"),
    "kinfacew": ("kinface.cli.kinfacew:kinfacew", "judge a model on KinFaceW's five folds"),
    "export": ("kinface.cli.export:export", "write a model as ONNX"),
    "synthesize": ("kinface.synthetic.families:synthesize", "draw synthetic families with known genes and known bias"),
}


def main() -> None:
    """Entry point of the ``kinface`` command."""
    sys.exit(
        run("kinface", "Fair kinship recognition: train, score, and see for whom it fails.", COMMANDS, sys.argv[1:])
    )
