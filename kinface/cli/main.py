"""``kinface COMMAND``: from a copy of FIW to a fairness report. ``swinface.cli.main`` runs the commands."""

from __future__ import annotations

import sys

from swinface.cli.main import Options, run, tabulate

ABOUT = "Fair kinship recognition: train, score, and see for whom it fails."
COMMANDS = tabulate(
    "kinface.cli",
    {
        "Start": {
            "demo": "run the full workflow on synthetic families, in a few minutes",
            "verify": "say whether the faces of two photos are kin",
            "web": "compare photos and read reports in a browser",
        },
        "Data": {
            "prepare": "check a copy of FIW and write its tables",
            "nest": "divide the training families into folds, for choosing options",
            "pairs": "draw non-kin pairs matched to the kin pairs of a list",
            "synthesize": "draw synthetic families with known genes and known bias",
        },
        "Models": {
            "fit": "train a kinship model",
            "runs": "list runs of fit: their differences and results",
            "compare": "say which of two runs is better, and for whom",
            "embed": "embed every face",
            "score": "score a list of pairs with a model or with embeddings",
            "rfiw": "run a track of the RFIW challenge: pairs, triplets, search",
            "triplets": "train a head for triplets of father, mother and child",
            "export": "write a model as ONNX",
        },
        "Fairness": {
            "report": "report for whom the scores of a list fail",
            "calibrate": "make scores fairer without labels of groups, by clusters of faces",
            "probe": "measure what embeddings reveal of race, gender or other attributes",
            "controls": "score a list by properties other than kinship: photograph, race, age, colours",
            "frontier": "compare erasers by what they keep and remove, without training",
        },
        "Experiments": {
            "sweep": "train and measure several methods, lambdas and seeds",
            "kinfacew": "evaluate a model on the five folds of KinFaceW",
        },
    },
    fit=Options.OWN,
)


def main() -> None:
    """Entry point of the ``kinface`` command."""
    sys.exit(run("kinface", ABOUT, COMMANDS, sys.argv[1:]))
