"""``kinface COMMAND``: from a copy of FIW to a fairness report. See ``swinface.cli`` for how commands are run."""

from __future__ import annotations

import sys

from swinface.cli import run

COMMANDS = {
    "demo": ("kinface.demo:demo", "the whole job on synthetic families: no data needed, a few minutes"),
    "prepare": ("kinface.prepare:prepare", "check a copy of FIW and write its tables"),
    "fit": ("kinface.fit:fit", "train a kinship model"),
    "sweep": ("kinface.sweep:sweep", "an ablation: methods, lambdas and seeds, measured alike"),
    "verify": ("kinface.verify:verify", "two photos: kin or not"),
    "score": ("kinface.score:score", "score a list of pairs with a model or with embeddings"),
    "embed": ("kinface.score:embed", "embed every face"),
    "pairs": ("kinface.matching:pairs", "draw non-kin pairs matched to the kin pairs of a list"),
    "report": ("kinface.report:report", "for whom it fails: fairness report of a scored list"),
    "audit": ("kinface.audit:audit", "what fresh probes read of race and gender from embeddings"),
    "kinfacew": ("kinface.kinfacew:kinfacew", "judge a model on KinFaceW's five folds"),
    "export": ("kinface.export:export", "write a model as ONNX"),
    "synthesize": ("kinface.synthetic:synthesize", "draw synthetic families with known genes and known bias"),
}


def main() -> None:
    """Entry point of the ``kinface`` command."""
    sys.exit(
        run("kinface", "Fair kinship recognition: train, score, and see for whom it fails.", COMMANDS, sys.argv[1:])
    )
