from .data.fiw import read_families
from .data.matching import match_pairs
from .data.pairs import read_pairs, score_pairs
from .data.ranking import find_nearest, score_search
from .data.sampling import draw_non_kin, sample_pairs
from .data.search import read_search, sample_search
from .data.triplets import read_triplets, sample_triplets, score_triplets
from .debias.inlp import Inlp
from .debias.leace import Leace
from .debias.splince import Splince
from .debias.transport import Transport
from .fairness.audit import FairnessAudit, audit_fairness
from .fairness.calibration import FairCal, ScoreNormalization, calibrate
from .fairness.comparison import compare_audits
from .fairness.groupings import DEFAULT_GROUPINGS
from .fairness.retrieval import audit_search
from .fairness.standards import (
    audit_operating_points,
    choose_threshold_at_fmr,
    match_across_groups,
    measure_acquisition,
    shift_scores,
)
from .fairness.threshold import choose_threshold
from .leakage.bounds import bound_attackers
from .leakage.controls import controls
from .leakage.leakage import Leakage, compare_leakage, probe_leakage
from .models.inference import embed
from .models.kinface import KinFace
from .models.relation import FaceRelation
from .models.triplets import TripletHead, fit_triplets
from .models.verify import verify
from .report.checks import Origin
from .report.html import render_report
from .synthetic.tables import make_families
from .tradeoff.frontier import frontier
from .training.history import list_runs
from .training.relation import fit_relation

__all__ = [
    "DEFAULT_GROUPINGS",
    "FaceRelation",
    "FairCal",
    "FairnessAudit",
    "Inlp",
    "KinFace",
    "Leace",
    "Leakage",
    "Origin",
    "ScoreNormalization",
    "Splince",
    "Transport",
    "TripletHead",
    "audit_fairness",
    "audit_operating_points",
    "audit_search",
    "bound_attackers",
    "calibrate",
    "choose_threshold",
    "choose_threshold_at_fmr",
    "compare_audits",
    "compare_leakage",
    "controls",
    "draw_non_kin",
    "embed",
    "find_nearest",
    "fit_relation",
    "fit_triplets",
    "frontier",
    "list_runs",
    "make_families",
    "match_across_groups",
    "match_pairs",
    "measure_acquisition",
    "probe_leakage",
    "read_families",
    "read_pairs",
    "read_search",
    "read_triplets",
    "render_report",
    "sample_pairs",
    "sample_search",
    "sample_triplets",
    "score_pairs",
    "score_search",
    "score_triplets",
    "shift_scores",
    "verify",
]
