"""``kinface COMMAND``: from a copy of FIW to a fairness report. ``swinface.cli.main`` runs the commands."""

from __future__ import annotations

import sys

from swinface.cli.main import Command, Options, run

ABOUT = "Fair kinship recognition: train, score, and see for whom it fails."
COMMANDS = {
    "demo": Command("kinface.cli.demo:demo", "do all of it on synthetic families, in a few minutes", "Start"),
    "verify": Command("kinface.cli.verify:verify", "say whether the faces of two photos are kin", "Start"),
    "web": Command("kinface.cli.web:web", "compare photos and read reports in a browser", "Start"),
    "prepare": Command("kinface.cli.prepare:prepare", "check a copy of FIW and write its tables", "Data"),
    "nest": Command("kinface.cli.nest:nest", "divide the training families into folds, to choose options by", "Data"),
    "pairs": Command("kinface.cli.pairs:pairs", "draw non-kin pairs matched to the kin pairs of a list", "Data"),
    "synthesize": Command(
        "kinface.cli.synthesize:synthesize", "draw synthetic families with known genes and known bias", "Data"
    ),
    "fit": Command("kinface.cli.fit:fit", "train a kinship model", "Models", Options.OWN),
    "runs": Command("kinface.cli.runs:runs", "list runs of fit: how they differ, and their figures", "Models"),
    "compare": Command("kinface.cli.compare:compare", "say which of two runs is better, and for whom", "Models"),
    "embed": Command("kinface.cli.embed:embed", "embed every face", "Models"),
    "score": Command("kinface.cli.score:score", "score a list of pairs with a model or with embeddings", "Models"),
    "rfiw": Command("kinface.cli.rfiw:rfiw", "run a track of the RFIW challenge: pairs, triplets, search", "Models"),
    "triplets": Command(
        "kinface.cli.triplets:triplets", "train a head for triplets of father, mother and child", "Models"
    ),
    "export": Command("kinface.cli.export:export", "write a model as ONNX", "Models"),
    "report": Command("kinface.cli.report:report", "report for whom the scores of a list fail", "Fairness"),
    "calibrate": Command(
        "kinface.cli.calibrate:calibrate",
        "make scores fairer without labels of groups, by clusters of faces",
        "Fairness",
    ),
    "probe": Command(
        "kinface.cli.probe:probe", "measure what embeddings reveal of race, gender or other attributes", "Fairness"
    ),
    "controls": Command(
        "kinface.cli.controls:controls",
        "score a list by what is not kinship: photograph, race, age, colours",
        "Fairness",
    ),
    "frontier": Command(
        "kinface.cli.frontier:frontier", "compare what erasers keep and leave, without training", "Fairness"
    ),
    "sweep": Command(
        "kinface.cli.sweep:sweep", "train and measure an ablation: methods, lambdas and seeds", "Experiments"
    ),
    "kinfacew": Command(
        "kinface.cli.kinfacew:kinfacew", "evaluate a model on the five folds of KinFaceW", "Experiments"
    ),
}


def main() -> None:
    """Entry point of the ``kinface`` command."""
    sys.exit(run("kinface", ABOUT, COMMANDS, sys.argv[1:]))
